"""Source code in a canonical form: two sources with the same form do the same.

Comments, docstrings, layout and positions are not in it, nor are the names of local variables, annotations that nothing
reads, descriptions of config fields, and what only type checkers run. The form is the same on every interpreter that
the project supports, which `ast.dump` is not.
"""

import ast
import dataclasses
import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_Scopes = tuple[Mapping[str, str], ...]  # of the functions around, outermost first: bound name -> how it is written

_IGNORED_FIELDS = {"ctx", "kind", "type_comment", "type_ignores"}  # implied by others, or for type checkers only
_STATEMENTS = {"body", "orelse", "finalbody"}
# By these, code can see the names of its local variables.
_INTROSPECTION = {"_getframe", "currentframe", "dir", "eval", "exec", "inspect", "locals", "vars"}
_READS_DOCSTRINGS = {"__doc__", "getdoc", "use_attribute_docstrings"}
_WORD = re.compile(r"\w+")


def parse(source: bytes) -> ast.Module:
    """The syntax tree of a module, without what at its top runs for type checkers only. Raises SyntaxError."""
    module = ast.parse(source)
    module.body = [kept for statement in module.body for kept in _run(statement)]
    return module


def _run(statement: ast.stmt) -> list[ast.stmt]:
    """Of `if TYPE_CHECKING` the other branch; every other statement as it is."""
    if not isinstance(statement, ast.If):
        return [statement]
    name = getattr(statement.test, "attr", getattr(statement.test, "id", None))
    return statement.orelse if name == "TYPE_CHECKING" else [statement]


@functools.lru_cache(maxsize=1024)
def form(source: bytes, *, is_ours: bool = True) -> bytes:
    """The canonical form of a module's source. Raises SyntaxError.

    `is_ours`: nothing in this code reads the annotations of functions without decorators or of variables outside
    classes, nor the descriptions of fields. In the code of others these are kept.
    """
    module = parse(source)
    survey = _Survey()
    survey.visit(module)
    writer = _Writer(survey, module, is_ours=is_ours)
    writer.write(module, ())
    return "".join(writer.parts).encode()


@dataclasses.dataclass
class _Content:
    """What the code of a module, a function or a comprehension mentions, with all that is within it."""

    names: set[str] = dataclasses.field(default_factory=set)  # variables, attributes and keywords
    words: set[str] = dataclasses.field(default_factory=set)  # of texts, except docstrings
    has_class: bool = False


class _Survey:
    """Collects the `content` of each node that has a scope, in one walk over a module."""

    def __init__(self) -> None:
        self.content: dict[ast.AST, _Content] = {}
        self._current = _Content()

    def visit(self, node: ast.AST) -> None:
        """Survey `node` and all that is within it."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
            return
        around = self._current
        if isinstance(node, ast.Module | _Function | _Comprehension):
            self._current = self.content[node] = _Content()
        self._note(node)
        for field in node._fields:
            value = getattr(node, field, None)
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.AST):
                    self.visit(child)
        if self._current is not around:
            around.names |= self._current.names
            around.words |= self._current.words
            around.has_class |= self._current.has_class
            self._current = around

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            self._current.names.add(node.id)
        elif isinstance(node, ast.Attribute):
            self._current.names.add(node.attr)
        elif isinstance(node, ast.keyword):
            self._current.names.add(node.arg or "")
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self._current.words.update(_WORD.findall(node.value))
        elif isinstance(node, ast.ClassDef) or getattr(node, "type_params", None):
            self._current.has_class = True


class _Writer:
    """Collects the form of a tree in `parts`, each node as its type and those of its fields that are not empty."""

    def __init__(self, survey: _Survey, module: ast.Module, *, is_ours: bool):
        self.parts: list[str] = []
        self._content = survey.content
        self._is_ours = is_ours
        self._keeps_docstrings = not _READS_DOCSTRINGS.isdisjoint(survey.content[module].names)
        self._in_class = False

    def write(self, value: Any, scopes: _Scopes) -> None:
        """Write a node or the value of a field, whose names stand in `scopes`."""
        if isinstance(value, ast.AST):
            special = getattr(self, f"_write_{type(value).__name__}", self._write_fields)
            special(value, scopes)
        elif isinstance(value, list):
            self.parts.append("[")
            for item in value:
                self.write(item, scopes)
                self.parts.append(",")
            self.parts.append("]")
        else:
            self.parts.append(_literal(value))

    def _write_fields(self, node: ast.AST, scopes: _Scopes, **changed: Any) -> None:
        """Write `node` with some fields in place of its own; a pair is of a value and the scopes that it stands in."""
        self.parts.append(f"{type(node).__name__}(")
        for field in node._fields:
            value, within = getattr(node, field, None), scopes
            if field in changed:
                value = changed[field]
                if isinstance(value, tuple):
                    value, within = value
            if field in _STATEMENTS and isinstance(value, list):
                value = [statement for statement in value if not self._is_idle(statement)]
            if field in _IGNORED_FIELDS or value is None or value == []:
                continue
            self.parts.append(f"{field}=")
            self.write(value, within)
            self.parts.append(";")
        self.parts.append(")")

    def _is_idle(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return not self._keeps_docstrings
        return isinstance(statement, ast.Pass)

    def _write_Constant(self, node: ast.Constant, scopes: _Scopes) -> None:
        self.parts.append(f"Constant({type(node.value).__name__}:{_literal(node.value)})")

    def _write_JoinedStr(self, node: ast.JoinedStr, scopes: _Scopes) -> None:
        """Interpreters differ in where they divide the text between the values, and in leaving out empty ones."""
        self.parts.append("JoinedStr(")
        text = ""
        for value in node.values:
            if isinstance(value, ast.Constant):
                text += str(value.value)
                continue
            self.parts.append(f"{_literal(text)},")
            text = ""
            spec = getattr(value, "format_spec", None)
            is_empty = isinstance(spec, ast.JoinedStr) and not any(
                getattr(part, "value", None) != "" for part in spec.values
            )
            self._write_fields(value, scopes, **({"format_spec": None} if is_empty else {}))
        self.parts.append(f"{_literal(text)})")

    def _write_Name(self, node: ast.Name, scopes: _Scopes) -> None:
        self.parts.append(f"Name({_written(node.id, scopes)})")

    def _write_ExceptHandler(self, node: ast.ExceptHandler, scopes: _Scopes) -> None:
        self._write_fields(node, scopes, name=_written(node.name, scopes))

    def _write_MatchAs(self, node: ast.MatchAs, scopes: _Scopes) -> None:
        self._write_fields(node, scopes, name=_written(node.name, scopes))

    def _write_MatchStar(self, node: ast.MatchStar, scopes: _Scopes) -> None:
        self._write_fields(node, scopes, name=_written(node.name, scopes))

    def _write_MatchMapping(self, node: ast.MatchMapping, scopes: _Scopes) -> None:
        self._write_fields(node, scopes, rest=_written(node.rest, scopes))

    def _write_Nonlocal(self, node: ast.Nonlocal, scopes: _Scopes) -> None:
        self._write_fields(node, scopes, names=[_written(name, scopes) for name in node.names])

    def _write_AnnAssign(self, node: ast.AnnAssign, scopes: _Scopes) -> None:
        if self._in_class or not self._is_ours:
            self._write_fields(node, scopes)
        elif node.value is None:
            self._write_fields(node, scopes, annotation=None)
        else:
            self.write(ast.Assign(targets=[node.target], value=node.value), scopes)

    def _write_Call(self, node: ast.Call, scopes: _Scopes) -> None:
        keywords = node.keywords
        if self._is_ours and getattr(node.func, "attr", getattr(node.func, "id", None)) == "Field":
            keywords = [keyword for keyword in keywords if keyword.arg != "description"]
        self._write_fields(node, scopes, keywords=keywords)

    def _write_ClassDef(self, node: ast.ClassDef, scopes: _Scopes) -> None:
        around, self._in_class = self._in_class, True
        self._write_fields(node, scopes)
        self._in_class = around

    def _write_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scopes: _Scopes) -> None:
        around, self._in_class = self._in_class, False
        changed: dict[str, Any] = {"body": (node.body, (*scopes, self._function_scope(node, len(scopes))))}
        if self._is_ours and not node.decorator_list:
            changed |= {"returns": None, "args": _without_annotations(node.args)}
        self._write_fields(node, scopes, **changed)
        self._in_class = around

    _write_AsyncFunctionDef = _write_FunctionDef

    def _write_Lambda(self, node: ast.Lambda, scopes: _Scopes) -> None:
        self._write_fields(node, scopes, body=(node.body, (*scopes, self._function_scope(node, len(scopes)))))

    def _write_comprehension_of(self, node: Any, scopes: _Scopes) -> None:
        within = (*scopes, self._comprehension_scope(node, len(scopes)))
        self.parts.append(f"{type(node).__name__}(")
        for number, generator in enumerate(node.generators):
            # The first iterable is evaluated outside.
            self._write_fields(generator, within, iter=(generator.iter, within if number else scopes))
        for field in ("elt", "key", "value"):
            if hasattr(node, field):
                self.parts.append(f"{field}=")
                self.write(getattr(node, field), within)
        self.parts.append(")")

    def _function_scope(self, node: _Function, depth: int) -> dict[str, str]:
        """How each name that a function binds is written. Its parameters, which callers may name, stay as they are."""
        arguments = node.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        bindings = _Bindings(fixed=[parameter.arg for parameter in parameters if parameter is not None])
        for statement in node.body if isinstance(node.body, list) else [node.body]:
            bindings.visit(statement)
        return bindings.scope(self._content[node], depth)

    def _comprehension_scope(self, node: _Comprehension, depth: int) -> dict[str, str]:
        bindings = _Bindings()
        for generator in node.generators:
            bindings.visit(generator.target)
        return bindings.scope(self._content[node], depth)

    _write_ListComp = _write_SetComp = _write_DictComp = _write_GeneratorExp = _write_comprehension_of


def _literal(value: Any) -> str:
    """A constant in ASCII: `repr` shows characters or not by the interpreter's edition of Unicode."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, bytes):
        return value.hex()
    return hex(value) if type(value) is int else repr(value)


def _written(name: str | None, scopes: _Scopes) -> str | None:
    return next((scope[name] for scope in reversed(scopes) if name in scope), name) if name is not None else None


def _without_annotations(arguments: ast.arguments) -> ast.arguments:
    def bare(argument: ast.arg) -> ast.arg:
        return ast.arg(arg=argument.arg)

    return ast.arguments(
        posonlyargs=[bare(argument) for argument in arguments.posonlyargs],
        args=[bare(argument) for argument in arguments.args],
        vararg=None if arguments.vararg is None else bare(arguments.vararg),
        kwonlyargs=[bare(argument) for argument in arguments.kwonlyargs],
        kw_defaults=arguments.kw_defaults,
        kwarg=None if arguments.kwarg is None else bare(arguments.kwarg),
        defaults=arguments.defaults,
    )


class _Bindings(ast.NodeVisitor):
    """The names that one function binds, in the order of the code; those of functions within it are not among them."""

    def __init__(self, fixed: Iterable[str] = ()):
        self._may_be_renamed = dict.fromkeys(fixed, False)
        self._outer: set[str] = set()

    def scope(self, content: _Content, depth: int) -> dict[str, str]:
        """Bound name -> how it is written: by its number, where nothing within can tell by which name it goes.

        A text can name a variable, as those of queries do. A class within has rules of its own for names around it.
        """
        is_fixed = content.has_class or not _INTROSPECTION.isdisjoint(content.names)
        bound = {name: free for name, free in self._may_be_renamed.items() if name not in self._outer}
        return {
            name: f"%{depth}.{number}" if free and not is_fixed and name not in content.words else name
            for number, (name, free) in enumerate(bound.items())
        }

    def _bind(self, name: str | None, *, may_be_renamed: bool = True) -> None:
        if name is not None:
            self._may_be_renamed[name] = self._may_be_renamed.get(name, True) and may_be_renamed

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id)

    def visit_FunctionDef(self, node: Any) -> None:
        self._bind(node.name, may_be_renamed=False)  # which the function itself knows
        for outside in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if outside is not None:
                self.visit(outside)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, may_be_renamed=False)

    def _visit_comprehension(self, node: Any) -> None:
        """Of what is within, only `:=` binds outside."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.NamedExpr):
                self._bind(child.target.id)
            if not isinstance(child, ast.Lambda):
                self._visit_comprehension(child)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self._bind(alias.asname or alias.name.split(".")[0], may_be_renamed=False)

    visit_ImportFrom = visit_Import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._bind(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._bind(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._bind(node.rest)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        for name in node.names:
            self._bind(name, may_be_renamed=False)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self._outer |= set(node.names)
