"""The registry that the settings name, and a release of it on this machine."""

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer import errors, settings
from fer.engine import connect
from fer.registry import log as registry_log
from fer.registry import names, registry
from fer.registry.manifest import Manifest
from fer.registry.trust import policy


@contextlib.contextmanager
def open_registry(*, unsigned: bool = False) -> Iterator[registry.Registry]:
    """The registry in the store that the settings name, signed as they demand.

    `unsigned`: to be looked at and repaired, not used, whatever is signed in it; what is written is signed if there is
    a key. Raises StoreError if it can't be reached, ConfigError.
    """
    configured = settings.Settings.load()
    demands = policy.without_demands(configured) if unsigned else policy.of(configured)
    with connect.store(configured) as store:
        yield registry.Registry(store, demands)


@contextlib.contextmanager
def local_copy(spec: str | None) -> Iterator[tuple[Manifest, Path]]:
    """A released model's files on this machine, every one verified against the manifest before it is used.

    `spec` is NAME, NAME@ALIAS or NAME@VERSION; None means the champion of the only name there is.
    Raises ConfigError, StoreError, IntegrityError.
    """
    with open_registry() as models:
        yield fetched(models, spec)


def fetched(models: registry.Registry, spec: str | None) -> tuple[Manifest, Path]:
    """The same, from a registry that is open."""
    manifest = _named(models, spec)
    folder = settings.Settings.load().home / "models" / manifest.name / str(manifest.version)
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)  # what has not been used for long may be removed
    return manifest, models.fetch(manifest, folder)


def manifest_of(spec: str | None) -> Manifest:
    """What is said of a released model, of which nothing is fetched; `spec` and errors as of `local_copy`."""
    with open_registry() as models:
        return _named(models, spec)


def withdrawal(manifest: Manifest) -> str:
    """A sentence on the version's withdrawal; empty if it was not withdrawn."""
    with open_registry() as models:
        return withdrawal_in(models, manifest)


def withdrawal_in(models: registry.Registry, manifest: Manifest) -> str:
    """The same, from a registry that is open."""
    log = registry_log.Log(models.ledger(manifest.name).entries())  # whatever became of the alias
    entry = log.withdrawn.get(manifest.version)
    return "" if entry is None else registry_log.describe(entry)


def anchor_of(versions: Sequence[Manifest], champion: Manifest, log: registry_log.Log) -> Manifest | None:
    """The release with the highest lower bound of its accuracy, the older one of two; None if the champion has it.

    Those that were rolled back or withdrawn don't count.
    """

    def bound(manifest: Manifest) -> float:
        interval = manifest.metrics.get("accuracy_interval")
        return float(interval[0]) if interval else -math.inf

    championed = {entry.to_version for entry in log.entries}
    standing = [
        manifest
        for manifest in versions
        if manifest.version in championed and log.bar(manifest.version, manifest.model_digest) is None
    ]
    best = max(standing, key=bound, default=champion)
    return best if bound(best) > bound(champion) and best.model_digest != champion.model_digest else None


def require_trusted(manifest: Manifest) -> None:
    """Raise IntegrityError if a version is not signed as the settings demand."""
    with open_registry() as models:
        models.require_trusted(manifest)


def _named(models: registry.Registry, spec: str | None) -> Manifest:
    manifest = models.get(*(names.parse_spec(spec) if spec else names.Spec(_only_name(models), names.CHAMPION)))
    models.require_trusted(manifest)
    return manifest


def _only_name(models: registry.Registry) -> str:
    model_names = models.names()
    if len(model_names) != 1:
        raise errors.ConfigError(
            "Without --model the registry must hold one model.",
            received=", ".join(model_names) or "an empty registry",
            todo="name one: --model NAME@champion" if model_names else "make one: fer retrain",
        )
    return model_names[0]
