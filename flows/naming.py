"""The names of runs, by which they can be told apart in a list."""

import hashlib
from collections.abc import Mapping
from typing import Any

from prefect import runtime

from fer import errors, plain_text
from fer.ingest.download import ResolvedSource
from fer.recipes import catalog, overrides
from tasks import outcomes

_SETTINGS_SHOWN = 4
_DIGITS = 8  # of a digest


def run_name(versions: Mapping[str, str] | None = None) -> str:
    """Of this run: the recipe, the sources, the model's name, the candidates, and what was set.

    `versions`: source -> what it stands for now.
    """
    parameters: dict[str, Any] = runtime.flow_run.parameters
    sources = ", ".join((versions or {}).get(each, each) for each in parameters["sources"])
    parts = [f"{parameters['recipe']} from {sources}"]
    if parameters.get("model_name"):
        parts.append(f"as {parameters['model_name']}")
    if parameters.get("candidates"):
        parts.append(f"of {', '.join(parameters['candidates'])}")
    settings = _settings(parameters)
    if settings:
        parts.append(f"with {' '.join(settings[:_SETTINGS_SHOWN])}")
    if more := settings[_SETTINGS_SHOWN:]:
        which = hashlib.sha256("\0".join(more).encode()).hexdigest()[:_DIGITS]
        parts.append(f"and {len(more)} more ({which})")
    return plain_text.visible(" ".join(parts))


def add_versions(resolved: Mapping[str, ResolvedSource]) -> None:
    """Rename this run once it is known what its sources stand for: source as it was given -> that."""
    outcomes.rename(run_name({source: _version(source, each) for source, each in resolved.items()}))


def _version(source: str, resolved: ResolvedSource) -> str:
    kind, _, identity = resolved.identity.partition(":")
    if kind == "kaggle":
        return resolved.identity
    return source if kind == "demo" else f"{source}@{identity.removeprefix('sha256:')[:_DIGITS]}"


def _settings(parameters: Mapping[str, Any]) -> list[str]:
    """What differs from the recipe, seeds first, then the shortest.

    None where the flow is about to refuse its parameters.
    """
    given = parameters.get("settings")
    try:
        settings = overrides.RecipeSettings.model_validate(given) if given is not None else None
        own = catalog.load(parameters["recipe"])
        found = overrides.assignments(overrides.apply(own, settings), own)
    except (ValueError, errors.ConfigError):
        return []
    return sorted(found, key=lambda each: (not each.partition("=")[0].endswith(".seed"), len(each), each))
