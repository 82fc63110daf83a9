"""What this machine can do: the arithmetic that it trains fastest in, and its GPU's fields as the driver reports them.

16-bit arithmetic pays only where the hardware has units for it. On a processor without them bfloat16 is emulated: a
step of `se-resnet` at 48x48 took 11 times as long as in float32 on an AMD EPYC with AVX2.
"""

import functools
import os
import shutil
import subprocess
from typing import Literal

from fer.engine import arithmetic, child_process
from fer.progress import Progress
from fer.training.config import TrainConfig

_AMX = "amx_bf16"
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
    """The GPU's, if Keras has one, or else the processor's, of which only TensorFlow uses the units."""
    if shutil.which("nvidia-smi") is not None:
        capability = child_process.run(
            compute_capability, {}, child_process.Job("Looking for a GPU", timeout_s=_TIMEOUT_S)
        )
        if capability is not None:
            return "mixed-bfloat16" if capability >= _AMPERE else "float32"
    on_tensorflow = arithmetic.backend() == "tensorflow"
    return "mixed-bfloat16" if on_tensorflow and _AMX in arithmetic.processor_flags() else "float32"


def compute_capability(*, progress: Progress) -> float | None:
    """The worker's side: the CUDA compute capability of the GPU that Keras has, None without one."""
    try:
        return float(gpu_field("compute_cap") or "")
    except ValueError:
        return None


def gpu_field(name: str) -> str | None:
    """A field of `nvidia-smi --query-gpu`, without its unit, of the first GPU that Keras has.

    None without a GPU, or where the driver doesn't report the field: a part of a GPU has no figure of its own.
    """
    import keras

    try:
        if not keras.distribution.list_devices("gpu"):
            return None
    except RuntimeError:  # what JAX raises without a GPU
        return None
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    query = ["nvidia-smi", f"--query-gpu={name}", "--format=csv,noheader,nounits", f"--id={first}"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
