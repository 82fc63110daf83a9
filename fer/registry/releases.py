"""The registry that the settings name, and a release of it on this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fer import errors, settings
from fer.engine import connect
from fer.registry import log as registry_log
from fer.registry import names, registry
from fer.registry.manifest import Manifest


@contextlib.contextmanager
def open_registry() -> Iterator[registry.Registry]:
    """The registry in the store that the settings name. Raises StoreError if it can't be reached."""
    with connect.store(settings.Settings.load()) as store:
        yield registry.Registry(store)


@contextlib.contextmanager
def local_copy(spec: str | None) -> Iterator[tuple[Manifest, Path]]:
    """A released model's files on this machine, every one verified against the manifest before it is used.

    `spec` is NAME, NAME@ALIAS or NAME@VERSION; None means the champion of the only name there is.
    Raises ConfigError, StoreError, IntegrityError.
    """
    with open_registry() as models:
        wanted = names.parse_spec(spec) if spec else names.Spec(_only_name(models), names.CHAMPION)
        manifest = models.get(*wanted)
        folder = settings.Settings.load().home / "models" / manifest.name / str(manifest.version)
        folder.mkdir(parents=True, exist_ok=True)
        yield manifest, models.fetch(manifest, folder)


def withdrawal(manifest: Manifest) -> str:
    """A sentence on the version's withdrawal; empty if it was not withdrawn."""
    with open_registry() as models:
        log = registry_log.Log(models.ledger(manifest.name).entries())  # whatever became of the alias
    entry = log.withdrawn.get(manifest.version)
    return "" if entry is None else registry_log.describe(entry)


def _only_name(models: registry.Registry) -> str:
    model_names = models.names()
    if len(model_names) != 1:
        raise errors.ConfigError(
            "Without --model the registry must hold one model.",
            received=", ".join(model_names) or "an empty registry",
            todo="name one: --model NAME@champion" if model_names else "make one: fer retrain",
        )
    return model_names[0]
