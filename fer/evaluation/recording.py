"""What a model answers to drawn inputs, recorded when it is evaluated, so that its release can be tried anywhere.

The inputs show no one (`fer.models.drawn_inputs`): a release has no test images with it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer.engine import arithmetic, disk
from fer.engine.records import Record
from fer.models import drawn_inputs, saved_model

if TYPE_CHECKING:
    import keras

FILE = "recorded.json"
CPU = "CPU"
_SAME = ("machine", "processor", "instruction set", "backend", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch")


class Recording(Record):
    """The probabilities (16, classes) of the drawn inputs, in the model's order of classes, and what computed them."""

    probabilities: tuple[tuple[float, ...], ...]
    environment: dict[str, str]  # see `environment`


def environment() -> dict[str, str]:
    """`arithmetic.environment`, with the kind of `device` that Keras computes on: CPU, GPU, …"""
    import keras

    kinds = {device.partition(":")[0].upper() for device in keras.distribution.list_devices()}
    return arithmetic.environment() | {"device": ", ".join(sorted(kinds))}


def answers(model: "keras.Model") -> np.ndarray:
    """(16, classes) float32: what the model says of the drawn inputs. Raises IntegrityError for no finite numbers."""
    pixels = drawn_inputs.pixels(*model.input_shape[1:3])
    return saved_model.probabilities(model, pixels, saved_model.batch_size(pixels))


def write(out: Path, model: "keras.Model") -> None:
    """Record the answers in the folder `out`."""
    rows = tuple(tuple(row) for row in answers(model).tolist())
    recording = Recording(probabilities=rows, environment=environment())
    disk.write(out / FILE, recording.model_dump_json(indent=1).encode())


def read(folder: Path) -> Recording | None:
    """The recording beside a model; None if it was released before there were any."""
    path = folder / FILE
    return Recording.model_validate_json(path.read_bytes()) if path.is_file() else None


def differing(then: dict[str, str], now: dict[str, str]) -> tuple[str, ...]:
    """What makes the last bits differ: what computes in one environment otherwise than in the other, or a GPU."""
    variables = {name for name in {*then, *now} if name.isupper()}
    on_gpu = ["device"] if (then.get("device"), now.get("device")) != (CPU, CPU) else []
    return (*on_gpu, *(name for name in (*_SAME, *sorted(variables)) if then.get(name) != now.get(name)))
