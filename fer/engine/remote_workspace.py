"""The workspace of several machines, in a bucket; this machine's folder holds what was made or needed here.

    <stage>/<key>/_ref.json                     committed: the record, which names the output's files by their SHA-256
    objects/<sha256>                            a file's bytes (see `objects`)
    .<kind>/<name>                              notes (see `workspace`)
    .partial/<stage>/<key>/<file>.json          finished files of an output that several machines are making

An output is committed by one conditional put of its record, after its files: who reads a record finds all of them, an
upload that is interrupted leaves nothing that a record names, and of two machines that made the same output at once
the first one's holds. No machine waits for another: a lock that a lost machine holds would stop all of them.
"""

import concurrent.futures
import contextlib
import datetime
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

from fer import errors
from fer.engine import disk, outputs
from fer.engine.local_workspace import ABANDONED_AFTER_S, LocalWorkspace
from fer.engine.objects import Objects
from fer.engine.outputs import File, OutputRecord
from fer.engine.refs import Ref
from fer.engine.store import objectstore
from fer.engine.workspace import Note, RefT, Workspace

T = TypeVar("T")
R = TypeVar("R")
_TRANSFERS = 8
_ATTEMPTS = 4


class RemoteWorkspace(Workspace):
    """The workspace in `store`'s bucket and prefix; the folder `root` holds what was made or needed here."""

    def __init__(self, root: str | Path, store: objectstore.ObjectStore):
        super().__init__(root)
        self.store = store
        self.objects: Objects = Objects(store)
        self._here = LocalWorkspace(root)

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
                stored = self.store.get(_record_key(stage, key))
                record = _parse(stored.data) if stored is not None else None
                if stored is None or record is None or record.ref["digest"] != ref.digest:
                    raise _is_gone(self.store.uri(_record_key(stage, key)))
                self._fetch(stage, key, record.files, stored.data)
        return final

    def committed(self, stage: str, key: str, ref_type: type[RefT]) -> RefT | None:
        """See Workspace. Raises StoreError."""
        stored = self.store.get(_record_key(stage, key))
        return self._ref_in(stored.data, ref_type) if stored is not None else None

    def outputs(self, stage: str, ref_type: type[RefT]) -> list[RefT]:
        """See Workspace. Raises StoreError."""
        records = [listed for listed in self.store.list(f"{stage}/") if listed.key.endswith(f"/{outputs.RECORD}")]
        if records:
            self.objects.look()
        records.sort(key=lambda listed: listed.modified, reverse=True)
        refs = []
        for stored in _in_threads(lambda listed: self.store.get(listed.key), records):
            with contextlib.suppress(errors.WorkspaceError):
                refs.append(self._ref_in(stored.data, ref_type) if stored is not None else None)
        return [ref for ref in refs if ref is not None]

    def note(self, kind: str, name: str) -> Note | None:
        """See Workspace. Raises StoreError."""
        key = f".{kind}/{name}"
        stored = self.store.get(key)
        return Note(self.store.uri(key), stored.data) if stored is not None else None

    def notes(self, kind: str) -> list[Note]:
        """See Workspace. Raises StoreError."""
        keys = [listed.key for listed in self.store.list(f".{kind}/") if listed.key.endswith(".json")]
        notes = (self.note(kind, key.partition("/")[2]) for key in keys)
        return [note for note in notes if note is not None]

    def write_note(self, kind: str, name: str, data: bytes) -> None:
        """See Workspace. Raises StoreError."""
        self.store.put(f".{kind}/{name}", data)

    def run(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], *, resumable: bool
    ) -> RefT:
        """Return what is committed under (stage, key); else have `produce(folder)` make it here, and commit it.

        What was made here is kept if the store does not take it: the next attempt has only to upload it. Raises
        WorkspaceError and StoreError.
        """
        ref = self.committed(stage, key, ref_type)
        if ref is not None:
            return ref
        self._here.run(stage, key, ref_type, produce, resumable=resumable)
        return ref_type.model_validate(self._publish(stage, key).ref)

    def _is_here(self, final: Path, ref: Ref) -> bool:
        record = outputs.read_record(final)
        return (
            record is not None
            and record.ref["digest"] == ref.digest
            and all(outputs.has_size(final / name, file) for name, file in record.files.items())
        )

    def _ref_in(self, data: bytes, ref_type: type[RefT]) -> RefT | None:
        record = _parse(data)
        return outputs.ref_in(record, ref_type) if record is not None and self._is_whole(record) else None

    def _is_whole(self, record: OutputRecord) -> bool:
        return all(_in_threads(self.objects.is_there, record.files.values()))

    def _publish(self, stage: str, key: str) -> OutputRecord:
        """Upload and commit what is committed here; the record that holds then may be another machine's."""
        folder = self.root / stage / key
        data = (folder / outputs.RECORD).read_bytes()
        record = outputs.parse_record(data)
        if record is None:
            raise _is_gone(str(folder))
        _in_threads(lambda item: self.objects.upload(folder / item[0], item[1]), record.files.items())
        for _ in range(_ATTEMPTS):
            stored = self.store.get(_record_key(stage, key))
            theirs = _parse(stored.data) if stored is not None else None
            if theirs is not None and self._is_whole(theirs):
                record = theirs
                break
            try:
                if stored is None:
                    self.store.put_if_absent(_record_key(stage, key), data)
                else:  # its files are gone, or it can't be read
                    self.store.put_if_match(_record_key(stage, key), data, stored.etag)
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
        old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=ABANDONED_AFTER_S)
        for listed in list(self.store.list(f".partial/{stage}/")):
            if listed.key.startswith(f".partial/{stage}/{key}/") or listed.modified < old:
                self.store.delete(listed.key)

    def _fetch(self, stage: str, key: str, files: Mapping[str, File], data: bytes) -> None:
        """Fetch an output into `.partial`, then commit it by one rename. Files of an earlier attempt are kept."""
        partial, final = self.root / ".partial" / stage / key, self.root / stage / key
        if final.exists():  # damaged, or another machine's output holds
            outputs.uncommit(final, partial)
        partial.mkdir(parents=True, exist_ok=True)
        outputs.remove_others(partial, files)
        near = self._files_here(stage)

        def bring(name: str) -> None:
            target = partial / name
            if target.exists():
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            if (known := near.get(files[name]["sha256"])) is not None:
                with contextlib.suppress(errors.IntegrityError):
                    outputs.link(*known, partial, name)
                    return
            self.objects.download(files[name], target)

        try:
            _in_threads(bring, files)
        except errors.IntegrityError as error:
            raise _is_gone(str(error)) from error
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(partial / outputs.KNOWN, ignore_errors=True)
        disk.write(partial / outputs.RECORD, data)
        os.sync()
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(final)

    def _files_here(self, stage: str) -> dict[str, tuple[Path, str]]:
        """What is here of a stage's other outputs: SHA-256 -> folder and name."""
        files_here = {}
        for path in (self.root / stage).glob(f"*/{outputs.RECORD}"):
            record = outputs.read_record(path.parent)
            for name, file in (record.files if record is not None else {}).items():
                files_here[file["sha256"]] = (path.parent, name)
        return files_here


def _record_key(stage: str, key: str) -> str:
    return f"{stage}/{key}/{outputs.RECORD}"


def _parse(data: bytes) -> OutputRecord | None:
    """A record that can be followed: its names stay within a folder."""
    record = outputs.parse_record(data)
    if record is None or any(PurePosixPath(name).is_absolute() or ".." in name.split("/") for name in record.files):
        return None
    return record


def _is_gone(what: str) -> errors.WorkspaceError:
    return errors.WorkspaceError(
        "A stage's output must be in the workspace.",
        received=f"nothing, or not the whole of it: {what}",
        todo="run the same command again; what is missing is made again",
    )


def _in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with concurrent.futures.ThreadPoolExecutor(_TRANSFERS) as pool:
        return list(pool.map(function, items))
