"""Versions whose files are removed: an entry of the log says so first, so that none of them becomes champion.

What was learned and tested by stays, which tells who knew an image, and how worn a test set is.
"""

from collections.abc import Callable
from pathlib import Path

from data_contracts import files
from fer import errors
from fer.engine.store import objectstore
from fer.registry import log as registry_log
from fer.registry.log import Act, Log
from fer.registry.manifest import File, Manifest

STAYS = frozenset({files.TRAINED_ON, files.TESTED_ON})


def require_files(log: Log, version: int | None, must_hold: str = "A version must have its files to be used.") -> None:
    """Raise ConfigError if the files of a version are removed."""
    cleared = None if version is None else log.cleared.get(version)
    if cleared is not None:
        raise errors.ConfigError(
            must_hold,
            received=registry_log.describe(cleared),
            todo="use another version: fer models list; or restore the registry from a backup into an empty bucket",
        )


def download(store: objectstore.ObjectStore, file: File, path: Path, version: int, log: Callable[[], Log]) -> None:
    """Download a file of a version. Raises ConfigError if the `log` says that it was removed, IntegrityError."""
    try:
        store.download_file(file.key, path, file.sha256)
    except errors.IntegrityError:
        require_files(log(), version)
        raise


def keys(manifest: Manifest) -> list[str]:
    """The keys of the files that go with a version."""
    return [file.key for name, file in manifest.files.items() if name not in STAYS]


def act(manifest: Manifest, champion: int | None, reason: str, by: str | None = None) -> Act:
    """The entry by which a version's files go."""
    return Act(
        action="clear",
        by=by or registry_log.operator(),
        version=manifest.version,
        model_digest=manifest.model_digest,
        from_version=champion,
        to_version=champion,
        reason=reason,
    )


def remove(store: objectstore.ObjectStore, manifest: Manifest, log: Callable[[], Log]) -> None:
    """Remove the files of a version of which the log says so. Raises ValueError where it does not."""
    if manifest.version not in log().cleared:
        raise ValueError(f"The log must say that {manifest.name}@{manifest.version} is cleared. It does not.")
    for key in keys(manifest):
        store.delete(key)
