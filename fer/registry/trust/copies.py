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
from fer.registry.trust import openssf, verifying
from fer.registry.trust import releases as signed_releases


def pull(models: registry.Registry, manifest: Manifest, folder: Path, progress: Progress = silent) -> list[Path]:
    """Bring a version to a new or empty folder, which appears by one rename once all of it is verified; its files.

    Beside the version's files lie its manifest, byte by byte, its bill of materials, and the folder `signatures` with
    `signature-KEY.json` and `openssf.KEY.json`. Raises ConfigError if there is something at `folder`, or a file of the
    version has the name of one of these; IntegrityError, StoreError, WorkspaceError.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.ConfigError(
            "A copy of a release must go to a folder that is new or empty.",
            received=str(folder),
            todo="name another one; two releases in one folder would be mixed",
        )
    models.require_trusted(manifest)
    documents = signed_releases.found(models.store, manifest) | openssf.found(models.store, manifest)
    beside = verifying.beside(models, manifest) | _in_folder(documents)
    with disk.workspace_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{disk.UNFINISHED}")
        try:
            aside.mkdir()
            models.fetch(manifest, aside, progress)
            for name, data in beside.items():
                (aside / name).parent.mkdir(exist_ok=True)
                (aside / name).write_bytes(data)
            for path in _files(aside):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            aside.replace(folder)  # of an empty folder as well
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return _files(folder)


def proof(models: registry.Registry, manifest: Manifest) -> dict[str, bytes]:
    """What proves a version's files where there is no registry, the name of the file -> its bytes; empty if nobody
    signed it. Raises IntegrityError."""
    documents = signed_releases.found(models.store, manifest)
    return verifying.beside(models, manifest) | _in_folder(documents) if documents else {}


def _in_folder(documents: dict[str, bytes]) -> dict[str, bytes]:
    """Where signatures, by the name of the object, lie in a copy."""
    return {f"{signed_releases.FOLDER}/{name.removeprefix('.')}": data for name, data in documents.items()}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
