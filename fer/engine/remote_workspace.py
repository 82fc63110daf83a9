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
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from fer import errors
from fer.engine import disk, outputs
from fer.engine.code.key_parts import KeyParts
from fer.engine.local_workspace import ABANDONED_AFTER_S, LocalWorkspace, is_gone
from fer.engine.objects import Objects
from fer.engine.outputs import File, OutputRecord
from fer.engine.refs import Ref
from fer.engine.store import objectstore
from fer.engine.workspace import RefT, Remade, Say, Workspace, log

T = TypeVar("T")
R = TypeVar("R")
_TRANSFERS = 8
_ATTEMPTS = 4


class RemoteWorkspace(Workspace):
    """The workspace in `store`'s bucket and prefix; the folder `root` holds what was made or needed here."""

    def __init__(
        self,
        root: str | Path,
        store: objectstore.ObjectStore,
        *,
        made_by: str = "",
        say: Say = log,
        read_only: bool = False,
    ):
        super().__init__(root, made_by=made_by, say=say, read_only=read_only)
        self.store = store
        self.objects: Objects = Objects(store)
        self._here = LocalWorkspace(root, made_by=made_by, say=say, read_only=read_only)

    def folder(self, ref: Ref, names: Collection[str] | None = None) -> Path:
        """Where the output that `ref` names lies on this machine; what is missing here is fetched, and verified.

        Raises WorkspaceError if it is gone, or a file of it is gone or damaged: it then counts as not committed.
        """
        stage, _, key = ref.path.partition("/")
        final = self.root / stage / key
        try:
            return self._here.folder(ref, names)
        except errors.WorkspaceError:
            if self.read_only:
                raise
        with disk.workspace_errors(self.root), self.locked(stage, key):
            here = self._here.record_or_set_aside(stage, key)
            if here is None or here.ref["digest"] != ref.digest:
                record, data = self._stored_record(stage, key)
                if record is None or record.ref["digest"] != ref.digest:
                    raise is_gone(self.store.uri(_record_key(stage, key)))
                self._fetch(stage, key, record.files, data)
        return final

    def record(self, stage: str, key: str) -> OutputRecord | None:
        """See Workspace. The files are verified when they are fetched. Raises StoreError."""
        record, _ = self._stored_record(stage, key)
        return record if record is not None and self._is_whole(record) else None

    def is_damaged(self, stage: str, key: str) -> bool:
        """See Workspace. Raises StoreError."""
        return self.store.get(_record_key(stage, key)) is not None and self.record(stage, key) is None

    def outputs(self, stage: str, ref_type: type[RefT]) -> list[RefT]:
        """See Workspace. Raises StoreError."""
        listed = self._listed(stage)
        if listed:
            self.objects.look()
        refs = []
        for record in _in_threads(lambda key: self.record(stage, key), listed):
            if record is not None:
                with contextlib.suppress(errors.WorkspaceError):
                    refs.append(outputs.ref_in(record, ref_type))
        return refs

    def records(self, stage: str, newest: int | None = None) -> list[OutputRecord]:
        """See Workspace. Raises StoreError."""
        found = _in_threads(lambda key: self._stored_record(stage, key)[0], self._listed(stage)[:newest])
        return [record for record in found if record is not None]

    def _listed(self, stage: str) -> list[str]:
        """The keys of what is committed of a stage, newest first."""
        listed = [listed for listed in self.store.list(f"{stage}/") if listed.key.endswith(f"/{outputs.RECORD}")]
        listed.sort(key=lambda record: record.modified, reverse=True)
        return [record.key.split("/")[1] for record in listed]

    def _stored_record(self, stage: str, key: str) -> tuple[OutputRecord | None, bytes]:
        """The record in the store, None if there is none that can be read; and its bytes."""
        stored = self.store.get(_record_key(stage, key))
        return (None, b"") if stored is None else (_parse(stored.data, stage, key), stored.data)

    def _stored(self, kind: str) -> dict[str, bytes]:
        keys = [listed.key for listed in self.store.list(f".{kind}/")]
        stored = {key.partition("/")[2]: self.store.get(key) for key in keys}
        return {name: note.data for name, note in stored.items() if note is not None}

    def _store(self, kind: str, name: str, data: bytes) -> None:
        self.store.put(f".{kind}/{name}", data)

    def _set_note_aside(self, kind: str, name: str) -> None:
        self.store.move(f".{kind}/{name}", f"damaged/.{kind}/{name}/{uuid.uuid4().hex}")

    def _location(self, kind: str, name: str) -> str:
        return self.store.uri(f".{kind}/{name}")

    def run(
        self,
        stage: str,
        key: str,
        ref_type: type[RefT],
        produce: Callable[[Path], RefT],
        *,
        resumable: bool,
        made_from: KeyParts | None = None,
    ) -> RefT:
        """Return what is committed under (stage, key); else have `produce(folder)` make it here, and commit it.

        What was made here is kept if the store does not take it: the next attempt has only to upload it. Raises
        WorkspaceError and StoreError.
        """
        ref = self.committed(stage, key, ref_type)
        if ref is not None:
            return ref
        self._here.run(stage, key, ref_type, produce, resumable=resumable, made_from=made_from)
        return ref_type.model_validate(self._publish(stage, key).ref)

    def remake(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], made_from: KeyParts
    ) -> Remade[RefT]:
        """See Workspace. Raises StoreError."""
        record = self.record(stage, key)
        if record is None:
            return Remade(self.run(stage, key, ref_type, produce, resumable=False, made_from=made_from))
        try:
            return self._here.made_beside(record, ref_type, produce)
        finally:
            for listed in list(self.store.list(f".again/{stage}/{key}/")):  # of Dask's workers
                self.store.delete(listed.key)

    def _is_whole(self, record: OutputRecord) -> bool:
        return all(_in_threads(self.objects.is_there, record.files.values()))

    def _publish(self, stage: str, key: str) -> OutputRecord:
        """Upload and commit what is committed here; the record that holds then may be another machine's."""
        folder = self.root / stage / key
        record = self._here.record(stage, key)
        if record is None:
            raise is_gone(str(folder))
        data = (folder / outputs.RECORD).read_bytes()
        _in_threads(lambda item: self.objects.upload(folder / item[0], item[1]), record.files.items())
        for _ in range(_ATTEMPTS):
            stored = self.store.get(_record_key(stage, key))
            theirs = _parse(stored.data, stage, key) if stored is not None else None
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
        if final.exists():  # another machine's output holds
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
            self.say(f"An object of {stage}/{key} is not as it was sent; set aside in the store: {error}")
            raise is_gone(str(error)) from error
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


def _parse(data: bytes, stage: str, key: str) -> OutputRecord | None:
    """The record of this output; None if the bytes are not that."""
    record = outputs.parse_record(data)
    return record if record is not None and record.ref["path"] == f"{stage}/{key}" else None


def _in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with concurrent.futures.ThreadPoolExecutor(_TRANSFERS) as pool:
        return list(pool.map(function, items))
