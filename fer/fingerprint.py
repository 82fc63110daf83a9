"""The fingerprint of the code that shapes a stage's output.

Prefect's own `TASK_SOURCE` hashes the task's lines alone and misses a change in what they call, so the sources of the
stage's module and of every project module that it imports, directly or not, are hashed here, with the versions of the
libraries whose changes can change bytes.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
from pathlib import Path

_PROJECT = ("fer", "data_contracts")
_SHAPING = {  # imported name -> the distributions that may provide it
    "cv2": ("opencv-python-headless",),
    "great_expectations": ("great-expectations",),
    "keras": ("keras",),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "sklearn": ("scikit-learn",),
}
_BACKENDS = {"tensorflow": ("tensorflow-cpu", "tensorflow"), "jax": ("jax",), "torch": ("torch",)}


def of_module(name: str) -> str:
    """SHA-256 (hex) of the sources and library versions that the project module `name` reaches."""
    return _of_sources(tuple(sorted(reached(name).items())), os.environ.get("KERAS_BACKEND", "tensorflow"))


def reached(name: str) -> dict[str, Path]:
    """The project modules that `name` imports, directly or not, itself included -> their source files."""
    found: dict[str, Path] = {}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            continue
        found[module] = Path(spec.origin)
        waiting += [each for each in _imports(found[module]) if each.split(".")[0] in _PROJECT and _is_module(each)]
    return found


@functools.lru_cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the parent is a module, not a package: `name` is something in it
        return False


def _imports(source: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _of_sources(modules: tuple[tuple[str, Path], ...], backend: str) -> str:
    digest = hashlib.sha256()
    libraries: set[str] = set()
    for name, source in modules:
        digest.update(f"{name}\0".encode() + source.read_bytes() + b"\0")
        libraries |= {each.split(".")[0] for each in _imports(source)}
    for library in sorted(libraries & _SHAPING.keys()):
        digest.update(f"{library}=={_version(_SHAPING[library])}\0".encode())
    if "keras" in libraries:
        digest.update(f"{backend}=={_version(_BACKENDS.get(backend, ()))}\0".encode())
    return digest.hexdigest()


@functools.lru_cache
def _version(distributions: tuple[str, ...]) -> str:
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "absent"
