"""A copy of a release in a folder, for what knows no registry: whole and verified, or not there."""

import os
import shutil
import uuid
from pathlib import Path

from fer import errors
from fer.engine import disk
from fer.progress import Progress, silent
from fer.registry import registry
from fer.registry.manifest import Manifest
from fer.registry.trust import releases as signed_releases
from fer.registry.trust import verifying
from fer.registry.trust.verifying import BILL, MANIFEST


def pull(models: registry.Registry, manifest: Manifest, folder: Path, progress: Progress = silent) -> list[Path]:
    """Bring a version to a new or empty folder, which appears by one rename once all of it is verified; its files.

    Beside the version's files lie its manifest, byte by byte, its signatures (`signature-KEY.json`) and its bill of
    materials. Raises ConfigError if there is something at `folder`, or a file of the version has the name of one of
    these; IntegrityError, StoreError, WorkspaceError.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.ConfigError(
            "A copy of a release must go to a folder that is new or empty.",
            received=str(folder),
            todo="name another one; two releases in one folder would be mixed",
        )
    models.require_trusted(manifest)
    beside = _beside(models, manifest, signed_releases.found(models.store, manifest))
    if taken := beside.keys() & manifest.files.keys():
        raise errors.ConfigError(
            "A version's files must have other names than what is laid beside them.", received=", ".join(sorted(taken))
        )
    with disk.workspace_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{disk.UNFINISHED}")
        try:
            aside.mkdir()
            models.fetch(manifest, aside, progress)
            for name, data in beside.items():
                (aside / name).write_bytes(data)
            for path in sorted(aside.iterdir()):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            aside.replace(folder)  # of an empty folder as well
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return sorted(folder.iterdir())


def proof(models: registry.Registry, manifest: Manifest) -> dict[str, bytes]:
    """What proves a version's files where there is no registry, the name of the file -> its bytes; empty if nobody
    signed it. Raises IntegrityError."""
    documents = signed_releases.found(models.store, manifest)
    return _beside(models, manifest, documents) if documents else {}


def _beside(models: registry.Registry, manifest: Manifest, documents: dict[str, bytes]) -> dict[str, bytes]:
    """The files that lie beside those of a version; `documents` are its signatures."""
    beside = {MANIFEST: signed_releases.manifest_bytes(models.store, manifest)}
    listed = verifying.bill(models, manifest)
    beside |= {} if listed is None else {BILL: listed}
    return beside | {name.removeprefix("."): data for name, data in documents.items()}
