"""A training's history as TensorBoard reads it: `tensorboard --logdir .fer/workspace/train`."""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fer.engine import disk

FOLDER = "tensorboard"
_FILE = "events.out.tfevents.training"  # TensorBoard looks for the middle part
_TIME = "ended_at"
_VERSION = "brain.Event:2"  # of the file's form: tensorflow/core/util/events_writer.h


def write(folder: Path, history: Mapping[str, Sequence[float]]) -> None:
    """Write each list of the history as a curve by epoch, after what was written of the same history before.

    The same history gives the same bytes, so that a training that was killed leaves no curve twice; what is added is
    appended, as TensorBoard goes on reading the file that it opened. Needs TensorFlow. Raises OSError.
    """
    import tensorflow as tf

    folder.mkdir(exist_ok=True)
    times = history[_TIME]
    path = folder / _FILE
    with disk.staging_file(path) as staging:
        with _disk_errors(staging), tf.io.TFRecordWriter(str(staging)) as records:
            records.write(tf.compat.v1.Event(wall_time=times[0], file_version=_VERSION).SerializeToString())
            for at, time in enumerate(times):
                values = [
                    tf.compat.v1.Summary.Value(tag=_tag(name), simple_value=curve[at])
                    for name, curve in history.items()
                    if name != _TIME
                ]
                event = tf.compat.v1.Event(wall_time=time, step=at + 1, summary=tf.compat.v1.Summary(value=values))
                records.write(event.SerializeToString(deterministic=True))
        whole = staging.read_bytes()
        before = path.read_bytes() if path.exists() else b""
        if before and whole.startswith(before):
            with path.open("ab") as file:
                file.write(whole[len(before) :])
        else:
            staging.replace(path)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """A full disk as Python says it: of TensorFlow it is the same error as a lack of memory."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def _tag(name: str) -> str:
    """Train and validation of one quantity stand side by side."""
    quantity = name.removeprefix("validation_")
    return f"{quantity}/{'validation' if quantity != name else 'train'}" if quantity in ("loss", "accuracy") else name
