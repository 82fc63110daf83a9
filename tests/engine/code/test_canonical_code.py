import ast
import functools
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fer
from fer.engine.code import canonical_code

ROOT = Path(fer.__file__).parents[1]
SOURCES = sorted(path for package in ("fer", "data_contracts") for path in (ROOT / package).rglob("*.py"))

CODE = '''
"""A module."""
import numpy as np

LIMIT = 3

def clip(rows: "list[int]", limit: int = LIMIT) -> "list[int]":
    """Clip rows."""
    clipped = []
    for row in rows:
        clipped.append(min(row, limit))
    return clipped
'''


@functools.cache
def form_of(path: Path) -> bytes:
    return canonical_code.form(path.read_bytes())


def form(code: str, *, is_ours: bool = True) -> bytes:
    return canonical_code.form(code.encode(), is_ours=is_ours)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    clipped = []", "    # as a list\n    clipped = []  # empty"),
        ('"""Clip rows."""', '"""Clip rows, whatever they are."""'),
        ('    """Clip rows."""\n', ""),
        ('"""A module."""', ""),
        (
            "clipped.append(min(row, limit))",
            "clipped.append(\n            min(\n                row, (limit)\n            )\n        )",
        ),
        ('rows: "list[int]"', "rows: list[int]"),
        (' -> "list[int]"', ""),
        ("    clipped = []", "    clipped: list[int] = []"),
        ("LIMIT = 3", "LIMIT: int = 0x3"),
        ("clipped", "result"),
        ("row,", "row ,"),
    ],
)
def test_what_does_the_same_has_the_same_form(old, new):
    assert old in CODE
    assert form(CODE.replace(old, new)) == form(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", "LIMIT = True"),
        ("LIMIT = 3", "LIMIT = '3'"),
        ("LIMIT = 3", "LIMIT = b'3'"),
        ("LIMIT = 3", "LIMIT = None"),
        ("min(", "max("),
        ("rows", "items"),
        ("limit: int = LIMIT", "limit: int"),
        ("numpy as np", "scipy as np"),
        ("def clip", "def cut"),
        ("return clipped", "return rows"),
        ("    clipped = []", "    clipped = [0]"),
        ("    return clipped", "        return clipped"),
        ("    clipped = []", "    global clipped\n    clipped = []"),
    ],
)
def test_what_does_something_else_has_another_form(old, new):
    assert old in CODE
    assert form(CODE.replace(old, new)) != form(CODE)


LOCALS = {
    "loop": "def f(xs):\n    for NAME in xs:\n        g(NAME)\n",
    "closure": "def f(xs):\n    NAME = 1\n    def g():\n        nonlocal NAME\n        NAME += 1\n    return g\n",
    "comprehension": "ys = [NAME + 1 for NAME in xs if NAME]\n",
    "walrus": "def f(xs):\n    return [NAME for x in xs if (NAME := g(x))], NAME\n",
    "error": "def f():\n    try:\n        g()\n    except OSError as NAME:\n        h(NAME)\n",
    "match": "def f(x):\n    match x:\n        case [1, *NAME]:\n            return NAME\n        case {'a': NAME}:\n"
    "            return NAME\n",
    "with": "def f():\n    with g() as NAME:\n        return lambda: NAME\n",
    "in a method": "class A:\n    def f(self):\n        NAME = self.x\n        return NAME\n",
}


@pytest.mark.parametrize("kind", LOCALS)
def test_a_local_variable_may_have_any_name(kind):
    assert form(LOCALS[kind].replace("NAME", "one")) == form(LOCALS[kind].replace("NAME", "another"))


NO_LOCALS = {
    "a parameter": "def f(NAME):\n    return NAME\n",
    "a keyword": "def f():\n    return g(NAME=1)\n",
    "an attribute": "def f(x):\n    x.NAME = 1\n",
    "a global": "def f():\n    return NAME\n",
    "a declared global": "def f():\n    global NAME\n    NAME = 1\n",
    "of a module": "NAME = 1\n",
    "of a class": "class A:\n    NAME = 1\n",
    "of a class in a function": "def f():\n    class A:\n        NAME = 1\n    return A\n",
    "an import": "def f():\n    import NAME\n    return NAME\n",
    "a function's": "def f():\n    def NAME():\n        pass\n    return NAME\n",
    "read by locals": "def f():\n    NAME = 1\n    return locals()\n",
    "read by eval": "def f(code):\n    NAME = 1\n    return eval(code)\n",
    "in a query": "def f(table):\n    NAME = 1\n    return table.query('a > @NAME')\n",
    "shown": "def f():\n    NAME = 1\n    return f'{NAME=}'\n",
}


@pytest.mark.parametrize("kind", NO_LOCALS)
def test_a_name_that_something_else_may_know_counts(kind):
    assert form(NO_LOCALS[kind].replace("NAME", "one")) != form(NO_LOCALS[kind].replace("NAME", "another"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x):\n    y = x\n    return y\n", "def f(x):\n    y = x\n    return x\n"),
        ("def f():\n    a, b = g()\n    return a\n", "def f():\n    a, b = g()\n    return b\n"),
        ("def f():\n    a = 1\n    return lambda b: a\n", "def f():\n    a = 1\n    return lambda b: b\n"),
        ("def f():\n    a = 1\n    return [a for b in g()]\n", "def f():\n    a = 1\n    return [b for b in g()]\n"),
        ("def f():\n    a = 1\n    return [a for a in g(a)]\n", "def f():\n    a = 1\n    return [b for b in g(b)]\n"),
        ("def f():\n    x = 1\n    return x\n", "def f():\n    return x\n"),
        ("a = [x for x in y]\n", "a = [x for z in y]\n"),
    ],
)
def test_another_variable_is_not_another_name(one, other):
    assert form(one) != form(other)


def test_annotations_and_descriptions_count_where_they_may_be_read():
    config = "class A(Record):\n    share: float = Field(default=0.1, ge=0, description='a share')\n"
    assert form(config.replace("a share", "the share")) == form(config)
    for old, new in (("float", "int"), ("0.1", "0.2"), ("ge=0", "gt=0"), ("share:", "part:")):
        assert form(config.replace(old, new)) != form(config)
    assert form(config.replace("a share", "the share"), is_ours=False) != form(config, is_ours=False)
    decorated = "@stage('x')\ndef f(a: int) -> int:\n    return a\n"
    assert form(decorated.replace("-> int", "-> float")) != form(decorated)
    plain = "def f(a: int) -> int:\n    return a\n"
    assert form(plain.replace("int", "float")) == form(plain)
    assert form(plain.replace("int", "float"), is_ours=False) != form(plain, is_ours=False)


def test_docstrings_count_where_the_module_reads_them():
    code = 'def f():\n    """One."""\n\nabout = f.__doc__\n'
    assert form(code.replace("One", "Two")) != form(code)


def test_what_only_a_type_checker_runs_does_not_count():
    code = "if TYPE_CHECKING:\n    import keras\nelse:\n    x = 1\n"
    assert form(code.replace("keras", "torch")) == form("x = 1\n")
    assert form(code.replace("x = 1", "x = 2")) != form(code)


@pytest.mark.parametrize("folder", ["fer/images", pytest.param(".", marks=pytest.mark.slow)])
def test_every_module_has_its_form_whatever_its_layout_and_comments(folder):
    paths = [path for path in SOURCES if path.is_relative_to(ROOT / folder)]
    assert len(paths) > 5
    for path in paths:
        laid_out_anew = ast.unparse(ast.parse(path.read_bytes()))
        same = f"# a comment\n{laid_out_anew}\n# another\n"
        assert canonical_code.form(same.encode()) == form_of(path), path


class Mutation(ast.NodeTransformer):
    """Changes the node number `at` of those that can be changed within functions."""

    def __init__(self, at: int):
        self.left = at
        self.depth = 0

    def visit_FunctionDef(self, node):
        self.depth += 1
        node.body = [self.visit(statement) for statement in node.body]
        self.depth -= 1
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node):
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_Expr(self, node):
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_JoinedStr(self, node):
        return node

    def visit_keyword(self, node):
        return node if node.arg == "description" else self.generic_visit(node)

    def hit(self) -> bool:
        self.left -= self.depth > 0
        return self.left == -1 and self.depth > 0

    def visit_Constant(self, node):
        if isinstance(node.value, bool | None) or not isinstance(node.value, int | float | str):
            return node
        changed = node.value + 1 if not isinstance(node.value, str) else f"{node.value}x"
        return ast.copy_location(ast.Constant(changed), node) if self.hit() else node

    def visit_Attribute(self, node):
        if self.hit():
            node.attr += "_x"
            return node
        return self.generic_visit(node)

    def visit_Call(self, node):
        if self.hit():
            node.keywords.append(ast.keyword("added", ast.Constant(1)))
            return node
        return self.generic_visit(node)

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load) and self.hit():
            return ast.copy_location(ast.Name("another_name", ast.Load()), node)
        return node


@given(path=st.sampled_from([path for path in SOURCES if b"def " in path.read_bytes()]), at=st.integers(0, 2_000))
def test_any_change_within_a_function_is_another_form(path, at):
    source = path.read_bytes()
    mutation = Mutation(at)
    mutated = ast.unparse(ast.fix_missing_locations(mutation.visit(ast.parse(source)))).encode()
    if mutation.left < 0:
        assert canonical_code.form(mutated) != form_of(path)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_form_is_the_same_on_every_interpreter(version, tmp_path):
    """On those that can be had; their standard library is enough."""
    python = _interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    script = (
        "import hashlib, importlib.util, pathlib, sys\n"
        "spec = importlib.util.spec_from_file_location('canonical_code', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['canonical_code'] = module\n"
        "spec.loader.exec_module(module)\n"
        "for path in sys.argv[2:]:\n"
        "    print(hashlib.sha256(module.form(pathlib.Path(path).read_bytes())).hexdigest())\n"
    )
    command = [python, "-I", "-c", script, canonical_code.__file__, *map(str, SOURCES)]
    hashes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert hashes == [hashlib.sha256(form_of(path)).hexdigest() for path in SOURCES]


def _interpreter(version: str) -> str | None:
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return sys.executable
    candidates = [f"python{version}", *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    for candidate in candidates:
        try:
            subprocess.run([candidate, "-I", "-c", ""], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None
