"""What decides the last bits of a result besides code and settings: what of it is in keys, and what is recorded.

Keras runs in child processes (`child_process`), which get `KERAS_HOME` as the folder of their configuration, so that
no user's `~/.keras/keras.json` reaches them. They are told how many threads to use, since sums are split by threads.
Environment variables that make a library compute in another way are passed on to them, and are part of the keys of the
stages that reach this library. The kinds of processor and GPU are in no key; `environment` records them.
"""

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from fer.engine.processes import process_pool

KERAS_HOME = Path(__file__).with_name("keras_home")
KERAS_CONFIGURATION = KERAS_HOME / "keras.json"
# Scoring is quick, and its results should be the same on any number of cores.
SCORING_THREADS = 8
# What would change results and is of no use here: limits for debugging, another kind of variables on JAX, and limits of
# threads.
CLEARED = (
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "KERAS_NNX_ENABLED",
    "OMP_DYNAMIC",
    "OMP_THREAD_LIMIT",
)
_PROCESSOR = Path("/proc/cpuinfo")
_INSTRUCTIONS = ("amx", "asimd", "avx", "bf16", "fma", "i8mm", "sve")  # beginnings of the flags that kernels look for
# Imported name -> beginnings of the names of variables that make it compute in other ways. None of them holds a secret.
_VARIABLES = {
    "cv2": ("FER_LIMIT_IMAGE_", "OPENCV_CPU_DISABLE", "OPENCV_IPP", "OPENCV_OPENCL_"),
    "keras": (
        "CUBLAS_WORKSPACE_CONFIG",
        "CUDNN_",
        "DNNL_",
        "JAX_DEFAULT_",
        "JAX_DISABLE_JIT",
        "JAX_ENABLE_X64",
        "JAX_NUMPY_",
        "JAX_PLATFORMS",
        "JAX_THREEFRY_PARTITIONABLE",
        "KERAS_TORCH_DEVICE",
        "MKL_CBWR",
        "MKL_DEBUG_CPU_TYPE",
        "MKL_ENABLE_INSTRUCTIONS",
        "NVIDIA_TF32_OVERRIDE",
        "ONEDNN_",
        "TF_AUTOTUNE_",
        "TF_AUTO_MIXED_PRECISION_",
        "TF_CUBLAS",
        "TF_CUDNN_",
        "TF_DISABLE_",
        "TF_ENABLE_",
        "TF_MKL_",
        "TF_ONEDNN_",
        "TF_SET_ONEDNN_",
        "TF_USE_",
        "TF_XLA_FLAGS",
        "TORCH_ALLOW_TF32_",
        "XLA_FLAGS",
    ),
    "numpy": ("GLIBC_TUNABLES", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "OPENBLAS_CORETYPE"),
    "pyarrow": ("ARROW_USER_SIMD_LEVEL",),
}
_LIBRARIES = (
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "jax",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "opencv-python-headless",
    "pyarrow",
    "fer-retraining",
)


def backend() -> str:
    """Keras' backend."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def variables(libraries: Iterable[str] = tuple(_VARIABLES)) -> dict[str, str]:
    """The variables that are set and make one of `libraries`, imported names, compute in other ways."""
    beginnings = tuple(beginning for library in libraries for beginning in _VARIABLES.get(library, ()))
    return {name: value for name, value in sorted(os.environ.items()) if value and name.startswith(beginnings)}


def child_environment(*, threads: int | None = None, xla: bool = False) -> dict[str, str]:
    """The child's environment: repeatable arithmetic, in so many threads (None: one for each usable core), with Keras
    as the project configures it; of a GPU's memory what is needed.

    By themselves TensorFlow and JAX take most of a GPU when they start: then nothing says what is free. Where XLA is to
    compile TensorFlow's steps (`xla`), it is XLA that repeats itself: beside TensorFlow's own such operations Keras
    leaves it out.
    """
    n_threads = str(threads or process_pool.usable_cores())
    flags = os.environ.get("XLA_FLAGS", "")
    inherited = {name: value for name, value in os.environ.items() if name not in CLEARED}
    return {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        **inherited,
        "KERAS_BACKEND": backend(),
        "KERAS_HOME": str(KERAS_HOME),
        "TF_NUM_INTRAOP_THREADS": n_threads,
        "TF_NUM_INTEROP_THREADS": n_threads,
        "NPROC": n_threads,  # what JAX asks on a CPU
        "OMP_NUM_THREADS": n_threads,  # PyTorch
        "MKL_NUM_THREADS": n_threads,
        "OPENBLAS_NUM_THREADS": "1",  # NumPy's, which would take no more threads than there are cores
        "PYTHONHASHSEED": "0",
        "TF_DETERMINISTIC_OPS": "0" if xla else "1",  # what tf.config.experimental.enable_op_determinism() sets
        "XLA_FLAGS": f"{flags} --xla_gpu_deterministic_ops=true".strip() if xla else flags,
    }


def environment() -> dict[str, str]:
    """This process' interpreter, machine, libraries and variables, for a record."""
    record = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": _of_processor("model name") or platform.processor() or "unknown",
        "instruction set": " ".join(sorted(flag for flag in processor_flags() if flag.startswith(_INSTRUCTIONS))),
        "cores": str(process_pool.usable_cores()),
        "backend": backend(),
    }
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            record[library] = importlib.metadata.version(library)
    return record | variables()


def processor_flags() -> set[str]:
    """What the processor can do, in Linux' words; nothing elsewhere."""
    return set((_of_processor("flags") or _of_processor("Features")).split())


def _of_processor(field: str) -> str:
    try:
        lines = _PROCESSOR.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")
