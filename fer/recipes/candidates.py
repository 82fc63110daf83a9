"""The candidates of a comparison: variants of one recipe, each with a name and settings of its own."""

import re
from collections.abc import Mapping, Sequence

from fer import errors
from fer.recipes import overrides
from fer.recipes.schema import Recipe

_OF_THE_DATA = ("demo", "index", "contracts", "inspect", "curate", "split", "drift")
_NEXT_SETTING = re.compile(r"\s+(?=[\w.]+=)")


def parse(texts: Sequence[str]) -> dict[str, list[str]]:
    """Read `NAME: SETTING=VALUE …` texts: name -> settings. Raises ConfigError.

    A setting ends where the next begins, so that a value may have blanks and quotes, as JSON has.
    """
    candidates: dict[str, list[str]] = {}
    for text in texts:
        name, colon, settings = text.partition(":")
        if not colon or name.strip() in candidates:
            raise errors.ConfigError(
                "A candidate must have the form 'NAME: SETTING=VALUE …', with a name of its own.",
                received=repr(text),
                todo="for example --candidate 'vgg: train.model.name=vgg'",
            )
        candidates[name.strip()] = [setting for setting in _NEXT_SETTING.split(settings.strip()) if setting]
    return candidates


def recipes(recipe: Recipe, candidates: Mapping[str, Sequence[str]]) -> dict[str, Recipe]:
    """The candidates' recipes by name: `recipe` with the settings of each candidate.

    Raises ConfigError if there is nothing to compare, a name is empty, a setting is wrong, or the data differ.
    """
    if not candidates:
        raise errors.ConfigError(
            "A comparison must have candidates.",
            received="none",
            todo="name some: --candidate 'vgg: train.model.name=vgg'",
        )
    variants = {}
    for name, settings in candidates.items():
        if not name or name != name.strip():
            raise errors.ConfigError(
                "A candidate must have a name, without blanks around it.",
                received=repr(name),
                todo="name each, as in 'vgg: train.model.name=vgg'",
            )
        variant = overrides.apply(recipe, overrides.parse_settings(settings))
        differing = next((part for part in _OF_THE_DATA if getattr(variant, part) != getattr(recipe, part)), None)
        if differing is not None:
            raise errors.ConfigError(
                "Candidates must be compared on the same data and splits.",
                received=f"another {differing} for {name}",
                todo=f"give settings of {differing} for all of them, by --set",
            )
        variants[name] = variant
    return variants
