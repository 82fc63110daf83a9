"""Settings in place of a recipe's own: as text (`--set train.epochs=5`), in Prefect's form, or in a recipe's file."""

import difflib
import functools
import json
import operator
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from fer import errors, plain_text
from fer.recipes.schema import Recipe


def _optional(config: Any, path: str) -> Any:
    """`config`, a model class or several told apart by their name, with every field optional, at every depth.

    `path` is where it is in the recipe.
    """
    kinds = _kinds(config)
    fields: dict[str, Any] = {}
    for name in dict.fromkeys(name for kind in kinds for name in kind.model_fields):
        same_name = [kind.model_fields[name] for kind in kinds if name in kind.model_fields]
        descriptions = dict.fromkeys(field.description for field in same_name if field.description)
        annotation = _any_of([field.annotation for field in same_name], f"{path}.{name}")
        fields[name] = (annotation | None, Field(default=None, title=name, description="; ".join(descriptions)))
    title = f"settings of {path}" if len(kinds) == 1 else f"settings of {path}, of any kind"
    own = ConfigDict(frozen=True, extra="forbid", title=title, json_schema_extra=functools.partial(_tell_values, path))
    return create_model(f"{kinds[0].__name__}Settings", __config__=own, **fields)


def _tell_values(path: str, schema: dict[str, Any]) -> None:
    """Add to what Prefect's form says of each setting the values that it has in the named recipes."""
    for name, shown in schema.get("properties", {}).items():
        values = _values_in_recipes().get(f"{path}.{name}")
        if values:
            told = "; ".join(f"`{value}` ({', '.join(recipes)})" for value, recipes in values.items())
            before = shown.get("description", "")
            shown["description"] = f"{before}{'. ' if before else ''}In the recipes: {told}"


@functools.cache
def _values_in_recipes() -> dict[str, dict[str, list[str]]]:
    """The path of a setting -> its value -> the named recipes that have it."""
    from fer.recipes import catalog

    by_path: dict[str, dict[str, list[str]]] = {}
    for name in catalog.NAMES:
        for setting in list_settings(catalog.load(name)):
            value = "empty" if setting.value is None else setting.value
            by_path.setdefault(setting.path, {}).setdefault(value, []).append(name)
    return {
        path: {value: ["all"] if len(values) == 1 and len(names) > 1 else names for value, names in values.items()}
        for path, values in by_path.items()
    }


def _any_of(annotations: Sequence[Any], path: str) -> Any:
    """A value of one of these, optional at every depth; of several names one, for an error that lists them."""
    if all(get_origin(annotation) is Literal for annotation in annotations):
        return Literal[tuple(name for annotation in annotations for name in get_args(annotation))]
    optional = [_optional(annotation, path) if _kinds(annotation) else annotation for annotation in annotations]
    return functools.reduce(operator.or_, optional)


def _kinds(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The model classes that a field holds one of; none for another field."""
    options = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return options if all(isinstance(option, type) and issubclass(option, BaseModel) for option in options) else ()


def _first_sentence(config: Any) -> str:
    """Of the docstring of a section's class."""
    return (config.__doc__ or "").split("\n", 1)[0]


_sections: dict[str, Any] = {
    name: (
        _optional(field.annotation, name) | None,
        Field(default=None, title=name, description=field.description or _first_sentence(field.annotation)),
    )
    for name, field in Recipe.model_fields.items()
    if _kinds(field.annotation)
}
_AnySettings: Any = create_model("_AnySettings", __config__=ConfigDict(frozen=True, extra="forbid"), **_sections)


class RecipeSettings(_AnySettings):
    """Settings in place of the recipe's own; empty fields keep the recipe's.

    It is made from the recipe's sections, so that the command line, the Prefect form and the recipe can't come apart.
    """


SECTIONS = tuple(_sections)


def apply(recipe: Recipe, settings: RecipeSettings | None, model_name: str | None = None) -> Recipe:
    """The recipe with those settings that are not None in place of its own. Raises ConfigError."""
    return replace(recipe, settings, {} if model_name is None else {"model_name": model_name})


def replace(recipe: Recipe, settings: RecipeSettings | None, fields: Mapping[str, Any]) -> Recipe:
    """The recipe with these settings, and these of its fields that are no section. Raises ConfigError."""
    try:
        return Recipe.model_validate(_with(recipe, settings) | dict(fields))
    except ValidationError as error:
        raise config_error(error) from error


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
        level[field] = _value(value, [*sections, field])
        if level[field] is None:
            raise errors.ConfigError(
                "A setting must have a value: what is left out keeps the recipe's own.",
                received=repr(assignment),
                todo="leave it out: --set replaces a value of the recipe and can't empty it",
            )
    return parse_document(nested)


def _value(text: str, path: Sequence[str]) -> Any:
    """A setting's value: JSON, for a list or mapping also without inner quotes (`[happy,sad]`), or as it stands."""
    value = plain_text.parse_value(text)
    if not isinstance(value, str) or not _holds_several(RecipeSettings, path):
        return value
    try:
        loaded = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - it makes only texts, lists and mappings
    except (yaml.YAMLError, RecursionError):
        return value
    return loaded if isinstance(loaded, list | dict) else value


def _holds_several(settings_class: type[BaseModel], path: Sequence[str]) -> bool:
    """Whether the setting at `path` is a list or a mapping."""
    field = settings_class.model_fields.get(path[0])
    if field is None:
        return False
    nested = _nested(field)
    if nested is not None:
        return len(path) > 1 and _holds_several(nested, path[1:])
    return len(path) == 1 and any(get_origin(option) in (tuple, list, dict) for option in _options(field))


def parse_document(sections: Mapping[str, Any]) -> RecipeSettings:
    """Make RecipeSettings of section -> field -> value. Raises ConfigError as `parse_settings` does."""
    try:
        return RecipeSettings.model_validate(sections)
    except ValidationError as error:
        raise config_error(error) from error


def assignments(recipe: Recipe, base: Recipe) -> list[str]:
    """The settings that make `recipe` of the recipe `base`, as `parse_settings` takes them."""
    return [line for name in SECTIONS for line in _differing(name, getattr(recipe, name), getattr(base, name))]


class Setting(NamedTuple):
    """A setting of a recipe, its value as `--set` takes it (None: empty) and what it means."""

    path: str
    value: str | None
    meaning: str


def list_settings(recipe: Recipe) -> list[Setting]:
    """Every setting of the recipe, in the order of its sections."""
    return list(_listed(recipe, RecipeSettings))


def _listed(config: BaseModel, settings_class: type[BaseModel], before: str = "") -> Iterator[Setting]:
    for name, field in settings_class.model_fields.items():
        if name not in type(config).model_fields:  # of another model
            continue
        value, nested = getattr(config, name), _nested(field)
        if nested is not None:
            yield from _listed(value, nested, f"{before}{name}.")
            continue
        choices = [
            f"one of {', '.join(map(str, get_args(option)))}"
            for option in _options(field)
            if get_origin(option) is Literal
        ]
        description = type(config).model_fields[name].description
        text = None if value is None else json.dumps(to_jsonable_python(value), ensure_ascii=False)
        yield Setting(f"{before}{name}", text, "; ".join(([description] if description else []) + choices))


def _nested(field: FieldInfo) -> type[BaseModel] | None:
    """The settings that a field of settings holds, None for one that holds a value."""
    classes = (option for option in _options(field) if isinstance(option, type) and issubclass(option, BaseModel))
    return next(classes, None)


def _options(field: FieldInfo) -> tuple[Any, ...]:
    """What an optional field may be."""
    return get_args(field.annotation)


def _differing(path: str, new: Any, old: Any) -> list[str]:
    if not isinstance(new, BaseModel) or not isinstance(old, BaseModel):
        return [] if new == old else [f"{path}={json.dumps(to_jsonable_python(new), ensure_ascii=False)}"]
    kind = []
    if type(new) is not type(old):  # `apply` begins with the defaults of the new kind
        kind, old = [f"{path}.name={json.dumps(dict(new)['name'])}"], type(new)()
    lines = (line for name, value in new for line in _differing(f"{path}.{name}", value, getattr(old, name)))
    return [*kind, *lines]


def _with(config: BaseModel, settings: BaseModel | None) -> dict[str, Any]:
    """The config's values, with those settings that are not None in their place, at every depth.

    A setting that no such config has is kept, for the error that it is.
    """
    set_values = {} if settings is None else {name: value for name, value in settings if value is not None}
    old = dict(config)
    if set_values.get("name", old.get("name")) != old.get("name"):
        old = {}  # of another kind, with fields and defaults of its own
    values: dict[str, Any] = {}
    for name in dict.fromkeys([*old, *set_values]):
        new = set_values.get(name)
        if isinstance(old.get(name), BaseModel):
            values[name] = _with(old[name], new)
        else:
            values[name] = old.get(name) if new is None else new
    return values


def config_error(error: ValidationError) -> errors.ConfigError:
    """What pydantic says of a recipe or settings, as a ConfigError that names the first wrong setting."""
    first = error.errors()[0]
    parts, classes = _place([str(part) for part in first["loc"]])
    place = ".".join(parts)
    if first["type"] == "extra_forbidden":
        known = dict.fromkeys(
            name for config in classes for name in (SECTIONS if config is Recipe else config.model_fields)
        )
        near = difflib.get_close_matches(parts[-1], known)
        suggestions = " or ".join(".".join([*parts[:-1], name]) for name in near)
        return errors.ConfigError(
            "A setting must be one that the recipe has.",
            received=f"{place}={_shown(first['input'])}",
            todo=f"take {suggestions}" if near else f"take one of {', '.join(known)}",
        )
    if first["type"] == "missing":
        return errors.ConfigError(f"A recipe must have the setting {place}.", received="none", todo=_SHOW)
    return errors.ConfigError(
        f"The setting {place} must be valid: {first['msg']}.", received=_shown(first["input"]), todo=_SHOW
    )


def _shown(value: object) -> str:
    """A value as it was given, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


_SHOWN_CHARACTERS = 200
_SHOW = "see `fer recipes show NAME` for the fields and their values"


def _place(loc: Sequence[str]) -> tuple[list[str], tuple[type[BaseModel], ...]]:
    """A setting's path of where pydantic met an error, and the model classes that the setting is of.

    Pydantic names which of several kinds it tried between a field and what is in it.
    """
    path: list[str] = []
    classes: tuple[type[BaseModel], ...] = (Recipe,)
    kinds: tuple[type[BaseModel], ...] = (Recipe,)
    for part in loc:
        tried = [kind for kind in kinds if "name" in kind.model_fields and kind.model_fields["name"].default == part]
        if tried:
            kinds = tuple(tried)
            continue
        path.append(part)
        classes = kinds
        fields = [kind.model_fields[part] for kind in kinds if part in kind.model_fields]
        kinds = tuple(kind for field in fields for kind in _kinds(field.annotation))
    return path, classes
