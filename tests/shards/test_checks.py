import dataclasses
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts import files
from data_contracts import shards as contract
from fer import errors
from fer.engine import contracts
from fer.shards import checks as shard_checks
from fer.shards import parquet

CLASSES = ("angry", "happy", "sad")
SIZE = (4, 5)


def shard(folder, name, image_ids, class_indexes, pixels=None, classes=CLASSES):
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (len(image_ids), *SIZE), np.uint8)
    parquet.write(folder / name, image_ids, np.array(class_indexes, np.int32), pixels, classes)
    return folder / name


def summary(path, split="train", source=None):
    return shard_checks.summary(path, split, parquet.read(path), source)


def sound(folder):
    """A shard a split, and what was promised of them."""
    made = [
        summary(shard(folder, "train-00000.parquet", ["a", "b", "c"], [0, 1, 2]), "train"),
        summary(shard(folder, "test-00000.parquet", ["d", "e"], [0, 2]), "test"),
    ]
    return made, {"train": {"angry": 1, "happy": 1, "sad": 1}, "test": {"angry": 1, "happy": 0, "sad": 1}}


def check(out, summaries, promised):
    shard_checks.check(out, "shards", summaries, promised, CLASSES, SIZE)


def broken(folder):
    return {each.id for each in contracts.read(folder) if not each.passed}


def test_sound_shards_keep_every_rule_and_have_pages(tmp_path):
    summaries, promised = sound(tmp_path)
    check(tmp_path, summaries, promised)
    outcomes = contracts.read(tmp_path)
    asked = {each.id for each in contract.rules(CLASSES, height=4, width=5) if each.frame != "copies"}
    assert {each.id for each in outcomes} == asked
    assert broken(tmp_path) == set()
    assert "shards" in (tmp_path / files.DOCS / "index.html").read_text()


def test_the_summary_is_of_what_is_on_the_disk(tmp_path):
    pixels = np.zeros((3, *SIZE), np.uint8)
    pixels[1, 0, 0] = 9
    found = summary(shard(tmp_path, "x", ["a", "b", "c"], [2, 0, 2], pixels), "train")
    assert (found.height, found.width, found.classes) == (*SIZE, CLASSES)
    assert found.class_indexes.tolist() == [2, 0, 2]
    assert found.n_bytes == (tmp_path / "x").stat().st_size
    assert found.n_flat == 2
    assert len(set(found.ids.tolist())) == 3
    assert (found.total, found.squares) == (9, 81)


images_of_shards = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 2), st.integers(0, 255)),
    min_size=1,
    max_size=12,
    unique_by=itemgetter(0),
)


@settings(max_examples=25)
@given(images_of_shards, st.randoms(), st.integers(1, 5))
def test_the_digest_is_of_what_the_shards_hold_however_it_is_ordered_and_cut(tmp_path_factory, held, random, per_shard):
    folder = tmp_path_factory.mktemp("shards")

    def digest(rows, per_shard, split="train", about=b""):
        made = []
        for start in range(0, len(rows), per_shard):
            ids, labels, greys = zip(*rows[start : start + per_shard], strict=True)
            pixels = np.full((len(ids), *SIZE), 7, np.uint8)
            pixels[:, 1, 2] = greys
            path = shard(folder, parquet.name(split, start), [f"{each}" for each in ids], labels, pixels)
            made.append(summary(path, split))
        return shard_checks.digest(made, about)

    found = digest(held, len(held))
    assert digest(random.sample(held, len(held)), per_shard) == found
    number, label, grey = held[0]
    for other in ((number + 100, label, grey), (number, (label + 1) % 3, grey), (number, label, (grey + 1) % 256)):
        assert digest([other, *held[1:]], per_shard) != found
    assert digest([*held, (200, 0, 0)], per_shard) != found
    assert digest(held, per_shard, split="test") != found
    assert digest(held, per_shard, about=b"another blur") != found


@pytest.mark.parametrize(
    ("shard_of_train", "rule", "says"),
    [
        ({"class_indexes": [0, 1, 3]}, "highest_class", "class_index of no class"),
        ({"class_indexes": [0, -1, 2]}, "lowest_class", "class_index below 0"),
        ({"image_ids": ["a", "b", "a"]}, "image_id_unique", "more than once"),
        ({"image_ids": ["a", "b", "d"]}, "image_id_unique", "more than once"),  # d is in test
        ({"image_ids": [], "class_indexes": []}, "shard_not_empty", "without an image"),
        ({"class_indexes": [0, 1, 1]}, "counts_as_promised", "sad in train"),
        ({"pixels": np.ones((3, 5, 5), np.uint8)}, "shard_height", "another height"),
        ({"pixels": np.ones((3, 4, 4), np.uint8)}, "shard_width", "another width"),
        ({"classes": ("sad", "happy", "angry")}, "shard_classes", "other classes"),
    ],
)
def test_an_unsound_shard_ends_the_stage_and_is_named(tmp_path, shard_of_train, rule, says):
    summaries, promised = sound(tmp_path)
    values = {"image_ids": ["a", "b", "c"], "class_indexes": [0, 1, 2]} | shard_of_train
    if not values["image_ids"]:
        values["pixels"] = np.empty((0, *SIZE), np.uint8)
    summaries[0] = summary(shard(tmp_path, "train-00000.parquet", **values), "train")
    with pytest.raises(errors.ContractViolation, match=says) as caught:
        check(tmp_path, summaries, promised)
    assert "train" in str(caught.value)
    assert rule in broken(tmp_path)


def test_images_of_one_grey_and_a_shard_of_many_bytes_are_warnings(tmp_path):
    _, promised = sound(tmp_path)
    flat = shard(tmp_path, "train-00000.parquet", ["a", "b", "c"], [0, 1, 2], np.full((3, *SIZE), 7, np.uint8))
    found = dataclasses.replace(summary(flat, "train"), n_bytes=contract.MAX_SHARD_BYTES + 1)
    check(tmp_path, [found, sound(tmp_path)[0][1]], promised)
    assert broken(tmp_path) == {"contrast", "shard_size"}


def test_a_split_without_shards_breaks_the_contract(tmp_path):
    summaries, promised = sound(tmp_path)
    with pytest.raises(errors.ContractViolation, match=r"split without an image.*validation"):
        check(tmp_path, summaries, promised | {"validation": dict.fromkeys(CLASSES, 0)})


def test_a_shard_that_rots_after_it_was_written_is_noticed(tmp_path):
    path = shard(tmp_path, "train-00000.parquet", ["a"], [0])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(errors.IntegrityError, match="must be whole"):
        summary(path)


@pytest.mark.parametrize(
    ("image_ids", "class_indexes", "says"),
    [
        (["a", "a+0", "z+0"], [0, 0, 0], "without their source"),
        (["a", "a+0", "b+0"], [0, 0, 0], "another class than their source"),
    ],
)
def test_a_copy_must_have_its_source_and_its_class(tmp_path, image_ids, class_indexes, says):
    source = parquet.read(shard(tmp_path, "source", ["a", "b"], [0, 1]))
    path = shard(tmp_path, "train-00000.parquet", image_ids, class_indexes)
    with pytest.raises(errors.ContractViolation, match=says):
        check(tmp_path, [summary(path, "train", source)], {"train": {"angry": 3, "happy": 0, "sad": 0}})


def test_sound_copies_keep_the_contract(tmp_path):
    source = parquet.read(shard(tmp_path, "source", ["a", "b"], [0, 1]))
    path = shard(tmp_path, "train-00000.parquet", ["a", "a+0", "b", "b+0"], [0, 0, 1, 1])
    check(tmp_path, [summary(path, "train", source)], {"train": {"angry": 2, "happy": 2, "sad": 0}})
    assert {"copy_has_source", "copy_keeps_class"} <= {each.id for each in contracts.read(tmp_path)}


def test_a_shard_of_other_columns_is_no_shard(tmp_path):
    pq.write_table(pa.table({"image_id": ["a"]}), tmp_path / "train-00000.parquet")
    with pytest.raises(errors.IntegrityError):
        summary(tmp_path / "train-00000.parquet")


def test_a_shard_with_other_labels_than_were_written_is_an_error(tmp_path):
    path = shard(tmp_path, "train-00000.parquet", ["a", "b"], [0, 1])
    found = parquet.read(path)
    for other in ({"image_ids": ["a", "c"]}, {"class_indexes": np.array([0, 2], np.int32)}):
        with pytest.raises(errors.IntegrityError, match=r"train-00000\.parquet must hold what was written"):
            shard_checks.summary(path, "train", dataclasses.replace(found, **other))
