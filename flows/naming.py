"""The names of runs, by which they can be told apart in a list."""

import hashlib
from collections.abc import Mapping
from typing import Any

from prefect import runtime

from fer import errors, plain_text
from fer.ingest.download import ResolvedSource
from fer.recipes import catalog, overrides
from tasks.planning import walks
from tasks.runs import outcomes

_SETTINGS_SHOWN = 4
_DIGITS = 8  # of a digest


def run_name(versions: Mapping[str, str] | None = None) -> str:
    """Of this run: the recipe, the sources, the model's name, the candidates, and what was set.

    `versions`: source -> what it stands for now.
    """
    parameters: dict[str, Any] = runtime.flow_run.parameters
    sources = ", ".join((versions or {}).get(source, source) for source in parameters["sources"])
    parts = [f"{parameters['recipe']} from {sources}"]
    if parameters.get("model_name"):
        parts.append(f"as {parameters['model_name']}")
    if parameters.get("model"):
        parts.append(f"on {parameters['model'].rpartition('/')[2]}")
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
    """Rename this run once it is known what its sources stand for: source as the user named it -> that.

    One that is not named after its recipe and sources keeps its name.
    """
    if walks.current() is not None or "recipe" not in runtime.flow_run.parameters:
        return
    outcomes.rename(run_name({source: _version(source, version) for source, version in resolved.items()}))


def _version(source: str, resolved: ResolvedSource) -> str:
    kind, _, identity = resolved.identity.partition(":")
    if kind == "kaggle":
        return resolved.identity
    return source if kind == "demo" else f"{source}@{identity.removeprefix('sha256:')[:_DIGITS]}"


def _settings(parameters: Mapping[str, Any]) -> list[str]:
    """What differs from the recipe, seeds first, then the shortest.

    None where the flow is about to refuse its parameters.
    """
    chosen = parameters.get("settings")
    try:
        settings = overrides.RecipeSettings.model_validate(chosen) if chosen is not None else None
        base = catalog.load(parameters["recipe"])
        assignments = overrides.assignments(overrides.apply(base, settings), base)
    except (ValueError, errors.ConfigError):
        return []
    return sorted(assignments, key=lambda text: (not text.partition("=")[0].endswith(".seed"), len(text), text))
