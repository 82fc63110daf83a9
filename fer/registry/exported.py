"""The exported files of a release, alone: what whoever serves it without this package needs."""

from pathlib import Path
from typing import NamedTuple

from fer import errors
from fer.engine import disk
from fer.exports import serving
from fer.registry import names, releases
from fer.registry.manifest import Manifest
from fer.registry.trust import copies


class Copied(NamedTuple):
    """The release, what its `serving.json` says, and the folder that the files are in."""

    manifest: Manifest
    serving: serving.Serving
    folder: Path


def copy(spec: str, into: Path | None) -> Copied:
    """Copy the exported files of the release `spec`, NAME@ALIAS or NAME@VERSION, into a folder, each verified.

    Of a signed release its manifest, signatures and bill of materials lie beside them, by which they can be verified.
    `into` None: a folder NAME-VERSION in the working directory. Raises ConfigError for a release without exports and
    for a folder that holds something else under their names, StoreError, IntegrityError.
    """
    with releases.open_registry() as models:
        manifest = models.get(*names.parse_spec(spec))
        wanted = {name: file for name, file in manifest.files.items() if name in serving.FILES}
        if serving.FILE not in wanted:
            raise errors.ConfigError(
                "A release must hold exported files to be copied.",
                received=f"none in {manifest.name}@{manifest.version}: it is from before there were any, or its recipe "
                "has export.formats=[]",
                todo="retrain; or use Keras' own file: fer models list says where the releases are",
            )
        folder = Path(f"{manifest.name}-{manifest.version}") if into is None else into
        others = [
            name
            for name, file in wanted.items()
            if (folder / name).exists() and disk.sha256(folder / name) != file.sha256
        ]
        if others:
            raise errors.ConfigError(
                "A folder for exported files must hold nothing else under their names.",
                received=f"{', '.join(others)} in {folder}",
                todo="remove them, or name another folder: --to FOLDER",
            )
        folder.mkdir(parents=True, exist_ok=True)
        models.fetch(manifest, folder, only=wanted)
        for name, data in copies.proof(models, manifest).items():
            (folder / name).parent.mkdir(exist_ok=True)
            disk.write(folder / name, data)
    content = serving.load(folder)
    if content is None:
        raise errors.IntegrityError(
            f"A release's {serving.FILE} must be where it was copied to.",
            received=f"none in {folder}",
            todo="run the same command again",
        )
    return Copied(manifest, content, folder)
