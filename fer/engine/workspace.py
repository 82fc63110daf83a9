"""The workspace: where stages leave their outputs, on this machine (`local_workspace`) or in a bucket that several
machines share (`remote_workspace`).

    <stage>/<key>/               a committed output (see `outputs`); its key says what it was made from
    .<kind>/<name>               notes, which change: `.attempts` (see `attempt`), `.accepted` (the baseline)
    .partial/<stage>/<key>/      an output that is being written; no other stage reads it
    .locks/                      one lock per stage and key, freed by the kernel when its holder dies
"""

import abc
import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import filelock

from fer.engine import disk
from fer.engine.objects import Objects
from fer.engine.outputs import RefT
from fer.engine.refs import Ref

_ATTEMPTS = "attempts"


class Note(NamedTuple):
    """A small file that changes, and where it is: a path or an `s3://` URI."""

    location: str
    data: bytes


class Workspace(abc.ABC):
    """Committed outputs of stages, and notes. `root` is its folder on this machine.

    `objects` holds the files that several machines exchange; it is None where the workspace is a folder.
    """

    objects: Objects | None = None

    def __init__(self, root: str | Path):
        self.root = Path(root).resolve()

    @abc.abstractmethod
    def folder(self, ref: Ref) -> Path:
        """Where the output that `ref` names lies on this machine. Raises WorkspaceError if it is gone."""

    @abc.abstractmethod
    def committed(self, stage: str, key: str, ref_type: type[RefT]) -> RefT | None:
        """The Ref committed under (stage, key), or None if there is none or a file of it is gone or cut short.

        Raises WorkspaceError if it is one of a version with another Ref.
        """

    @abc.abstractmethod
    def outputs(self, stage: str, ref_type: type[RefT]) -> list[RefT]:
        """All that `committed` returns of a stage, newest first. Those of a version with another Ref are left out."""

    @abc.abstractmethod
    def note(self, kind: str, name: str) -> Note | None:
        """The note of that name, or None."""

    @abc.abstractmethod
    def notes(self, kind: str) -> list[Note]:
        """All notes of a kind whose names end in `.json`, in the order of their names."""

    @abc.abstractmethod
    def write_note(self, kind: str, name: str, data: bytes) -> None:
        """Write a note whole, whatever was there; of several writers the last one wins. Raises OSError, StoreError."""

    @abc.abstractmethod
    def run(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], *, resumable: bool
    ) -> RefT:
        """Return what is committed under (stage, key); else have `produce(folder)` make it, and commit it.

        With `resumable`, finished files of an earlier attempt are still in the folder that `produce` is given; what it
        keeps in `.scratch` there is not committed.
        Raises WorkspaceError where the workspace can't be written or is full (nothing half-written stays then), and
        StoreError where it is in a bucket.
        """

    def attempt(self, stage: str, key: str, *, committed: bool) -> str:
        """A name for the output under (stage, key) that stays while it is `committed` and changes once it is gone.

        It lets another cache that refers to the workspace notice that an output it knows is no longer there.
        """
        name = f"{stage}-{key}"
        known = self.note(_ATTEMPTS, name) if committed else None
        if known is not None:
            return known.data.decode()
        attempt = uuid.uuid4().hex
        with disk.workspace_errors(self.root):
            self.write_note(_ATTEMPTS, name, attempt.encode())
        return attempt

    @contextlib.contextmanager
    def locked(self, stage: str, key: str) -> Iterator[None]:
        """Hold this machine's lock on (stage, key) for as long as the `with` block lasts."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(locks / f"{stage}-{key}.lock"):
            yield
