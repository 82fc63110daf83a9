import contextlib
import errno
from pathlib import Path

import pytest
import tensorflow as tf

from fer.engine import disk
from fer.training import tensorboard

pytestmark = pytest.mark.slow

HISTORY = {
    "loss": [1.5, 1.0],
    "accuracy": [0.5, 0.5],
    "validation_loss": [1.25, 1.0],
    "validation_accuracy": [0.25, 0.75],
    "learning_rate": [0.5, 0.25],
    "ended_at": [1_000.0, 1_010.0],
}


def read(folder):
    (path,) = folder.iterdir()
    assert "tfevents" in path.name
    return [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]


def test_each_curve_is_read_back_by_epoch_with_its_time(tmp_path):
    tensorboard.write(tmp_path / "tensorboard", HISTORY)
    first, *epochs = read(tmp_path / "tensorboard")
    assert first.file_version == "brain.Event:2"
    assert [(event.step, event.wall_time) for event in epochs] == [(1, 1_000.0), (2, 1_010.0)]
    curves = {}
    for event in epochs:
        for scalar in event.summary.value:
            curves.setdefault(scalar.tag, []).append(scalar.simple_value)
    assert curves == {
        "loss/train": [1.5, 1.0],
        "accuracy/train": [0.5, 0.5],
        "loss/validation": [1.25, 1.0],
        "accuracy/validation": [0.25, 0.75],
        "learning_rate": [0.5, 0.25],
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_no_lack_of_memory(tmp_path, monkeypatch):
    (tmp_path / "full").symlink_to("/dev/full")
    monkeypatch.setattr(disk, "staging_file", lambda path: contextlib.nullcontext(tmp_path / "full"))
    with pytest.raises(OSError, match="No space left on device") as raised:
        tensorboard.write(tmp_path, HISTORY)
    assert raised.value.errno == errno.ENOSPC


def test_written_again_after_another_epoch_no_epoch_is_there_twice(tmp_path):
    tensorboard.write(tmp_path, {name: values[:1] for name, values in HISTORY.items()})
    tensorboard.write(tmp_path, HISTORY)
    assert [event.step for event in read(tmp_path)] == [0, 1, 2]
    before = next(tmp_path.iterdir()).read_bytes()
    tensorboard.write(tmp_path, HISTORY)
    assert next(tmp_path.iterdir()).read_bytes() == before


def test_an_open_file_is_gone_on_with_and_one_that_was_cut_short_is_made_anew(tmp_path):
    first = {name: values[:1] for name, values in HISTORY.items()}
    tensorboard.write(tmp_path, first)
    (path,) = tmp_path.iterdir()
    with path.open("rb") as file:
        n_read = len(file.read())
        tensorboard.write(tmp_path, HISTORY)
        assert n_read + len(file.read()) == path.stat().st_size
    whole = path.read_bytes()
    path.write_bytes(b"other" + whole[5:-3])  # as of another attempt
    tensorboard.write(tmp_path, HISTORY)
    assert path.read_bytes() == whole
