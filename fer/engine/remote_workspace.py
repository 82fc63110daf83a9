"""The workspace of several machines, in a bucket; this machine's folder holds what was made or needed here.

    <stage>/<key>/_ref.json                     committed: the record, which names the output's files by their SHA-256
    objects/<sha256>                            a file's bytes: equal files are there once, and never change
    .<kind>/<name>                              notes (see `fer.engine.workspace`)
    .partial/<stage>/<key>/<file>.json          finished files of an output that several machines are making

An output is committed by one conditional put of its record, after its files: who reads a record finds all of them, an
upload that is interrupted leaves nothing that a record names, and of two machines that made the same output at once
the first one's holds. No machine waits for another: a lock that a lost machine holds would stop all of them.
"""

import concurrent.futures
import contextlib
import datetime
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

import pydantic

from fer import errors
from fer.engine import disk, objectstore, seaweedfs
from fer.engine import workspace as workspaces
from fer.engine.refs import Ref
from fer.engine.workspace import File, Note, Record, Workspace
from fer.settings import Settings

RefT = TypeVar("RefT", bound=Ref)
T = TypeVar("T")
R = TypeVar("R")
_TRANSFERS = 8
_ATTEMPTS = 4


class RemoteWorkspace(Workspace):
    """The workspace in `store`'s bucket and prefix; `root` is the folder of what is here of it."""

    def __init__(self, root: str | Path, store: objectstore.ObjectStore):
        super().__init__(root)
        self.store = store
        self._here = Workspace(root)
        self._seen: set[tuple[str, int]] = set()  # objects that were there, once: key and bytes

    def folder(self, ref: Ref) -> Path:
        """Where the output that `ref` names lies on this machine; what is missing here is fetched, and verified.

        Raises WorkspaceError if it is gone, or a file of it is gone or damaged: it then counts as not committed.
        """
        stage, key = ref.path.split("/")
        final = self.root / stage / key
        if self._is_here(final, ref):
            return final
        with disk.workspace_errors(self.root), self.locked(stage, key):
            if not self._is_here(final, ref):
                found = self.store.get(_record_key(stage, key))
                record = _parse(found.data) if found is not None else None
                if found is None or record is None or record.ref["digest"] != ref.digest:
                    raise _is_gone(self.store.uri(_record_key(stage, key)))
                self._fetch(stage, key, record.files, found.data)
        return final

    def committed(self, stage: str, key: str, ref_type: type[RefT]) -> RefT | None:
        """The Ref committed under (stage, key), or None if there is none or a file of it is gone or cut short."""
        found = self.store.get(_record_key(stage, key))
        return self._ref_in(found.data, ref_type) if found is not None else None

    def outputs(self, stage: str, ref_type: type[RefT]) -> list[RefT]:
        """All committed outputs of a stage whose files are there, newest first. Those of another Ref are left out."""
        records = [each for each in self.store.list(f"{stage}/") if each.key.endswith(f"/{workspaces.RECORD}")]
        if records:  # one listing instead of a question a file
            self._seen |= {(each.key, each.size_bytes) for each in self.store.list("objects/")}
        records.sort(key=lambda each: each.modified, reverse=True)
        found = []
        for data in _in_threads(lambda each: self.store.get(each.key), records):
            with contextlib.suppress(pydantic.ValidationError):
                found.append(self._ref_in(data.data, ref_type) if data is not None else None)
        return [each for each in found if each is not None]

    def note(self, kind: str, name: str) -> Note | None:
        key = f".{kind}/{name}"
        found = self.store.get(key)
        return Note(self.store.uri(key), found.data) if found is not None else None

    def notes(self, kind: str) -> list[Note]:
        names = [each.key.partition("/")[2] for each in self.store.list(f".{kind}/") if each.key.endswith(".json")]
        return [found for found in (self.note(kind, name) for name in names) if found is not None]

    def write_note(self, kind: str, name: str, data: bytes) -> None:
        self.store.put(f".{kind}/{name}", data)

    def run(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], *, resumable: bool
    ) -> RefT:
        """Return what is committed under (stage, key); else have `produce(folder)` make it here, and commit it.

        What was made here is kept if the store does not take it: the next attempt has only to upload it. Raises as
        Workspace does, and StoreError.
        """
        found = self.committed(stage, key, ref_type)
        if found is not None:
            return found
        self._here.run(stage, key, ref_type, produce, resumable=resumable)
        return ref_type.model_validate(self._publish(stage, key).ref)

    def share_finished(self, out: str, name: str, path: Path) -> File:
        """Upload a finished file of an output that is being made in the folder `out` of the run's machine."""
        file = File(size_bytes=path.stat().st_size, sha256=disk.sha256(path))
        self._upload(path, file)
        self.store.put(_staged_key(out, name), json.dumps(file).encode())
        return file

    def finished(self, out: str, name: str) -> File | None:
        """The file that was uploaded as this one, or None."""
        found = self.store.get(_staged_key(out, name))
        return json.loads(found.data) if found is not None else None

    def download(self, file: File, path: Path) -> None:
        """Bring a file here, verified. Raises IntegrityError; a damaged object is then removed, to be replaced."""
        key = _object_key(file)
        try:
            self.store.download_file(key, path, file["sha256"])
        except errors.IntegrityError:
            self.store.delete(key)
            self._seen.discard((key, file["size_bytes"]))
            raise

    def _is_here(self, final: Path, ref: Ref) -> bool:
        record = workspaces.read_record(final)
        return (
            record is not None
            and record.ref["digest"] == ref.digest
            and all(workspaces.has_size(final / name, file) for name, file in record.files.items())
        )

    def _ref_in(self, data: bytes, ref_type: type[RefT]) -> RefT | None:
        record = _parse(data)
        return ref_type.model_validate(record.ref) if record is not None and self._is_whole(record) else None

    def _is_whole(self, record: Record) -> bool:
        return all(_in_threads(self._is_there, record.files.values()))

    def _is_there(self, file: File) -> bool:
        key = _object_key(file)
        wanted = key, file["size_bytes"]
        if wanted not in self._seen and self.store.size(key) == file["size_bytes"]:
            self._seen.add(wanted)
        return wanted in self._seen

    def _upload(self, path: Path, file: File) -> None:
        key = _object_key(file)
        if self.store.size(key) != file["size_bytes"]:
            sent = self.store.upload_file(key, path)
            if sent.sha256 != file["sha256"]:
                self.store.delete(key)
                path.unlink()
                raise errors.WorkspaceError(
                    "A stage's output must stay as it was made.",
                    received=f"other bytes at {path}",
                    todo="run the same command again; what is missing is made anew",
                )

    def _publish(self, stage: str, key: str) -> Record:
        """Upload what is committed here, and commit it for all; what holds then, which may be another machine's."""
        folder = self.root / stage / key
        data = (folder / workspaces.RECORD).read_bytes()
        record = workspaces.parse_record(data)
        if record is None:
            raise _is_gone(str(folder))
        _in_threads(lambda item: self._upload(folder / item[0], item[1]), record.files.items())
        for _ in range(_ATTEMPTS):
            there = self.store.get(_record_key(stage, key))
            theirs = _parse(there.data) if there is not None else None
            if theirs is not None and self._is_whole(theirs):
                record = theirs
                break
            try:
                if there is None:
                    self.store.put_if_absent(_record_key(stage, key), data)
                else:  # its files are gone, or it can't be read
                    self.store.put_if_match(_record_key(stage, key), data, there.etag)
                break
            except errors.StoreConflict:
                continue
        else:
            raise errors.StoreUnavailable(
                "The store must take a stage's output.",
                received=f"{_ATTEMPTS} conflicts at {self.store.uri(_record_key(stage, key))}",
                todo="run the same command again",
            )
        self._remove_staged(stage, key)
        return record

    def _remove_staged(self, stage: str, key: str) -> None:
        """Remove the records of finished files of this output, and those that an attempt left a day ago."""
        old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=workspaces.ABANDONED_AFTER_S)
        for each in list(self.store.list(f".partial/{stage}/")):
            if each.key.startswith(f".partial/{stage}/{key}/") or each.modified < old:
                self.store.delete(each.key)

    def _fetch(self, stage: str, key: str, files: Mapping[str, File], data: bytes) -> None:
        """Bring an output here: aside, then by one rename. What came in an attempt before is kept."""
        partial, final = self.root / ".partial" / stage / key, self.root / stage / key
        if final.exists():  # damaged, or another machine's output holds
            workspaces.take_apart(final, partial)
        partial.mkdir(parents=True, exist_ok=True)
        workspaces.remove_others(partial, files)
        near = self._files_here(stage)

        def bring(name: str) -> None:
            target = partial / name
            if target.exists():
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            if (known := near.get(files[name]["sha256"])) is not None:
                with contextlib.suppress(errors.IntegrityError):
                    workspaces.link(*known, partial, name)
                    return
            self.download(files[name], target)

        try:
            _in_threads(bring, files)
        except errors.IntegrityError as error:
            raise _is_gone(str(error)) from error
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(partial / workspaces.KNOWN, ignore_errors=True)
        disk.write(partial / workspaces.RECORD, data)
        os.sync()
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(final)

    def _files_here(self, stage: str) -> dict[str, tuple[Path, str]]:
        """What is here of a stage's other outputs: SHA-256 -> folder and name."""
        found = {}
        for path in (self.root / stage).glob(f"*/{workspaces.RECORD}"):
            record = workspaces.read_record(path.parent)
            for name, file in (record.files if record is not None else {}).items():
                found[file["sha256"]] = (path.parent, name)
        return found


def of(settings: Settings) -> Workspace:
    """The workspace that the settings name: a folder, or one in their store, which must be in reach, as in `ready`.

    Raises StoreUnavailable where the embedded store does not run.
    """
    place = settings.remote_workspace
    if place is None:
        return Workspace(settings.workspace_folder)
    there = settings.model_copy(update={"store_bucket": place.bucket, "store_prefix": place.prefix})
    return RemoteWorkspace(settings.workspace_folder, seaweedfs.reach(there))


@contextlib.contextmanager
def ready(settings: Settings) -> Iterator[Workspace]:
    """The workspace that the settings name, its store held for as long as the `with` block lasts.

    Raises StoreError if its store or bucket is of no use.
    """
    if settings.remote_workspace is None:
        yield of(settings)
        return
    with seaweedfs.connect(settings):
        found = of(settings)
        if isinstance(found, RemoteWorkspace):
            if settings.store_endpoint is None:
                found.store.ensure_bucket()
            found.store.ping()
        yield found


def _record_key(stage: str, key: str) -> str:
    return f"{stage}/{key}/{workspaces.RECORD}"


def _object_key(file: File) -> str:
    return f"objects/{file['sha256']}"


def _staged_key(out: str, name: str) -> str:
    return f"{out}/{name}.json"


def _parse(data: bytes) -> Record | None:
    """A record that can be followed: its names stay within a folder."""
    record = workspaces.parse_record(data)
    if record is None or any(PurePosixPath(name).is_absolute() or ".." in name.split("/") for name in record.files):
        return None
    return record


def _is_gone(what: str) -> errors.WorkspaceError:
    return errors.WorkspaceError(
        "A stage's output must be in the workspace.",
        received=f"nothing, or not the whole of it: {what}",
        todo="run the same command again; what is missing is made anew",
    )


def _in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with concurrent.futures.ThreadPoolExecutor(_TRANSFERS) as pool:
        return list(pool.map(function, items))
