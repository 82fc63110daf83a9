"""How much memory a training will need at most, and how much there is.

The estimate is what the process has before its first step and five terms, fitted to 24 measured peaks of the zoo's
models at 48x48 to 224x224, 4 to 128 images at once, in float32 and bfloat16, with TensorFlow 2.21 on a CPU: it was
within 6 % of each of them, and within 13 % when benchmarks/training_memory.py measured again.
"""

import contextlib
import math
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from fer import errors
from fer.engine.processes import cgroups
from fer.training import hardware

if TYPE_CHECKING:
    import keras

MB = 1_000_000
_FIXED_MB = 19
_LAYER_MB = 2.3  # of the compiled step's graph and oneDNN's primitives
_OF_WEIGHTS = 3.7  # gradients, the update's own copies, kernels in oneDNN's order
_OF_OUTPUTS = 0.41  # what is kept of them for the gradients: an activation takes its input's place
_OF_LARGEST = 10.5  # the largest layer's output, its gradient and scratch, of the layers at work at a time
_COPIES = 2  # the best epoch's weights, and what is gathered of them after an epoch
_USABLE = 0.8  # of what there is: the estimate is one, and others are at work too


class Estimate(NamedTuple):
    """The peak of a training in bytes, by what needs it. `base`: what the process has already, images and weights."""

    base: int
    graph: int
    weights: int
    activations: int

    @property
    def peak(self) -> int:
        """The sum of all terms (bytes)."""
        return sum(self)

    def summary(self) -> str:
        """The estimate in words, in GB."""
        parts = ", ".join(f"{value / 1e9:.1f} {name}" for name, value in self._asdict().items())
        return f"about {self.peak / 1e9:.1f} GB of memory ({parts})"


class Available(NamedTuple):
    """What this process may have in all, with the `base` that it has already, in bytes; and what says so."""

    n_bytes: int
    base: int
    source: str

    def summary(self) -> str:
        """The memory in words, in GB."""
        return f"{self.n_bytes / 1e9:.1f} GB to be had ({self.source})"


def estimate(model: "keras.Model", micro_batch: int, *, averaged: bool, base: int) -> Estimate:
    """The peak of training `model`, a built one, with `micro_batch` images at once; `averaged`: with an average.

    Layers before the first that is trained keep nothing for gradients.
    """
    layers = model.layers
    first = next((at for at, layer in enumerate(layers) if layer.trainable_weights), len(layers))
    trained = [layer for layer in layers[first:] if "BatchNormalization" not in type(layer).__name__]
    outputs = sum(n_bytes for layer in trained for n_bytes in _output_bytes(layer))
    largest = max((n_bytes for layer in layers for n_bytes in _output_bytes(layer)), default=0)
    n_trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    n_weights = sum(math.prod(weight.shape) for weight in model.weights)
    copies = (_COPIES + 2 * averaged) * n_weights
    return Estimate(
        base=base,
        graph=round((_FIXED_MB + _LAYER_MB * len(layers)) * MB),
        weights=round(4 * (_OF_WEIGHTS * n_trained + copies)),
        activations=round(micro_batch * (_OF_OUTPUTS * outputs + _OF_LARGEST * largest)),
    )


def fitting_micro_batch(
    estimated: Callable[[int], Estimate], micro_batch: int, room: Available, *, fewest: int = 1
) -> int:
    """`micro_batch`, halved until what is `estimated` of it is no more than 80 % of `room`, but not below `fewest`.

    Raises TooLittleMemory if no such estimate is.
    """
    while True:
        needed = estimated(micro_batch)
        if needed.peak <= _USABLE * room.n_bytes:
            return micro_batch
        if micro_batch % 2 or micro_batch // 2 < fewest:
            raise errors.TooLittleMemory(
                f"Training must need no more than {_USABLE:.0%} of the memory.",
                received=f"{needed.summary()} with {micro_batch} images at once, {room.summary()}",
                todo="train a smaller model or smaller images, or set train.micro_batch to try it nevertheless",
            )
        micro_batch //= 2


def available() -> Available:
    """What this process may have: the GPU's memory if Keras has one, or the machine's within a container's limits."""
    gpu = _of_gpu()
    if gpu is not None:
        return gpu
    own = psutil.Process().memory_info().rss
    limits = [Available(psutil.virtual_memory().available + own, own, "free on this machine")]
    limits += [Available(memory.left + own, own, "free in this container") for memory in cgroups.memory()]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        limits.append(Available(limit, own, "ulimit -v"))
    return min(limits)


def peak_mb() -> float:
    """The most memory that this process has had (MB).

    Linux keeps two such figures: that of `getrusage` begins with what the parent had.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1_024 / MB
    unit = 1 if sys.platform == "darwin" else 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def _of_gpu() -> Available | None:
    """The memory that is free on the first GPU that Keras has, None without one or a driver that says so."""
    free = hardware.gpu_free_bytes()
    return None if free is None else Available(free, 0, "free on the GPU")


def _output_bytes(layer: Any) -> list[int]:
    """The size of each output of a layer for one image."""
    outputs = layer.output if isinstance(layer.output, (list, tuple)) else [layer.output]
    size = 2 if layer.compute_dtype in ("bfloat16", "float16") else 4
    return [size * math.prod(output.shape[1:]) for output in outputs]
