import dataclasses
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_files import CLASSES, SIZE, shard, summarised

from fer import errors
from fer.shards import parquet, summary


def test_the_summary_is_of_what_is_on_the_disk(tmp_path):
    pixels = np.zeros((3, *SIZE), np.uint8)
    pixels[1, 0, 0] = 9
    shard_summary = summarised(shard(tmp_path, "x", ["a", "b", "c"], [2, 0, 2], pixels), "train")
    assert (shard_summary.height, shard_summary.width, shard_summary.classes) == (*SIZE, CLASSES)
    assert shard_summary.class_indexes.tolist() == [2, 0, 2]
    assert shard_summary.n_bytes == (tmp_path / "x").stat().st_size
    assert shard_summary.n_flat == 2
    assert len(set(shard_summary.ids.tolist())) == 3
    assert (shard_summary.total, shard_summary.squares) == (9, 81)


images_of_shards = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 2), st.integers(0, 255)),
    min_size=1,
    max_size=12,
    unique_by=itemgetter(0),
)


@settings(max_examples=settings.default.max_examples // 4)
@given(images_of_shards, st.randoms(), st.integers(1, 5))
def test_the_digest_is_of_what_the_shards_hold_however_it_is_ordered_and_cut(
    tmp_path_factory, contents, random, per_shard
):
    folder = tmp_path_factory.mktemp("shards")

    def digest(rows, per_shard, split="train", about=b""):
        summaries = []
        for start in range(0, len(rows), per_shard):
            ids, labels, greys = zip(*rows[start : start + per_shard], strict=True)
            pixels = np.full((len(ids), *SIZE), 7, np.uint8)
            pixels[:, 1, 2] = greys
            path = shard(folder, parquet.name(split, start), [str(image_id) for image_id in ids], labels, pixels)
            summaries.append(summarised(path, split))
        return summary.digest(summaries, about)

    expected = digest(contents, len(contents))
    assert digest(random.sample(contents, len(contents)), per_shard) == expected
    number, label, grey = contents[0]
    for other in ((number + 100, label, grey), (number, (label + 1) % 3, grey), (number, label, (grey + 1) % 256)):
        assert digest([other, *contents[1:]], per_shard) != expected
    assert digest([*contents, (200, 0, 0)], per_shard) != expected
    assert digest(contents, per_shard, split="test") != expected
    assert digest(contents, per_shard, about=b"another blur") != expected


def test_a_shard_that_rots_after_it_was_written_is_noticed(tmp_path):
    path = shard(tmp_path, "train-00000.parquet", ["a"], [0])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(errors.IntegrityError, match="must be whole"):
        summarised(path)


def test_a_shard_of_other_columns_is_no_shard(tmp_path):
    pq.write_table(pa.table({"image_id": ["a"]}), tmp_path / "train-00000.parquet")
    with pytest.raises(errors.IntegrityError):
        summarised(tmp_path / "train-00000.parquet")


def test_a_shard_with_other_labels_than_were_written_is_an_error(tmp_path):
    path = shard(tmp_path, "train-00000.parquet", ["a", "b"], [0, 1])
    written = parquet.read(path)
    for other in ({"image_ids": ["a", "c"]}, {"class_indexes": np.array([0, 2], np.int32)}):
        with pytest.raises(errors.IntegrityError, match=r"train-00000\.parquet must hold what was written"):
            summary.summarise(path, "train", dataclasses.replace(written, **other))
