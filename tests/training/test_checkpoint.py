import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fer.training import checkpoint

SAMPLE = checkpoint.Checkpoint({"epoch": 3, "history": {"loss": [0.5, 0.25]}}, {"best": [np.ones((2, 3), np.float32)]})
ANY_ARRAY = arrays.arrays(st.sampled_from([np.float32, np.int64, np.uint32]), arrays.array_shapes(min_dims=0))


@given(arrays_of=st.dictionaries(st.sampled_from(["weights", "best", "optimizer"]), st.lists(ANY_ARRAY, max_size=12)))
def test_what_is_written_is_read_bit_by_bit(tmp_path_factory, arrays_of):
    path = tmp_path_factory.mktemp("some") / "checkpoint.npz"
    checkpoint.write(path, checkpoint.Checkpoint({"epoch": 1}, arrays_of))
    again = checkpoint.read(path)
    assert again is not None
    assert again.record == {"epoch": 1}
    assert list(again.arrays) == list(arrays_of)
    for name, written in arrays_of.items():
        assert [array.tobytes() for array in again.arrays[name]] == [array.tobytes() for array in written]
        assert [(array.dtype, array.shape) for array in again.arrays[name]] == [
            (array.dtype, array.shape) for array in written
        ]


def test_nothing_there_is_no_checkpoint(tmp_path):
    assert checkpoint.read(tmp_path / "checkpoint.npz") is None


@pytest.mark.parametrize("end", [0, 1, 100, -1])
def test_a_file_cut_short_is_no_checkpoint(tmp_path, end):
    path = tmp_path / "checkpoint.npz"
    checkpoint.write(path, SAMPLE)
    path.write_bytes(path.read_bytes()[:end])
    assert checkpoint.read(path) is None


def test_a_flipped_byte_of_a_weight_is_no_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.npz"
    checkpoint.write(path, SAMPLE)
    data = bytearray(path.read_bytes())
    at = data.find(np.ones(6, np.float32).tobytes())
    data[at + 5] ^= 1
    path.write_bytes(data)
    assert checkpoint.read(path) is None


def test_no_flipped_bit_of_the_directory_is_an_error(tmp_path):
    path = tmp_path / "checkpoint.npz"
    checkpoint.write(path, SAMPLE)
    data = path.read_bytes()
    for at in range(data.index(b"PK\x01\x02"), len(data)):
        for bit in range(8):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
            read_back = checkpoint.read(path)
            assert read_back is None or read_back.record == SAMPLE.record


def test_a_pickle_is_not_read(tmp_path):
    path = tmp_path / "checkpoint.npz"
    with path.open("wb") as file:
        np.savez(file, record=np.array([{"a": "pickle"}], object))
    assert checkpoint.read(path) is None


def test_what_is_replaced_can_be_kept_for_workers_of_which_one_is_behind(tmp_path):
    path = tmp_path / "checkpoint.npz"
    for epoch in (1, 2, 3):
        checkpoint.write(path, SAMPLE._replace(record={"epoch": epoch}), keep_previous=True)
    assert [candidate.record["epoch"] for candidate in checkpoint.read_all(path)] == [3, 2]
    path.unlink()  # as by a kill between the two renames
    assert [candidate.record["epoch"] for candidate in checkpoint.read_all(path)] == [2]
    checkpoint.write(path, SAMPLE._replace(record={"epoch": 3}), keep_previous=True)
    assert [candidate.record["epoch"] for candidate in checkpoint.read_all(path)] == [3, 2]
