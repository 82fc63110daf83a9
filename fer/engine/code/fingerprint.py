"""The fingerprint of the code that shapes a stage's output.

Prefect's own `TASK_SOURCE` hashes the task's lines alone and misses a change in what they call. Hashed here are the
stage's module and every module of the project that it imports, directly or not; the data files that these read; the
versions of the interpreter and of the libraries whose changes can change bytes; the variables that make these compute
in other ways; and how Keras is configured. Code counts as what it does: see `canonical_code`.

Left out is the plumbing, which runs a stage and says how it goes, and which no output holds.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

from fer.engine import arithmetic
from fer.engine.code import canonical_code, parsed_sources

ENGINE_VERSION = 1  # raise it when a change in the plumbing makes stages write other bytes: everything runs again then

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_PROJECT = ("fer", "data_contracts")
PLUMBING = frozenset(  # modules, and packages with all that is in them
    {
        "fer.errors",
        "fer.limits",
        "fer.progress",
        "fer.redaction",
        "fer.settings",
        "fer.engine.buckets",
        "fer.engine.code",
        "fer.engine.connect",
        "fer.engine.dask_runner",
        "fer.engine.disk",
        "fer.engine.local_workspace",
        "fer.engine.objects",
        "fer.engine.outputs",
        "fer.engine.processes",
        "fer.engine.read_only",
        "fer.engine.remote_workspace",
        "fer.engine.runners",
        "fer.engine.stage",
        "fer.engine.store",
        "fer.engine.usage",
        "fer.engine.workspace",
        "fer.registry.trust",
    }
)
# Whatever plumbing imports is reached all the same, except by what makes the keys.
_NOT_FOLLOWED = ("fer.engine.stage", "fer.engine.code.fingerprint")
_SHAPING = {  # imported name -> the distributions that may provide it
    "PIL": ("pillow",),
    "ai_edge_litert": ("ai-edge-litert",),
    "cleanlab": ("cleanlab",),
    "crepes": ("crepes",),
    "cv2": ("opencv-python-headless",),
    "fairlearn": ("fairlearn",),
    "great_expectations": ("great-expectations",),
    "jinja2": ("jinja2",),
    "keras": ("keras",),
    "matplotlib": ("matplotlib",),
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn",),
    "tf2onnx": ("tf2onnx",),
}
_BACKENDS = {"tensorflow": ("tensorflow-cpu", "tensorflow"), "jax": ("jax",), "torch": ("torch",)}
_READS_DATA = {"__file__", "FileSystemLoader", "PackageLoader", "get_data", "resources"}  # names in modules that do so


@dataclass(frozen=True)
class Code:
    """Modules as they were when they were read, and the conditions that they run under."""

    modules: dict[str, bytes]  # name -> source
    data: dict[str, bytes]  # data file of a package -> content
    conditions: dict[str, str]  # library or variable -> version or value

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what the code does and of the conditions. Raises SyntaxError."""
        lines = [f"{name} {sha256}" for name, sha256 in self.digests.items()]
        lines += [f"{name}={value}" for name, value in sorted(self.conditions.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """Module or data file -> SHA-256 (hex) of what it does or holds. Raises SyntaxError."""
        forms = {
            name: _form_digest(source, is_ours=name.split(".")[0] in _PROJECT)
            for name, source in sorted(self.modules.items())
        }
        return forms | {name: hashlib.sha256(content).hexdigest() for name, content in sorted(self.data.items())}

    def does_the_same(self, other: "Code") -> bool:
        """Whether both are the same code under whatever conditions. Raises SyntaxError."""
        if (self.modules, self.data) == (other.modules, other.data):
            return True
        return self.digests == other.digests

    def joined(self, other: "Code") -> "Code":
        """Both together; of what both have, that of this one."""
        return Code(other.modules | self.modules, other.data | self.data, other.conditions | self.conditions)


def of_module(name: str) -> str:
    """SHA-256 (hex) of the code that the module `name` reaches, and of its conditions."""
    return read(name).digest


def read(*names: str) -> Code:
    """The code that the modules `names` reach: of the project, and of the packages that these modules are in."""
    sources = _reached_sources(names)
    data: dict[str, bytes] = {}
    libraries: set[str] = set()
    foreign: set[str] = set()  # libraries of which nobody here knows whether they shape bytes
    for name, (path, source) in sources.items():
        facts = _facts(source)
        own = name.split(".")[0]
        imported = {module.split(".")[0] for module in facts.modules(name, _is_package(path))}
        libraries |= imported
        if own not in _PROJECT:
            foreign |= {own} | {library for library in imported if library not in (*_PROJECT, *sys.stdlib_module_names)}
        package = name if _is_package(path) else name.rpartition(".")[0]
        if facts.reads_data and package:
            data |= _data_of(package, path.parent)
    return Code({name: source for name, (_, source) in sources.items()}, data, _conditions(libraries, foreign))


def reached(*names: str) -> dict[str, Path]:
    """The modules that `names` import, directly or not, themselves and the packages around included -> source files.

    Of the project and of the packages that `names` are in; plumbing is not among them, but what it imports is.
    """
    return {name: path for name, (path, _) in _reached_sources(names).items()}


def _reached_sources(names: Iterable[str]) -> dict[str, tuple[Path, bytes]]:
    """The same with what the files hold, read once."""
    packages = {*_PROJECT, *(name.split(".")[0] for name in names)}
    sources: dict[str, tuple[Path, bytes]] = {}
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        path = _source(name) if name not in seen else None
        seen.add(name)
        if path is None:
            continue
        source = path.read_bytes()
        if not is_plumbing(name):
            sources[name] = path, source
        waiting.append(name.rpartition(".")[0])
        if name not in _NOT_FOLLOWED:
            imported = _facts(source).modules(name, _is_package(path))
            waiting += [module for module in imported if module.split(".")[0] in packages]
    return sources


@functools.lru_cache(maxsize=4096)
def is_plumbing(name: str) -> bool:
    """Whether the module `name` is left out of all fingerprints."""
    return any(name == part or name.startswith(f"{part}.") for part in PLUMBING)


@functools.lru_cache(maxsize=4096)
def _source(name: str) -> Path | None:
    """The file of the module `name`; None if it has none, or is no module but something in one.

    Only packages on the way are imported: a module may need TensorFlow.
    """
    package, _, _ = name.rpartition(".")
    if package:
        above = _spec(package)
        if above is None or above.submodule_search_locations is None:
            return None
    spec = _spec(name) if name else None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin is not None else None


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):  # ValueError: a module that was made without a spec
        return None


def _is_package(path: Path) -> bool:
    return path.stem == "__init__"


class _Facts(NamedTuple):
    """What a module's source says of what it needs."""

    imports: tuple[tuple[int, str], ...]  # dots before it, and the module or what may be one
    reads_data: bool

    def modules(self, name: str, is_package: bool) -> set[str]:
        """What the module `name` imports, by full names; some may be no modules but something in one."""
        around = name.split(".") if is_package else name.split(".")[:-1]
        return {
            ".".join([*around[: len(around) - dots + 1], *([module] if module else [])]) if dots else module
            for dots, module in self.imports
        }


def _form_digest(source: bytes, *, is_ours: bool) -> str:
    def make() -> str:
        return hashlib.sha256(canonical_code.form(source, is_ours=is_ours)).hexdigest()

    return str(parsed_sources.remembered("form" if is_ours else "form of others", source, make))


@functools.lru_cache(maxsize=4096)  # the stages reach the same modules
def _facts(source: bytes) -> _Facts:
    imports, reads_data = parsed_sources.remembered("facts", source, lambda: _parsed_facts(source))
    return _Facts(tuple((dots, module) for dots, module in imports), reads_data)


def _parsed_facts(source: bytes) -> _Facts:
    imports: set[tuple[int, str]] = set()
    reads_data = False
    for node in ast.walk(canonical_code.parse(source)):
        if isinstance(node, ast.Import):
            imports |= {(0, alias.name) for alias in node.names}
            reads_data |= any(alias.name == "importlib.resources" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            imports |= {(node.level, f"{module}.{alias.name}".strip(".")) for alias in node.names}
            imports.add((node.level, module))
            reads_data |= not _READS_DATA.isdisjoint(alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            imports |= {(0, str(name.value)) for name in node.args if isinstance(name, ast.Constant)}
        elif isinstance(node, ast.Name | ast.Attribute):
            reads_data |= (node.id if isinstance(node, ast.Name) else node.attr) in _READS_DATA
    return _Facts(tuple(sorted(imports)), reads_data)


def _data_of(package: str, folder: Path, *, is_package: bool = True) -> dict[str, bytes]:
    """The files of a package's folder that are no modules of it: all of folders in it that are no packages."""
    data: dict[str, bytes] = {}
    for path in sorted(folder.iterdir()):
        name = f"{package}/{path.name}"
        if path.is_dir():
            if path.name != "__pycache__" and not (path / "__init__.py").exists():
                data |= _data_of(name, path, is_package=False)
        elif path.suffix != ".pyc" and (path.suffix != ".py" or not is_package):
            data[name] = path.read_bytes()
    return data


def _conditions(libraries: Iterable[str], foreign: Iterable[str]) -> dict[str, str]:
    libraries = set(libraries)
    conditions = {"engine": str(ENGINE_VERSION), "python": _PYTHON}
    for library in libraries & _SHAPING.keys():
        conditions[library] = _version(_SHAPING[library])
    if "keras" in libraries:
        backend = arithmetic.backend()
        conditions["backend"] = f"{backend} {_version(_BACKENDS.get(backend, ()))}"
        conditions["keras.json"] = hashlib.sha256(arithmetic.KERAS_CONFIGURATION.read_bytes()).hexdigest()
    if others := set(foreign) - _SHAPING.keys():
        providers = _providers(tuple(sys.path))
        for library in others:
            distributions = sorted(set(providers.get(library, ())))
            conditions[library] = ", ".join(f"{name} {_version((name,))}" for name in distributions)
    return conditions | arithmetic.variables(libraries)


@functools.lru_cache(maxsize=8)
def _providers(path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Imported name -> the distributions on `sys.path`, which is `path`, that provide it: to look takes a while."""
    return importlib.metadata.packages_distributions()


@functools.lru_cache
def _version(distributions: tuple[str, ...]) -> str:
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "absent"
