"""A backup of what can't be made again: what happened (Prefect's database), what was accepted, what was released.

    backup.json                      the list: every file with its SHA-256, itself sealed; without it there is no backup
    prefect.db                       Prefect's database, if it is SQLite, as it was at one moment
    accepted/NAME.json               the data accepted last, of each recipe and source
    workspace/STAGE/KEY/…            the outputs that this names
    store/tombstones/ID.json         the images that are to be forgotten
    store/models/NAME/…              the registry: log, aliases, pins, manifests, and the files of releases in need

It is written aside and put in place by one rename, and nothing is restored before all of it was read and found whole.
"""

import contextlib
import datetime
import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
from pydantic import AwareDatetime

from fer import errors
from fer.curation import baseline
from fer.engine import connect, disk
from fer.engine.records import Record
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.housekeeping.kept_releases import Releases
from fer.ingest.tombstones import records
from fer.registry import registry
from fer.settings import Settings

LIST, DATABASE = "backup.json", "prefect.db"
_ACCEPTED, _WORKSPACE, _STORE = "accepted", "workspace", "store"
_N_CHAMPIONS = 3


class File(Record):
    """A file of a backup."""

    sha256: str
    size_bytes: int


class Backup(Record):
    """The list of a backup."""

    format_version: int = 1
    made_utc: AwareDatetime
    files: dict[str, File]

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.size_bytes for file in self.files.values())


def write(
    folder: Path, configured: Settings, models: registry.Registry, database: Path | None, *, force: bool = False
) -> Backup:
    """Write a backup; `database` is Prefect's, if it is a SQLite file of this machine. Its server may run.

    Raises ConfigError if there is something at `folder` already, unless `force`; IntegrityError if what is to be kept
    is not whole; StoreError, WorkspaceError.
    """
    if folder.exists() and not force and (not folder.is_dir() or any(folder.iterdir())):
        raise errors.ConfigError(
            "A backup must go to a folder that is new or empty.",
            received=str(folder),
            todo="name another one; or --force, to replace that one",
        )
    with disk.workspace_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{disk.UNFINISHED}")
        try:
            aside.mkdir(mode=0o700)
            if database is not None and database.is_file():
                _copy_database(database, aside / DATABASE)
            _keep_accepted(connect.running_workspace(configured), aside)
            _keep_registry(models, aside / _STORE)
            made = Backup(made_utc=datetime.datetime.now(datetime.UTC), files=_files(aside))
            disk.write(aside / LIST, disk.sealed(made.model_dump(mode="json")))
            _put_in_place(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return made


def read(folder: Path) -> Backup:
    """The list of a backup, every file of which was read and is whole. Raises ConfigError, IntegrityError."""
    backup = listed(folder)
    for name, file in backup.files.items():
        if not (folder / name).is_file() or disk.sha256(folder / name) != file.sha256:
            raise _damaged(folder / name)
    return backup


def listed(folder: Path) -> Backup:
    """The list of a backup, whose files were not read. Raises ConfigError, IntegrityError."""
    try:
        document, is_sealed = disk.unsealed((folder / LIST).read_bytes())
        found = Backup.model_validate(document) if is_sealed else None
    except FileNotFoundError:
        raise errors.ConfigError(
            f"A backup must have a {LIST}.", received=f"none in {folder}", todo="name a folder that `fer backup` wrote"
        ) from None
    except (ValueError, pydantic.ValidationError):
        found = None
    if found is None or any(".." in name.split("/") or name.startswith("/") for name in found.files):
        raise _damaged(folder / LIST)
    return found


def restore(
    folder: Path, configured: Settings, models: registry.Registry, database: Path | None, *, force: bool = False
) -> list[str]:
    """Restore a backup; sentences on what was put back. Prefect's server must not run; `database` as in `write`.

    Of the registry and the workspace what is missing is put back, and nothing is replaced. A database or accepted data
    that is there and differs is an error, unless `force`: then it is kept beside, or replaced. What a kill interrupts
    goes on when it is called again. Raises ConfigError, IntegrityError, StoreError, WorkspaceError.
    """
    backup = read(folder)
    workspace = connect.running_workspace(configured)
    notes = {
        name.removeprefix(f"{_ACCEPTED}/"): json.loads((folder / name).read_bytes())
        for name in backup.files
        if name.startswith(f"{_ACCEPTED}/")
    }
    objects = [name.removeprefix(f"{_STORE}/") for name in backup.files if name.startswith(f"{_STORE}/")]
    known = {Path(note.location.removesuffix("*")).name: note.document for note in baseline.notes(workspace)}
    _require_same_history(models, folder / _STORE, objects)
    has_database = DATABASE in backup.files and database is not None
    if not force:
        _require_nothing_else(notes, known, database if has_database else None, folder / DATABASE)
    said = []
    with disk.workspace_errors(configured.home):
        if has_database and database is not None:
            said.append(_restore_database(folder / DATABASE, database))
        said.append(_restore_outputs(folder / _WORKSPACE, workspace))
        for name, document in notes.items():
            if known.get(name) != document:
                baseline.write_note(workspace, name, document)
        said.append(f"accepted data: {len(notes):,} restored or there")
        said.append(_restore_registry(models, folder / _STORE, objects))
    return said


def _files(folder: Path) -> dict[str, File]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): File(sha256=disk.sha256(path), size_bytes=path.stat().st_size)
        for path in paths
    }


def _put_in_place(aside: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{disk.UNFINISHED}")
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _copy_database(source: Path, target: Path) -> None:
    """A copy as of one moment, by SQLite's own means, which wait for no writer and hold none up."""
    with _opened(source) as there, contextlib.closing(sqlite3.connect(target)) as copy:
        there.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        found = copy.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise errors.IntegrityError(
            "Prefect's database must be whole.", received=f"{found} in {source}", todo="restore it from an older backup"
        )


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


def _restore_database(source: Path, target: Path) -> str:
    """Put it in place by one rename; what was there stays beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = ""
    if target.exists():
        with contextlib.closing(sqlite3.connect(target)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a log left beside would be taken for the new one's
        for log in ("-wal", "-shm"):
            target.with_name(f"{target.name}{log}").unlink(missing_ok=True)
        if disk.sha256(target) == disk.sha256(source):
            return f"Prefect's database: {target} is as it was"
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        kept = target.with_name(f"{target.name}.before-{stamp}")
        shutil.copyfile(target, kept)
        kept.chmod(0o600)
        beside = f"; the one before is {kept}"
    with disk.replacing(target, sync=True) as staging:
        shutil.copyfile(source, staging)
        staging.chmod(0o600)
    return f"Prefect's database: {target}{beside}"


def _keep_accepted(workspace: Workspace, folder: Path) -> None:
    for note in baseline.notes(workspace):
        path = folder / _ACCEPTED / Path(note.location.removesuffix("*")).name
        path.parent.mkdir(exist_ok=True)
        disk.write(path, json.dumps(note.document, indent=1).encode())
    for accepted in baseline.accepted(workspace):
        for ref in baseline.refs(accepted):
            with contextlib.suppress(errors.WorkspaceError):  # gone: then nothing is compared with it any more
                source = workspace.folder(ref)
                shutil.copytree(source, folder / _WORKSPACE / ref.path, dirs_exist_ok=True)


def _keep_registry(models: registry.Registry, folder: Path) -> None:
    """All of it but the files of releases that nothing needs."""
    needed = Releases(models, _N_CHAMPIONS).roots
    for listed in list(models.store.list(records.PREFIX)):
        _fetch(models, listed.key, folder)
    for name in models.names():
        manifests, cleared = models.versions(name), models.log(name).cleared
        for listed in list(models.store.list(f"models/{name}/")):
            is_small = (
                not listed.key.startswith(f"models/{name}/files/") or "/." in listed.key
            )  # beside a version's files
            if is_small and not listed.key.startswith(f"models/{name}/damaged/"):
                _fetch(models, listed.key, folder)
        for manifest in manifests:
            if f"{name}@{manifest.version}" in needed and manifest.version not in cleared:
                for file in manifest.files.values():
                    models.store.download_file(file.key, folder / file.key, file.sha256)


def _fetch(models: registry.Registry, key: str, folder: Path) -> None:
    stored = models.store.get(key)
    if stored is not None:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        disk.write(folder / key, stored.data)


def _require_nothing_else(
    notes: Mapping[str, Any], known: Mapping[str, Any], database: Path | None, source: Path
) -> None:
    differ = [f"accepted/{name}" for name, document in notes.items() if known.get(name, document) != document]
    if database is not None and database.exists() and disk.sha256(database) != disk.sha256(source):
        differ.append(str(database))
    if differ:
        raise errors.ConfigError(
            "What is restored must not be there yet.",
            received=f"something else at {', '.join(differ)}",
            todo="see whether that is to be kept; --force replaces accepted data, and puts the database beside",
        )


def _require_same_history(models: registry.Registry, folder: Path, objects: list[str]) -> None:
    """Raise IntegrityError where an entry of a log, or a manifest, is there with other content."""
    for key in objects:
        if _part(key) in ("log", "versions"):
            stored = models.store.get(key)
            if stored is not None and stored.data != (folder / key).read_bytes():
                raise errors.IntegrityError(
                    "The registry must have the history of the backup, or none, or a part of it.",
                    received=f"something else at {models.store.uri(key)}",
                    todo="restore into an empty bucket or prefix: FER_STORE_BUCKET, FER_STORE_PREFIX",
                )


_FILES = "files"
_TOMBSTONES = records.PREFIX.rstrip("/")
# What is to be forgotten first; an alias last: it tells how far the log goes.
_ORDER = (_TOMBSTONES, _FILES, "log", "versions", "pins.json", "aliases")


def _restore_registry(models: registry.Registry, folder: Path, objects: list[str]) -> str:
    n_put = 0
    for part in _ORDER:
        for key in sorted(key for key in objects if _part(key) == part):
            if part == _FILES:
                is_there = models.store.size(key) == (folder / key).stat().st_size
                if not is_there:
                    models.store.upload_file(key, folder / key)
                n_put += not is_there
                continue
            with contextlib.suppress(errors.StoreConflict):
                models.store.put_if_absent(key, (folder / key).read_bytes())
                n_put += 1
    for name in sorted({key.split("/")[1] for key in objects if _part(key) == "log"}):
        models.ledger(name).update_alias()
    return f"registry: {n_put:,} of {len(objects):,} objects were missing, and put back"


def _part(key: str) -> str:
    """What a key's object is: `models/NAME/<this>`, or a tombstone."""
    return _TOMBSTONES if key.startswith(records.PREFIX) else key.split("/")[2]


class _AnyRef(Ref):
    model_config = pydantic.ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]


def _restore_outputs(folder: Path, workspace: Workspace) -> str:
    """Put back outputs that are not there."""
    n_put = 0
    for source in sorted(folder.glob("*/*")):
        stage, key = source.parts[-2:]

        def produce(out: Path, source: Path = source) -> _AnyRef:
            raise AssertionError(f"{source} was put in place, and is made again")

        if workspace.record(stage, key) is not None:
            continue
        target = workspace.root / stage / key
        with workspace.locked(stage, key):
            if not target.exists():
                aside = workspace.root / ".partial" / stage / f"{key}.{uuid.uuid4().hex}"
                shutil.copytree(source, aside)
                target.parent.mkdir(parents=True, exist_ok=True)
                aside.rename(target)
        workspace.run(stage, key, _AnyRef, produce, resumable=False)
        n_put += 1
    return f"workspace: {n_put:,} outputs that the accepted data names were missing, and put back"


def _damaged(path: Path) -> errors.IntegrityError:
    return errors.IntegrityError(
        "A backup must be as it was written; nothing was restored.",
        received=f"something else, or nothing, at {path}",
        todo="take another backup",
    )
