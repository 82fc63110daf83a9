"""The fingerprint of the code that shapes a stage's output.

Prefect's own `TASK_SOURCE` hashes the task's lines alone and misses a change in what they call, so the sources of the
stage's module and of every project module that it imports, directly or not, are hashed here, with the versions of the
libraries whose changes can change bytes, the variables that make these compute in other ways, and how Keras is
configured. Left out are `fer.errors` and `fer.progress`: nearly every module imports them, and what is said when a
stage fails, or how far it is, is in no output.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

from fer.engine import arithmetic

_PROJECT = ("fer", "data_contracts")
_SHAPELESS = ("fer.errors", "fer.progress")
_SHAPING = {  # imported name -> the distributions that may provide it
    "PIL": ("pillow",),
    "ai_edge_litert": ("ai-edge-litert",),
    "cleanlab": ("cleanlab",),
    "cv2": ("opencv-python-headless",),
    "great_expectations": ("great-expectations",),
    "keras": ("keras",),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn",),
}
_BACKENDS = {"tensorflow": ("tensorflow-cpu", "tensorflow"), "jax": ("jax",), "torch": ("torch",)}


def of_module(name: str) -> str:
    """SHA-256 (hex) of the sources and library versions that the project module `name` reaches."""
    return _of_sources(tuple(sorted(reached(name).items())), arithmetic.backend())


def reached(name: str) -> dict[str, Path]:
    """The project modules that `name` imports, directly or not, itself included -> their source files."""
    found: dict[str, Path] = {}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        source = _source(module)
        if module in found or module in _SHAPELESS or source is None:
            continue
        found[module] = source
        waiting += [each for each in _imports(source.read_bytes()) if each.split(".")[0] in _PROJECT]
    return found


@functools.lru_cache
def _source(name: str) -> Path | None:
    """The file of the module `name`; None if it has none, or is no module but something in one.

    Only packages on the way are imported: a module may need TensorFlow.
    """
    package, _, _ = name.rpartition(".")
    if package:
        above = _spec(package)
        if above is None or above.submodule_search_locations is None:
            return None
    spec = _spec(name)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None


@functools.lru_cache  # the ten stages reach the same modules: 0.5 s of parsing become 0.15 s
def _imports(source: bytes) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def _of_sources(modules: tuple[tuple[str, Path], ...], backend: str) -> str:
    digest = hashlib.sha256()
    libraries: set[str] = set()
    for name, path in modules:
        source = path.read_bytes()
        digest.update(f"{name}\0".encode() + source + b"\0")
        libraries |= {each.split(".")[0] for each in _imports(source)}
    for library in sorted(libraries & _SHAPING.keys()):
        digest.update(f"{library}=={_version(_SHAPING[library])}\0".encode())
    if "keras" in libraries:
        digest.update(f"{backend}=={_version(_BACKENDS.get(backend, ()))}\0".encode())
        digest.update(arithmetic.KERAS_CONFIGURATION.read_bytes() + b"\0")
    for variable, value in arithmetic.variables(libraries).items():
        digest.update(f"{variable}={value}\0".encode())
    return digest.hexdigest()


@functools.lru_cache
def _version(distributions: tuple[str, ...]) -> str:
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "absent"
