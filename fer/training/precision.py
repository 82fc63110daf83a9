"""Which arithmetic this machine trains fastest in: 16 bits only where it has units for them.

On a processor without, bfloat16 is emulated: a step of `se-resnet` at 48x48 took 11 times as long as in float32 on an
AMD EPYC with AVX2.
"""

import functools
import shutil
from typing import Literal

from fer.engine import arithmetic, child_process
from fer.progress import Progress
from fer.recipes.schema import Recipe
from fer.training import gpu

_AMX = "amx_bf16"
_AMPERE = 8.0  # the first CUDA compute capability with bfloat16
_TIMEOUT_S = 300


def settled(plan: Recipe) -> Recipe:
    """`plan` with what this machine is fast in, in place of a precision of `auto`.

    So keys and manifests say how a model was trained, and a training that another kind of machine began is not gone on
    with in another arithmetic.
    """
    if plan.train.precision != "auto":
        return plan
    return plan.model_copy(update={"train": plan.train.model_copy(update={"precision": fastest()})})


@functools.cache
def fastest() -> Literal["float32", "mixed-bfloat16"]:
    """The GPU's, if Keras has one, or else the processor's, of which only TensorFlow uses the units."""
    if shutil.which("nvidia-smi") is not None:
        found = child_process.run(capability, {}, what="Looking for a GPU", timeout_s=_TIMEOUT_S)
        if found is not None:
            return "mixed-bfloat16" if found >= _AMPERE else "float32"
    on_tensorflow = arithmetic.backend() == "tensorflow"
    return "mixed-bfloat16" if on_tensorflow and _AMX in arithmetic.processor_flags() else "float32"


def capability(*, progress: Progress) -> float | None:
    """The child's work: the CUDA compute capability of the GPU that Keras has, None without one."""
    try:
        return float(gpu.asked("compute_cap") or "")
    except ValueError:
        return None
