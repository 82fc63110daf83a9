"""The named recipes: one module each, whose docstring states its command, duration and expected result."""

import importlib
from types import ModuleType
from typing import Literal, get_args

from fer import errors
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


def load(name: str) -> Recipe:
    """The recipe of this name. Raises ConfigError for an unknown one."""
    recipe: Recipe = _module(name).RECIPE
    return recipe


def about(name: str) -> str:
    """What the recipe says about itself: its command, its duration on 2 cores, its expected result."""
    return (_module(name).__doc__ or "").strip()


def _module(name: str) -> ModuleType:
    if name not in NAMES:
        raise errors.ConfigError(
            "The recipe must be known.", received=repr(name), todo=f"take one of {', '.join(NAMES)}"
        )
    return importlib.import_module(f"fer.recipes.{name.replace('-', '_')}")
