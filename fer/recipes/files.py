"""A recipe of one's own, in a TOML file: the sections and fields of the named ones, without a change of code.

    # What it is for, as `fer recipes show mine.toml` prints it.
    extends = "fer2013-cnn"  # a named recipe, or the path of another file from this one's folder
    name = "mine"            # the file's name by default
    model_name = "mine"      # in the registry; `name` by default

    [index]
    classes = ["happy", "sad", "surprise"]

    [train]
    epochs = 20
    model = { name = "vgg", dropout = 0.4 }

Values take the place of the extended recipe's, field by field; without `extends` the file has every section that has no
default. `made_for` and the two names are not extended.
"""

import difflib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fer import errors
from fer.recipes import overrides
from fer.recipes.schema import Recipe
from fer.registry import names

SUFFIX = ".toml"
_NO_SECTIONS = ("name", "model_name", "made_for", "search")  # fields of a recipe
_MOST_BYTES = 100_000  # the named recipes have 2 KB; of names within names tomllib takes a second for these


def is_file(recipe: str) -> bool:
    """Whether `recipe` is the path of a file, rather than a name."""
    return recipe.endswith(SUFFIX)


def load(path: Path, load_named: Callable[[str], Recipe], extended_by: tuple[Path, ...] = ()) -> Recipe:
    """The recipe in the file at `path`; `load_named` gives the recipe that a name in `extends` stands for.

    `extended_by`: the files that led here. Raises ConfigError, which names the file and the field.
    """
    if path.resolve() in extended_by:
        raise errors.ConfigError("A recipe must not extend itself.", received=path, todo="correct its `extends`")
    document = _parsed(_text(path), path)
    _require_known(document, path)
    extends = document.pop("extends", None)
    fields = {field: document.pop(field) for field in _NO_SECTIONS if field in document}
    fields.setdefault("name", re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-"))
    fields = {"model_name": fields["name"], "made_for": ()} | fields
    try:
        if extends is None:
            recipe = Recipe.model_validate(document | fields)
        else:
            base = _extended(extends, path, load_named, extended_by)
            recipe = overrides.replace(base, overrides.parse_document(document), fields)
    except ValidationError as error:
        raise _located(path, overrides.config_error(error)) from error
    except errors.ConfigError as error:
        raise _located(path, error) from error
    if re.fullmatch(names.NAME, recipe.name) is None:
        raise errors.ConfigError(
            f"{path}: name must match {names.NAME}.", received=repr(recipe.name), todo='give it one: name = "…"'
        )
    return recipe


def about(path: Path) -> str:
    """The comment that the file begins with, or its path if it begins with none. Raises ConfigError."""
    comment = []
    for line in _text(path).splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(comment).strip() or str(path)


def _extended(extends: Any, path: Path, load_named: Callable[[str], Recipe], extended_by: tuple[Path, ...]) -> Recipe:
    if not isinstance(extends, str):
        raise errors.ConfigError(
            "extends must be the name of a recipe or the path of a file.",
            received=repr(extends),
            todo='for example extends = "fer2013-cnn"',
        )
    if is_file(extends):
        return load(path.parent / Path(extends).expanduser(), load_named, (*extended_by, path.resolve()))
    return load_named(extends)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise errors.ConfigError(
                f"A recipe's file must have at most {_MOST_BYTES:,} bytes.",
                received=f"{path} with {path.stat().st_size:,}",
            )
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise errors.ConfigError(
            "A recipe's file must be there.",
            received=f"no file {path} in {Path.cwd()}",
            todo="correct the path, or take a name from `fer recipes list`",
        ) from None
    except OSError as error:
        raise errors.ConfigError(
            f"The operating system refused to read the recipe {path}: {error.strerror}."
        ) from error
    except UnicodeDecodeError as error:
        raise errors.ConfigError("A recipe's file must be text in UTF-8.", received=path) from error


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no TOML, or a number of thousands of digits
        raise errors.ConfigError(f"{path}: a recipe's file must be TOML: {error}.") from error


def _require_known(document: dict[str, Any], path: Path) -> None:
    known = ("extends", *_NO_SECTIONS, *overrides.SECTIONS)
    unknown = next((name for name in document if name not in known), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, known)
        raise errors.ConfigError(
            f"{path}: a recipe must have no other fields and sections than {', '.join(known)}.",
            received=unknown,
            todo=f"take {' or '.join(near)}" if near else None,
        )


def _located(path: Path, error: errors.ConfigError) -> errors.ConfigError:
    return errors.ConfigError(f"{path}: {error}")
