import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts import shards as contract
from fer import errors
from fer.shards import parquet

CLASSES = ("angry", "happy", "sad")


def images(n: int, height: int = 5, width: int = 7, seed: int = 0):
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (n, height, width), np.uint8)
    return [f"{seed}-{i}" for i in range(n)], draw.integers(0, 3, n).astype(np.int32), pixels


def write(path, n: int, **kwargs):
    columns = images(n, **kwargs)
    parquet.write(path, *columns, CLASSES)
    return columns


@settings(max_examples=25)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 9))
def test_a_shard_reads_as_it_was_written(tmp_path_factory, n, height, width):
    path = tmp_path_factory.mktemp("shards") / "train-00000.parquet"
    image_ids, class_indexes, pixels = write(path, n, height=height, width=width)
    shard = parquet.read(path)
    assert shard.image_ids == image_ids
    assert shard.classes == CLASSES
    assert np.array_equal(shard.class_indexes, class_indexes)
    assert shard.class_indexes.dtype == np.int32
    assert shard.pixels.shape == (n, height, width)
    assert np.array_equal(shard.pixels, pixels)
    assert not list(path.parent.glob("*.tmp"))


def test_the_same_images_make_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, 30)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_shard_that_another_writes_meanwhile_is_whole_at_each_moment(tmp_path, monkeypatch):
    path = tmp_path / "train-00000.parquet"
    write_table = pq.ParquetWriter.write_table

    def interrupted(*args):
        monkeypatch.undo()
        columns = write(path, 30)
        write_table(*args)
        assert np.array_equal(parquet.read(path).pixels, columns[2])

    monkeypatch.setattr(pq.ParquetWriter, "write_table", interrupted)
    columns = write(path, 30)
    assert np.array_equal(parquet.read(path).pixels, columns[2])
    assert list(tmp_path.iterdir()) == [path]


def test_pixels_in_another_memory_order_are_written_alike(tmp_path):
    image_ids, class_indexes, pixels = write(tmp_path / "a", 10)
    parquet.write(tmp_path / "b", image_ids, class_indexes, np.asfortranarray(pixels), CLASSES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_ids": ["one"]}, "one id, one class"),
        ({"pixels": np.zeros((2, 4, 4), np.float32)}, "float32"),
    ],
)
def test_what_fits_no_shard_is_refused_and_nothing_is_left(tmp_path, change, message):
    sound = {"image_ids": ["a", "b"], "class_indexes": [0, 2], "pixels": np.zeros((2, 4, 4), np.uint8)}
    values = sound | change
    with pytest.raises(errors.ContractViolation, match=message):
        parquet.write(
            tmp_path / "x", values["image_ids"], np.array(values["class_indexes"], np.int32), values["pixels"], CLASSES
        )
    assert not list(tmp_path.iterdir())


def test_large_images_are_cut_in_row_groups_by_bytes():
    assert parquet.images_that_fit(48, 48) == 4_096
    assert parquet.images_that_fit(48, 48, at_most=2_048) == 2_048
    assert 1_000 <= parquet.images_that_fit(224, 224) <= 1_400
    assert parquet.images_that_fit(20_000, 20_000) == 1


def test_a_split_is_read_into_one_array_in_the_order_of_its_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROW_GROUP_IMAGES", 4)  # several row groups a shard
    written = [write(tmp_path / parquet.name("train", i), n, seed=i) for i, n in enumerate([9, 1, 4])]
    write(tmp_path / parquet.name("test", 0), 3, seed=9)
    split = parquet.load_split(tmp_path, "train")
    assert split.image_ids == [image_id for image_ids, _, _ in written for image_id in image_ids]
    assert np.array_equal(split.class_indexes, np.concatenate([class_indexes for _, class_indexes, _ in written]))
    assert split.pixels.shape == (14, 5, 7, 1)
    assert np.array_equal(split.pixels[..., 0], np.concatenate([pixels for _, _, pixels in written]))
    assert split.classes == CLASSES
    assert [len(shard.image_ids) for shard in parquet.iterate(tmp_path, "train")] == [4, 4, 1, 1, 4]
    assert parquet.names(tmp_path, "test") == ["test-00000.parquet"]
    assert np.array_equal(parquet.read(tmp_path / "train-00000.parquet").pixels, written[0][2])


def test_labels_are_read_without_pixels(tmp_path):
    image_ids, class_indexes, _ = write(tmp_path / "x", 6)
    read_ids, read_indexes = parquet.read_labels(tmp_path / "x")
    assert read_ids == image_ids
    assert np.array_equal(read_indexes, class_indexes)


def test_a_split_without_shards_is_an_error_that_names_it(tmp_path):
    with pytest.raises(errors.IntegrityError, match="no test-00000"):
        parquet.load_split(tmp_path, "test")


def cut_short(data: bytes) -> bytes:
    return data[: len(data) // 2]


def one_bit_turned(data: bytes) -> bytes:
    middle = len(data) // 2  # among the pixels
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def all_zeros(data: bytes) -> bytes:
    return bytes(len(data))


@pytest.mark.parametrize("damage", [cut_short, one_bit_turned, all_zeros])
def test_a_damaged_shard_is_noticed(tmp_path, damage):
    path = tmp_path / parquet.name("train", 0)
    image_ids, class_indexes, _ = write(path, 50)
    assert parquet.finished(path, image_ids, class_indexes) is not None
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(errors.IntegrityError, match="must be whole"):
        parquet.read(path)
    with pytest.raises(errors.IntegrityError, match="must be whole"):
        parquet.load_split(tmp_path, "train")
    assert parquet.finished(path, image_ids, class_indexes) is None


def test_a_finished_shard_counts_only_with_its_own_rows(tmp_path):
    path = tmp_path / "x"
    image_ids, class_indexes, pixels = write(path, 5)
    kept = parquet.finished(path, image_ids, class_indexes)
    assert kept is not None
    assert np.array_equal(kept.pixels, pixels)
    assert parquet.finished(path, image_ids[::-1], class_indexes) is None
    assert parquet.finished(path, image_ids, (class_indexes + 1) % 3) is None
    assert parquet.finished(tmp_path / "absent", image_ids, class_indexes) is None


def test_a_parquet_file_of_something_else_is_refused(tmp_path):
    other = pa.table({"image_id": ["a"]})
    pq.write_table(other, tmp_path / "x")
    with pytest.raises(errors.IntegrityError, match="metadata"):
        parquet.read(tmp_path / "x")
    pq.write_table(other.replace_schema_metadata(contract.schema(2, 2, CLASSES).metadata), tmp_path / "x")
    with pytest.raises(errors.IntegrityError, match="columns"):
        parquet.read_labels(tmp_path / "x")


def test_a_row_group_is_read_in_slices(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROW_GROUP_IMAGES", 20)
    monkeypatch.setattr(parquet, "_PAGE_BYTES", 3 * 35)  # three images a page
    image_ids, class_indexes, pixels = write(tmp_path / parquet.name("train", 0), 45)
    groups = parquet.row_groups(tmp_path, "train")
    assert [group.n_images for group in groups] == [20, 20, 5]
    pieces = [piece for group in groups for piece in parquet.slices(group, 8)]
    assert [len(piece.image_ids) for piece in pieces] == [8, 8, 4, 8, 8, 4, 5]
    assert [image_id for piece in pieces for image_id in piece.image_ids] == image_ids
    np.testing.assert_array_equal(np.concatenate([piece.class_indexes for piece in pieces]), class_indexes)
    np.testing.assert_array_equal(np.concatenate([piece.pixels for piece in pieces]), pixels)
