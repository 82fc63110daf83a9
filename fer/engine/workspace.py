"""The workspace: where stages leave their outputs, on this machine (`local_workspace`) or in a bucket that several
machines share (`remote_workspace`).

    <stage>/<key>/               a committed output (see `outputs`); its key says what it was made from
    .<kind>/<name>.json          notes, which change, and a copy of each: `.accepted` (the baseline)
    .partial/<stage>/<key>/      an output that is being written; no other stage reads it
    .again/<stage>/<key>/        an output that is made again although it is there, to be compared with it
    .damaged/<stage>/<key>/      files of outputs that were not as they were committed, by the time when it was seen
    .used/, .running/            what is in use (see `usage`)
    .locks/                      one lock per stage and key, freed by the kernel when its holder dies

Every file of an output is verified before it is read, once in a process. Files that changed are set aside, and the
output counts as not committed: it is made again.
"""

import abc
import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple

import filelock

from fer import errors
from fer.engine import disk, outputs
from fer.engine.code.key_parts import KeyParts
from fer.engine.objects import Objects
from fer.engine.outputs import OutputRecord, RefT
from fer.engine.refs import Ref

Say = Callable[[str], None]


_COPY = ".copy"  # how the names of notes' copies end


class Note(NamedTuple):
    """A small document that changes, and where it and its copy are: a path or an `s3://` URI, with `*` at its end."""

    location: str
    document: dict[str, Any]


class Remade(NamedTuple, Generic[RefT]):
    """What came of making an output again. `ref` is that of the one which was there, and stays.

    `differences`: what the new one has otherwise; it then lies in `aside`.
    """

    ref: RefT
    differences: tuple[outputs.Difference, ...] = ()
    aside: Path | None = None

    def sentence(self) -> str:
        """What came of it, in words."""
        if self.aside is None:
            return "made again: it came out the same"
        found = "; ".join(difference.sentence() for difference in self.differences)
        return f"made again, it came out otherwise: {found}; the first one stays, the other is in {self.aside}"


class _Written(NamedTuple):
    """A note as it was written; `previous` is the SHA-256 of the one before it, empty where there was none."""

    document: dict[str, Any]
    previous: str = ""
    sha256: str = ""
    has_copy: bool = False  # those of earlier versions have none


def log(text: str) -> None:
    """Write a warning to this module's log."""
    logging.getLogger(__name__).warning("%s", text)


class Workspace(abc.ABC):
    """Committed outputs of stages, and notes. `root` is its folder on this machine.

    `objects` holds the files that several machines exchange; it is None where the workspace is a folder. `made_by`
    names the run in the records of what it commits; `say` is told what was set aside and why, by default the log.
    With `read_only` nothing is set aside, restored or fetched: what is not whole and here is not there.
    """

    objects: Objects | None = None

    def __init__(self, root: str | Path, *, made_by: str = "", say: Say = log, read_only: bool = False):
        self.root = Path(root).resolve()
        self.made_by = made_by
        self.say = say
        self.read_only = read_only

    @abc.abstractmethod
    def folder(self, ref: Ref, names: Collection[str] | None = None) -> Path:
        """Where the output that `ref` names lies on this machine, all of its files verified, or those `names` of them.

        Raises WorkspaceError if it is gone, is another one, or is not as it was committed.
        """

    @abc.abstractmethod
    def record(self, stage: str, key: str) -> OutputRecord | None:
        """The record of what is committed under (stage, key); None if there is nothing, or it is not whole."""

    @abc.abstractmethod
    def is_damaged(self, stage: str, key: str) -> bool:
        """Whether there was an output under (stage, key) that was not as it was committed, and was not made again."""

    def committed(self, stage: str, key: str, ref_type: type[RefT]) -> RefT | None:
        """The Ref committed under (stage, key), or None if there is nothing, or it is not whole.

        Raises WorkspaceError if it is one of a version with another Ref.
        """
        record = self.record(stage, key)
        return outputs.ref_in(record, ref_type) if record is not None else None

    @abc.abstractmethod
    def outputs(self, stage: str, ref_type: type[RefT]) -> list[RefT]:
        """What is committed of a stage, newest first, not yet verified. None of a version with another Ref."""

    def notes(self, kind: str) -> list[Note]:
        """All notes of a kind, in the order of their names; one that changed or is gone is restored from its copy.

        Raises WorkspaceError if neither is as it was written, or they are of two writers: to go on without a note could
        be worse than to stop.
        """
        stored = self._stored(kind)
        return [Note(f"{self._location(kind, name)}*", self._note(kind, name, stored)) for name in _names(stored)]

    def write_note(self, kind: str, name: str, document: Mapping[str, Any]) -> str:
        """Write a note, `name` ending in `.json`, and a copy of it; of several writers the last one wins.

        Returns where it is: a path or an `s3://` URI. Raises OSError, StoreError.
        """
        with self.locked(kind, name):
            current = _parsed(self._stored(kind).get(name), f"{kind}/{name}")
            written = {"note": document, "name": f"{kind}/{name}", "previous": current.sha256 if current else ""}
            for place in (name, name + _COPY):
                self._store(kind, place, disk.sealed(written))
        return self._location(kind, name)

    def _note(self, kind: str, name: str, stored: Mapping[str, bytes]) -> dict[str, Any]:
        note, copy = (_parsed(stored.get(place), f"{kind}/{name}") for place in (name, name + _COPY))
        if note is not None and (note == copy or not note.has_copy):
            return note.document
        if note is not None and (copy is None or copy.sha256 == note.previous):
            whole, lost = name, name + _COPY
        elif note is None and copy is not None:
            whole, lost = name + _COPY, name
        else:
            raise errors.WorkspaceError(
                "A note of the workspace must be as it was written, or its copy.",
                received=f"{'something else' if note is None else 'two that differ'} at {self._location(kind, name)}*",
                todo="restore it from a backup; or remove the file and its copy, to begin anew",
            )
        if self.read_only:
            return (note or copy or _Written({})).document
        if lost in stored and (note is None or copy is None):
            self._set_note_aside(kind, lost)
            self.say(f"{self._location(kind, lost)} is not as it was written: set aside, and restored from its copy")
        self._store(kind, lost, stored[whole])
        return (note or copy or _Written({})).document

    @abc.abstractmethod
    def _stored(self, kind: str) -> dict[str, bytes]:
        """The bytes of all notes of a kind and of their copies, by their names."""

    @abc.abstractmethod
    def _store(self, kind: str, name: str, data: bytes) -> None:
        """Write a note or a copy whole, whatever was there."""

    @abc.abstractmethod
    def _set_note_aside(self, kind: str, name: str) -> None:
        """Move a note or a copy to `.damaged`."""

    @abc.abstractmethod
    def _location(self, kind: str, name: str) -> str:
        """Where a note is: a path or an `s3://` URI."""

    @abc.abstractmethod
    def records(self, stage: str, newest: int | None = None) -> list[OutputRecord]:
        """The records of what is committed of a stage, newest first and at most so many, not yet verified."""

    @abc.abstractmethod
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
        """Return what is committed under (stage, key); else have `produce(folder)` make it, and commit it.

        With `resumable`, finished files of an earlier attempt are still in the folder that `produce` is given; what it
        keeps in `.scratch` there is not committed. `made_from` is kept in the record.
        Raises WorkspaceError where the workspace can't be written or is full (nothing half-written stays then), and
        StoreError where it is in a bucket.
        """

    @abc.abstractmethod
    def remake(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], made_from: KeyParts
    ) -> "Remade[RefT]":
        """Have `produce(folder)` make an output although it is there, and compare the two: they must be equal.

        The one that is there stays, for all who read it; another one is set aside. Without one it is made as by `run`.
        Raises what `run` raises.
        """

    @contextlib.contextmanager
    def locked(self, stage: str, key: str, timeout_s: float = -1) -> Iterator[None]:
        """Hold this machine's lock on (stage, key) for as long as the `with` block lasts.

        Raises filelock.Timeout if it is not free within `timeout_s`; by default it waits as long as that takes.
        """
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(locks / f"{stage}-{key}.lock", timeout=timeout_s):
            yield


def _names(stored: Iterable[str]) -> list[str]:
    return sorted({name.removesuffix(_COPY) for name in stored if name.removesuffix(_COPY).endswith(".json")})


def _parsed(data: bytes | None, name: str) -> _Written | None:
    """The note of this name with these bytes; None if there are none, or they are not as it was written."""
    if data is None:
        return None
    try:
        document, is_sealed = disk.unsealed(data)
    except ValueError:
        return None
    sha256 = hashlib.sha256(data).hexdigest()
    if not is_sealed:
        return None if "note" in document else _Written(document, sha256=sha256)
    if document.get("name") != name:
        return None
    return _Written(document["note"], document["previous"], sha256, has_copy=True)
