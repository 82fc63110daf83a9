"""The named recipes, a module each, whose docstring states its command, duration and expected result; and files."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal, get_args

from pydantic import Field

from fer import errors
from fer.recipes import files
from fer.recipes.schema import Recipe

Name = Literal[
    "demo",
    "fer2013-cnn",
    "fer2013-mini-xception",
    "fer2013-se-resnet",
    "report-2024",
    "report-2024-mobilenet",
    "report-2024-se-resnet",
]
NAMES: tuple[str, ...] = get_args(Name)
Choice = (
    Annotated[Name, Field(title="a named recipe")]
    | Annotated[
        str,
        Field(pattern=r"\.toml$", title="a file of your own", description="a file, relative to the working directory"),
    ]
)
"""A named recipe, or the path of a file of one's own."""


def load(recipe: str) -> Recipe:
    """The recipe of this name, or in this file. Raises ConfigError for an unknown name and a file that is not valid."""
    if not files.is_file(recipe):
        named: Recipe = _module(recipe).RECIPE
        return named
    own = files.load(Path(recipe).expanduser(), load)
    if own.name in NAMES:
        raise errors.ConfigError(
            f"A recipe of one's own must have a name of its own: {recipe}.",
            received=f"{own.name}, which is one of the named recipes",
            todo='give it another: name = "…"',
        )
    return own


def about(recipe: str) -> str:
    """What the recipe says about itself: its command, its duration on 2 cores, its expected result."""
    if files.is_file(recipe):
        return files.about(Path(recipe).expanduser())
    return (_module(recipe).__doc__ or "").strip()


def _module(name: str) -> ModuleType:
    if name not in NAMES:
        raise errors.ConfigError(
            "The recipe must be known.",
            received=repr(name),
            todo=f"take one of {', '.join(NAMES)}, or the path of a file that ends in {files.SUFFIX}",
        )
    return importlib.import_module(f"fer.recipes.{name.replace('-', '_')}")
