"""What this machine can do: the arithmetic that it trains fastest in, its GPU as the driver reports it, its energy.

16-bit arithmetic pays only where the hardware has units or instructions for it. On a processor without them bfloat16 is
emulated: a step of `se-resnet` at 48x48 took 11 times as long as in float32 on an AMD EPYC with AVX2.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pynvml

from fer.engine import arithmetic
from fer.engine.processes import child_process
from fer.progress import Progress
from fer.training.config import TrainConfig

_BFLOAT16 = {"amx_bf16", "avx512_bf16"}  # of processors from 2020 on, Intel's and AMD's; what oneDNN multiplies by
_AMPERE = 8.0  # the first CUDA compute capability with bfloat16
_TIMEOUT_S = 300


def resolve(config: TrainConfig) -> TrainConfig:
    """`config` with a precision of `auto` replaced by the one that this machine is fast in.

    So keys and manifests say how a model was trained, and a training that another kind of machine began is not
    continued in another arithmetic.
    """
    if config.precision != "auto":
        return config
    return config.model_copy(update={"precision": fastest_precision()})


@functools.cache
def fastest_precision() -> Literal["float32", "mixed-bfloat16"]:
    """The GPU's, if Keras has one, or else the processor's, of which only TensorFlow uses what it has."""
    if _has_driver():
        capability = child_process.run(
            compute_capability, {}, child_process.Job("Looking for a GPU", timeout_s=_TIMEOUT_S)
        )
        if capability is not None:
            return "mixed-bfloat16" if capability >= _AMPERE else "float32"
    has_it = arithmetic.backend() == "tensorflow" and not _BFLOAT16.isdisjoint(arithmetic.processor_flags())
    return "mixed-bfloat16" if has_it else "float32"


def compute_capability(*, progress: Progress) -> float | None:
    """The CUDA compute capability of the GPU that Keras has; None without one. For a worker process."""
    with _gpu() as gpu:
        if gpu is None or _is_divided(gpu):
            return None
        try:
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(gpu)
        except pynvml.NVMLError:
            return None
        return float(f"{major}.{minor}")


def gpu_free_bytes() -> int | None:
    """The free memory of the GPU that Keras has; None without one, or for a part of one."""
    with _gpu() as gpu:
        if gpu is None or _is_divided(gpu):
            return None
        try:
            return int(pynvml.nvmlDeviceGetMemoryInfo(gpu).free)
        except pynvml.NVMLError:
            return None


def gpu_name() -> str | None:
    """The name of the GPU that Keras has, as the driver reports it; None without one."""
    with _gpu() as gpu:
        try:
            return None if gpu is None else str(pynvml.nvmlDeviceGetName(gpu))
        except pynvml.NVMLError:
            return None


def _has_driver() -> bool:
    with _driver() as works:
        return works


@contextlib.contextmanager
def _driver() -> Iterator[bool]:
    """Whether NVIDIA's driver answers; while it is open, it can be asked."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()


@contextlib.contextmanager
def _gpu() -> Iterator[Any]:
    """The driver's handle of the first GPU that Keras has; None without one."""
    import keras

    try:
        has_gpu = bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # what JAX raises without a GPU
        has_gpu = False
    with _driver() as works:
        yield _first_visible() if has_gpu and works else None


def _first_visible() -> Any:
    """CUDA_VISIBLE_DEVICES has indexes, or UUIDs of GPUs or of parts of them."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    try:
        return (
            pynvml.nvmlDeviceGetHandleByIndex(int(first))
            if first.isdigit()
            else pynvml.nvmlDeviceGetHandleByUUID(first)
        )
    except pynvml.NVMLError:
        return None


def _is_divided(gpu: Any) -> bool:
    """Whether a GPU is divided into parts (MIG), or is one."""
    try:
        return pynvml.nvmlDeviceIsMigDeviceHandle(gpu) or pynvml.nvmlDeviceGetMigMode(gpu)[0] != 0
    except pynvml.NVMLError:  # of a GPU that can't be divided
        return False


@dataclass
class EnergyMeter:
    """`kwh` that the processors, graphics processors and memory of the machine took; None if nothing was measured."""

    kwh: float | None = None


@contextlib.contextmanager
def metered() -> Iterator[EnergyMeter]:
    """Measure the machine's energy while the `with` block lasts, of all that runs on it; the meter says it afterwards.

    Where codecarbon is installed (the extra `energy`); it is asked to send nothing.
    """
    meter = EnergyMeter()
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        yield meter
        return
    # The country is for the emissions, which are not asked for.
    tracker = OfflineEmissionsTracker(
        country_iso_code="SWE", save_to_file=False, log_level="error", allow_multiple_runs=True
    )
    tracker.start()
    try:
        yield meter
    finally:
        tracker.stop()
        meter.kwh = float(tracker.final_emissions_data.energy_consumed)
