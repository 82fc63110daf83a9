"""Directives whose text is made from the code, so that a reference page can't say anything else than the code does."""

import importlib
import inspect
import json
import pkgutil
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import commands
import from_code
import pyarrow as pa
from prefect import Flow, Task
from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

import data_contracts
import fer
from fer import errors, limits
from fer.images import limits as image_limits
from fer.recipes import catalog
from fer.recipes.schema import Recipe
from fer.settings import FromEnvironment, Settings

ROOT = Path(__file__).resolve().parents[2]


def _json(value: Any) -> str:
    return json.dumps(to_jsonable_python(value), ensure_ascii=False)


class EnvironmentVariables(from_code.Directive):
    """Every `FER_` variable, from the settings' own fields."""

    settings: tuple[type[FromEnvironment], ...] = (Settings,)

    def lines(self) -> Iterator[str]:
        """A table."""
        yield from_code.table("variable", "default", "meaning")
        for settings in self.settings:
            for name, field in settings.model_fields.items():
                value = f"{field.default:,}" if isinstance(field.default, int) else str(field.default)
                default = "" if field.default in (PydanticUndefined, None, "") else from_code.code(value)
                default = from_code.code("$FER_HOME/workspace") if name == "workspace" else default
                variable = f"{settings.PREFIX}{name.upper()}"
                yield from_code.row(from_code.code(variable), default, field.description or "")


class Limits(EnvironmentVariables):
    """Every limit of what an input may cost, with its reason."""

    settings = (limits.Limits, image_limits.ImageLimits)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that a field holds one of; none of a plain value."""
    members = get_args(annotation) if isinstance(annotation, types.UnionType) or get_args(annotation) else (annotation,)
    return [member for member in members if isinstance(member, type) and issubclass(member, BaseModel)]


class RecipeSettings(from_code.Directive):
    """Every setting of a recipe: name for `--set`, kind, default, meaning; from the schema."""

    def lines(self) -> Iterator[str]:
        """One heading a section."""
        for name, field in Recipe.model_fields.items():
            models = _models(field.annotation)
            if not models:
                continue
            yield f"## `{name}`\n"
            yield f"{_summary(models[0])}\n"
            yield from self._section(models[0], name)

    def _section(self, model: type[BaseModel], path: str) -> Iterator[str]:
        nested: list[tuple[type[BaseModel], str, str]] = []
        yield from_code.table("setting", "kind", "default", "meaning")
        for name, field in model.model_fields.items():
            within = _models(field.annotation)
            if within and not _is_collection(field.annotation):
                for kind in within:
                    literal = kind.model_fields["name"].default if len(within) > 1 else ""
                    nested.append((kind, f"{path}.{name}", literal))
                continue
            yield from_code.row(
                from_code.code(f"{path}.{name}"),
                _kind(field.annotation, field.metadata),
                _default(field),
                field.description or "",
            )
        yield ""
        for kind, where, literal in nested:
            heading = f"`{where}` where `{where}.name` is `{literal}`" if literal else f"`{where}`"
            yield f"### {heading}\n"
            yield f"{_summary(kind)}\n"
            yield from self._section(kind, where)


def _is_collection(annotation: Any) -> bool:
    return get_origin(annotation) in (tuple, list, dict)


def _summary(of: Any) -> str:
    return (inspect.getdoc(of) or "").split("\n\n")[0].replace("\n", " ")


def _default(field: Any) -> str:
    if field.default is not PydanticUndefined:
        return "" if field.default is None else from_code.code(_json(field.default))
    return "" if field.default_factory is None else from_code.code(_json(field.default_factory()))


def _kind(annotation: Any, metadata: list[Any]) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(from_code.code(str(choice)) for choice in get_args(annotation))
    members = [member for member in get_args(annotation) if member is not type(None)]
    if isinstance(annotation, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(member, metadata) for member in members))
    if get_origin(annotation) is tuple:
        return f"list of {_kind(members[0], [])}"
    if get_origin(annotation) is dict:
        return f"object of {_kind(members[1], [])}"
    if members:  # Annotated
        return _kind(members[0], [*getattr(annotation, "__metadata__", ()), *metadata])
    name = _KINDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    if annotation not in (int, float):
        return name
    bounds = {
        f"{sign} {getattr(constraint, bound)}": None
        for constraint in _flat(metadata)
        for bound, sign in _BOUNDS
        if getattr(constraint, bound, None) is not None
    }
    return f"{name} {', '.join(bounds)}".strip()


def _flat(metadata: list[Any]) -> Iterator[Any]:
    for constraint in metadata:
        yield from getattr(constraint, "metadata", None) or [constraint]


_KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


class Recipes(from_code.Directive):
    """The named recipes: what each says about itself, and each setting that is not its section's default."""

    def lines(self) -> Iterator[str]:
        """One heading a recipe."""
        for name in catalog.NAMES:
            recipe = catalog.load(name)
            yield f"## `{name}`\n"
            yield f"{_paragraphs(catalog.about(name))}\n"
            yield from_code.table("setting", "value")
            for field in Recipe.model_fields:
                yield from self._differing(field, getattr(recipe, field))
            yield ""

    def _differing(self, path: str, value: Any, default: Any = None) -> Iterator[str]:
        if not isinstance(value, BaseModel):
            if value != default and path != "name":
                yield from_code.row(from_code.code(path), from_code.code(_json(value)))
            return
        for name, field in type(value).model_fields.items():
            given = getattr(value, name)
            own = None if field.default is PydanticUndefined else field.default
            if isinstance(given, BaseModel) or given != own or (isinstance(field.default, str) and name == "name"):
                yield from self._differing(f"{path}.{name}", given, None if name == "name" else own)


def _paragraphs(text: str) -> str:
    """A docstring as Markdown: lines that begin with a word and a colon begin a paragraph."""
    return re.sub(r"\n(?=(Command|Expected|Measured)\b)", "\n\n", text)


class ErrorTree(from_code.Directive):
    """The tree of errors with the exit code of each, from the classes."""

    def lines(self) -> Iterator[str]:
        """A table."""
        yield from_code.table("error", "exit code", "tried again", "meaning")
        yield from self._rows(errors.FerError, 0)

    def _rows(self, error: type[errors.FerError], depth: int) -> Iterator[str]:
        again = "yes" if error.transient else ""
        yield from_code.row(
            f"{'  ' * depth}`{error.__name__}`", str(error.exit_code), again, _summary(error) if error.__doc__ else ""
        )
        for child in error.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from self._rows(child, depth + 1)


class Contracts(from_code.Directive):
    """The datasets between stages: columns, and the rules with the values of the recipe `demo`."""

    def lines(self) -> Iterator[str]:
        """One heading a module of data_contracts that has a schema or rules."""
        for module in _modules(data_contracts):
            source = inspect.getsource(module)
            schemas = _schemas(module)
            rules = getattr(module, "rules", None)
            if not schemas and rules is None:
                continue
            yield f"## `{module.__name__}`\n"
            yield f"{_described(inspect.getdoc(module) or '')}\n"
            for name, schema in schemas.items():
                yield f"### `{name}`\n"
                yield from_code.table("column", "type", "may be empty", "remark")
                for field in schema:
                    yield from_code.row(
                        from_code.code(field.name),
                        from_code.code(str(field.type)),
                        "yes" if field.nullable else "",
                        _remark(source, field.name),
                    )
                yield ""
            if rules is not None:
                yield "### Rules\n"
                yield from_code.table("rule", "frame and columns", "severity", "what a broken one says", "why")
                for rule in _call(rules):
                    columns = ", ".join(from_code.code(column) for column in rule.columns)
                    yield from_code.row(
                        from_code.code(rule.id),
                        f"{from_code.code(rule.frame)}: {columns}",
                        rule.severity,
                        rule.finding,
                        rule.why,
                    )
                yield ""


def _modules(package: types.ModuleType) -> list[types.ModuleType]:
    modules = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [importlib.import_module(module.name) for module in modules]


def _described(text: str) -> str:
    """A docstring as Markdown; what is indented or in columns stays as it is."""
    columns = re.compile(r"^\S+ {3,}\S|^ {2,}\S", re.MULTILINE)
    return "\n\n".join(f"```\n{block}\n```" if columns.search(block) else block for block in text.split("\n\n"))


def _schemas(module: types.ModuleType) -> dict[str, pa.Schema]:
    constants = {name: value for name, value in vars(module).items() if isinstance(value, pa.Schema)}
    functions = inspect.getmembers(module, inspect.isfunction)
    makers = {
        name: function
        for name, function in functions
        if name.endswith("schema") and function.__module__ == module.__name__
    }
    return constants | {f"{name}(…)": _call(maker) for name, maker in makers.items()}


def _call(function: Callable[..., Any]) -> Any:
    """Its result for the demo's recipe: every parameter is a setting of that recipe, by its name."""
    recipe = catalog.load("demo")
    known = {"classes": recipe.index.classes} | dict(recipe.contracts) | dict(recipe.preprocess)
    return function(**{name: known[name] for name in inspect.signature(function).parameters})


def _remark(source: str, column: str) -> str:
    """The comment in the line of a column's definition."""
    match = re.search(rf'pa\.field\("{re.escape(column)}".*?#\s*(.+)$', source, re.MULTILINE)
    return match[1] if match else ""


class Fields(from_code.Directive):
    """`{fields} fer.registry.manifest.Manifest`: the fields of a pydantic model."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        """A table."""
        module, _, name = self.arguments[0].rpartition(".")
        model = getattr(importlib.import_module(module), name)
        yield f"{_summary(model)}\n"
        yield from_code.table("field", "kind", "meaning")
        for field_name, field in model.model_fields.items():
            yield from_code.row(
                from_code.code(field_name), from_code.code(_annotation(field.annotation)), field.description or ""
            )


def _annotation(annotation: Any) -> str:
    return inspect.formatannotation(annotation).replace("typing.", "").replace("datetime.", "").replace("pydantic.", "")


class Api(from_code.Directive):
    """`.. api:: fer.engine`, on a page of reST: every module of a package, by autodoc."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        """One heading a module."""
        package = importlib.import_module(self.arguments[0])
        yield f"{(inspect.getdoc(package) or '').replace('`', '``')}\n"
        for module in _modules(package):
            if module.__name__.rpartition(".")[2].startswith("_"):
                continue
            yield f"{module.__name__}\n{'-' * len(module.__name__)}\n"
            yield f".. automodule:: {module.__name__}\n"


class Root(from_code.Directive):
    """`.. root-modules::`: the modules of `fer` that are in no package, by autodoc."""

    def lines(self) -> Iterator[str]:
        """One heading a module."""
        for module in pkgutil.iter_modules(fer.__path__, "fer."):
            if not module.ispkg:
                yield f"{module.name}\n{'-' * len(module.name)}\n"
                yield f".. automodule:: {module.name}\n"


class Tasks(from_code.Directive):
    """The flows and tasks of Prefect, with their parameters and docstrings."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        """One heading a module, one entry a flow or task."""
        for module in _modules(importlib.import_module(self.arguments[0])):
            members = [member for member in vars(module).values() if isinstance(member, Flow | Task)]
            members = [member for member in members if member.fn.__module__ == module.__name__]
            if not members:
                continue
            yield f"## `{module.__name__}`\n"
            yield f"{_described(inspect.getdoc(module) or '')}\n"
            for member in members:
                parameters = ", ".join(inspect.signature(member.fn).parameters)
                text = (inspect.getdoc(member.fn) or "").replace("\n", "\n  ")
                yield f"`{member.fn.__name__}({parameters})`\n: {text}\n"


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    directives = {
        "fer-commands": commands.Commands,
        "fer-environment": EnvironmentVariables,
        "fer-limits": Limits,
        "recipe-settings": RecipeSettings,
        "named-recipes": Recipes,
        "error-tree": ErrorTree,
        "data-contracts": Contracts,
        "fields": Fields,
        "api": Api,
        "root-modules": Root,
        "prefect-tasks": Tasks,
    }
    for name, directive in directives.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
