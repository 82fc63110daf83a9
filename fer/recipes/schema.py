"""A recipe: every choice of a retraining run, typed and frozen, one section a stage."""

import difflib
import functools
import hashlib
import json
import operator
import types
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from fer import errors, plain_text
from fer.curation import baseline
from fer.curation.curate import CurateConfig
from fer.curation.drift import DriftConfig
from fer.curation.inspect import InspectConfig
from fer.curation.split import SplitConfig
from fer.curation.validate import ValidateConfig
from fer.evaluation.gate import GateConfig
from fer.ingest import sources
from fer.ingest.demo.archive import DemoConfig
from fer.ingest.index import IndexConfig
from fer.registry import names
from fer.shards.balance import BalanceConfig
from fer.shards.preprocessing import PreprocessConfig
from fer.training import hardware
from fer.training.config import TrainConfig


class Recipe(BaseModel):
    """What to do with a source, from its files to a release. Hand a stage its own section, never the whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    model_name: names.Name = Field(description="the name in the model registry that versions are filed under")
    made_for: tuple[str, ...] = Field(
        default=(),
        description="the sources, as `baseline.families` has them, whose models bear `model_name`; none: of any source",
    )
    demo: DemoConfig = Field(default=DemoConfig(), description="the synthetic source `demo`")
    index: IndexConfig
    contracts: ValidateConfig = ValidateConfig()
    inspect: InspectConfig = InspectConfig()
    curate: CurateConfig = CurateConfig()
    split: SplitConfig = SplitConfig()
    drift: DriftConfig = DriftConfig()
    preprocess: PreprocessConfig
    balance: BalanceConfig
    train: TrainConfig
    gate: GateConfig
    search: dict[str, str] = Field(
        default={}, description="what `fer sweep` tries: setting -> LOW..HIGH, LOW..HIGH log or A|B|C"
    )

    def with_settings(self, settings: "RecipeSettings | None", model_name: str | None = None) -> Self:
        """This recipe with what is not None in place of its own. Raises ConfigError."""
        named = {} if model_name is None else {"model_name": model_name}
        try:
            return self.model_validate(_with(self, settings) | named)
        except ValidationError as error:
            raise _config_error(error) from error

    def resolved(self) -> Self:
        """This recipe with what `auto` stands for on this machine in its place; see `fer.training.hardware.resolve`."""
        return self.model_copy(update={"train": hardware.resolve(self.train)})


def model_name(plan: Recipe, given_sources: Sequence[str], given: str | None = None) -> str:
    """What versions of a recipe's models of these sources are filed under; `given` by the user, it is that.

    Of other sources than a recipe is made for, its name would put models of two datasets in one line, in which the one
    is no match for the other: they are filed under the sources' names and the recipe's.
    Raises ConfigError, SourceError for what is no source.
    """
    if given is not None:
        return given
    if not plan.made_for or set(baseline.families(given_sources)) <= set(plan.made_for):
        return plan.model_name
    slugs = sorted({sources.slug(sources.parse(each)) for each in given_sources})
    head, tail = "-".join(slugs), f"-{plan.model_name}"
    if len(head) + len(tail) > names.LONGEST_NAME:
        exact = f"-{hashlib.sha256(head.encode()).hexdigest()[:8]}"
        head = head[: names.LONGEST_NAME - len(exact) - len(tail)].rstrip("-") + exact
    return head + tail


def _optional(config: Any) -> Any:
    """`config`, a model class or several told apart by their name, with every field optional, at every depth."""
    kinds = _kinds(config)
    fields: dict[str, Any] = {}
    for name in dict.fromkeys(name for kind in kinds for name in kind.model_fields):
        found = [kind.model_fields[name] for kind in kinds if name in kind.model_fields]
        texts = dict.fromkeys(each.description for each in found if each.description)
        annotation = _any_of([each.annotation for each in found])
        fields[name] = (annotation | None, Field(default=None, description="; ".join(texts)))
    return create_model(f"{kinds[0].__name__}Settings", __config__=ConfigDict(frozen=True, extra="forbid"), **fields)


def _any_of(annotations: Sequence[Any]) -> Any:
    """A value of one of these, optional at every depth; of several names one, for an error that lists them."""
    if all(get_origin(each) is Literal for each in annotations):
        return Literal[tuple(name for each in annotations for name in get_args(each))]
    return functools.reduce(operator.or_, [_optional(each) if _kinds(each) else each for each in annotations])


def _kinds(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The model classes that a field holds one of; none for another field."""
    found = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return found if all(isinstance(each, type) and issubclass(each, BaseModel) for each in found) else ()


_sections: dict[str, Any] = {
    name: (_optional(field.annotation) | None, Field(default=None, description=field.description))
    for name, field in Recipe.model_fields.items()
    if _kinds(field.annotation)
}
_AnySettings: Any = create_model("_AnySettings", __config__=ConfigDict(frozen=True, extra="forbid"), **_sections)


class RecipeSettings(_AnySettings):
    """Settings in place of the recipe's own; empty fields keep the recipe's.

    It is made from the recipe's sections, so that the command line, the Prefect form and the recipe can't come apart.
    """


def parse_settings(assignments: Sequence[str]) -> RecipeSettings:
    """Make RecipeSettings of `section.field=value` texts; a value is read as JSON, or else as it stands.

    Raises ConfigError for an unknown section or field, or a value that is null or of the wrong type.
    """
    nested: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        *sections, field = path.strip().split(".")
        if not equals or not sections or not field:
            raise errors.ConfigError(
                "A setting must have the form section.field=value.",
                received=repr(assignment),
                todo="for example --set train.epochs=5",
            )
        level = nested
        for section in sections:
            deeper = level.setdefault(section, {})
            if not isinstance(deeper, dict):
                raise errors.ConfigError(
                    "A setting must be given as a whole or field by field, not both.",
                    received=repr(assignment),
                    todo=f"leave out the one or the other of {section}",
                )
            level = deeper
        level[field] = plain_text.parse_value(value)
        if level[field] is None:
            raise errors.ConfigError(
                "A setting must have a value: what is left out keeps the recipe's own.",
                received=repr(assignment),
                todo="leave it out: --set replaces a value of the recipe and can't empty it",
            )
    try:
        return RecipeSettings.model_validate(nested)
    except ValidationError as error:
        raise _config_error(error) from error


def assignments(plan: Recipe, of: Recipe) -> list[str]:
    """The settings that make `plan` of the recipe `of`, as `parse_settings` takes them."""
    return [line for name in _sections for line in _differing(name, getattr(plan, name), getattr(of, name))]


class Described(NamedTuple):
    """A setting of a recipe, its value as `--set` takes it (None: empty) and what it means."""

    path: str
    value: str | None
    meaning: str


def described(plan: Recipe) -> list[Described]:
    """Every setting of the recipe, in the order of its sections."""
    return list(_described(plan, RecipeSettings))


def _described(config: BaseModel, of: type[BaseModel], before: str = "") -> Iterator[Described]:
    for name, field in of.model_fields.items():
        if name not in type(config).model_fields:  # of another model
            continue
        value, within = getattr(config, name), _within(field)
        if within is not None:
            yield from _described(value, within, f"{before}{name}.")
            continue
        choices = [
            f"one of {', '.join(map(str, get_args(each)))}" for each in _parts(field) if get_origin(each) is Literal
        ]
        own = type(config).model_fields[name].description
        text = None if value is None else json.dumps(to_jsonable_python(value), ensure_ascii=False)
        yield Described(f"{before}{name}", text, "; ".join(([own] if own else []) + choices))


def _within(field: FieldInfo) -> type[BaseModel] | None:
    """The settings that a field of settings holds, None for one that holds a value."""
    return next((each for each in _parts(field) if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _parts(field: FieldInfo) -> tuple[Any, ...]:
    """What an optional field may be."""
    return get_args(field.annotation)


def _differing(path: str, new: Any, old: Any) -> list[str]:
    if not isinstance(new, BaseModel) or not isinstance(old, BaseModel):
        return [] if new == old else [f"{path}={json.dumps(to_jsonable_python(new), ensure_ascii=False)}"]
    kind = []
    if type(new) is not type(old):  # `with_settings` begins with the defaults of the new kind
        kind, old = [f"{path}.name={json.dumps(dict(new)['name'])}"], type(new)()
    return kind + [line for name, each in new for line in _differing(f"{path}.{name}", each, getattr(old, name))]


def _with(config: BaseModel, settings: BaseModel | None) -> dict[str, Any]:
    """The config's values, with those settings that are not None in their place, at every depth.

    A setting that no such config has is kept, for the error that it is.
    """
    given = {} if settings is None else {name: each for name, each in settings if each is not None}
    old = dict(config)
    if given.get("name", old.get("name")) != old.get("name"):
        old = {}  # of another kind, with fields and defaults of its own
    values: dict[str, Any] = {}
    for name in dict.fromkeys([*old, *given]):
        new = given.get(name)
        if isinstance(old.get(name), BaseModel):
            values[name] = _with(old[name], new)
        else:
            values[name] = old.get(name) if new is None else new
    return values


def _config_error(error: ValidationError) -> errors.ConfigError:
    first = error.errors()[0]
    parts, within = _place([str(part) for part in first["loc"]])
    place = ".".join(parts)
    if first["type"] == "extra_forbidden":
        known = dict.fromkeys(name for kind in within for name in (_sections if kind is Recipe else kind.model_fields))
        near = difflib.get_close_matches(parts[-1], known)
        names = " or ".join(".".join([*parts[:-1], each]) for each in near)
        return errors.ConfigError(
            "A setting must be one that the recipe has.",
            received=f"{place}={first['input']!r}",
            todo=f"take {names}" if near else f"take one of {', '.join(known)}",
        )
    return errors.ConfigError(
        f"The setting {place} must be valid: {first['msg']}.",
        received=repr(first["input"]),
        todo="see `fer recipes show NAME` for the fields and their values",
    )


def _place(loc: Sequence[str]) -> tuple[list[str], tuple[type[BaseModel], ...]]:
    """A setting's path of where pydantic met an error, and the model classes that the setting is of.

    Pydantic names which of several kinds it tried between a field and what is in it.
    """
    path: list[str] = []
    within: tuple[type[BaseModel], ...] = (Recipe,)
    inner: tuple[type[BaseModel], ...] = (Recipe,)
    for part in loc:
        tried = [kind for kind in inner if "name" in kind.model_fields and kind.model_fields["name"].default == part]
        if tried:
            inner = tuple(tried)
            continue
        path.append(part)
        within = inner
        fields = [kind.model_fields[part] for kind in inner if part in kind.model_fields]
        inner = tuple(kind for field in fields for kind in _kinds(field.annotation))
    return path, within
