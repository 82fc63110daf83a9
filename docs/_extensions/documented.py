"""Every public module, class, function and method has a docstring: one without it fails the build."""

import ast
import importlib
import inspect
import operator
from pathlib import Path
from typing import Any

from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fer", "flows", "tasks", "data_contracts")
_log = logging.getLogger(__name__)


def undocumented() -> list[str]:
    """`fer/engine/stage.py:12 run` of everything public without a docstring."""
    missing = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            place = path.relative_to(ROOT)
            if not ast.get_docstring(tree):
                missing.append(f"{place}:1 the module")
            module = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
            missing += [
                f"{place}:{node.lineno} {name}"
                for name, node in _public(tree)
                if not ast.get_docstring(node) and not _inherited(module, name)
            ]
    return missing


def _public(
    node: ast.Module | ast.ClassDef, before: str = ""
) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    nodes = []
    for child in node.body:
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or child.name.startswith("_"):
            continue
        if _says_nothing_new(child):
            continue
        nodes.append((before + child.name, child))
        if isinstance(child, ast.ClassDef):
            nodes += _public(child, f"{before}{child.name}.")
    return nodes


def _inherited(module: str, name: str) -> bool:
    """Whether a method has the docstring of the one that it overrides."""
    if "." not in name:
        return False
    return bool(inspect.getdoc(operator.attrgetter(name)(importlib.import_module(module))))


def _says_nothing_new(node: ast.AST) -> bool:
    """Of an overload, a setter or a method that overrides another the first one's docstring holds."""
    decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])]
    return any(text.endswith((".setter", "overload", "override")) for text in decorators)


def _check(app: Any) -> None:
    for place in undocumented():
        _log.warning("What is public must have a docstring. Received: %s", place)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", _check)
    return {"parallel_read_safe": True}
