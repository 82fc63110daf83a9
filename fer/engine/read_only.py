"""A workspace that is looked at and stays as it is.

What must be brought here all the same, such as a release that is to be read, goes to a folder aside.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn

from fer import errors
from fer.engine.code.key_parts import KeyParts
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.outputs import OutputRecord
from fer.engine.refs import Ref
from fer.engine.remote_workspace import RemoteWorkspace
from fer.engine.workspace import RefT, Remade, Workspace


class ReadOnlyWorkspace(Workspace):
    """What `there`, which is read only, holds; and in the folder `aside` what is made or fetched meanwhile."""

    def __init__(self, there: Workspace, aside: Path):
        super().__init__(there.root, say=there.say, read_only=True)
        self.objects = there.objects
        self._there = there
        self._records: dict[tuple[str, int | None], list[OutputRecord]] = {}  # as they were when first asked for
        self._made = LocalWorkspace(aside, say=there.say)
        self._fetched = RemoteWorkspace(aside, there.store) if isinstance(there, RemoteWorkspace) else None

    def folder(self, ref: Ref, names: Collection[str] | None = None) -> Path:
        """See Workspace."""
        for workspace in (self._there, self._made):
            try:
                return workspace.folder(ref, names)
            except errors.WorkspaceError:
                continue
        return (self._fetched or self._there).folder(ref, names)

    def record(self, stage: str, key: str) -> OutputRecord | None:
        """See Workspace."""
        return self._there.record(stage, key) or self._made.record(stage, key)

    def is_damaged(self, stage: str, key: str) -> bool:
        """See Workspace."""
        return self._there.is_damaged(stage, key)

    def outputs(self, stage: str, ref_type: type[RefT]) -> list[RefT]:
        """See Workspace."""
        return self._there.outputs(stage, ref_type)

    def records(self, stage: str, newest: int | None = None) -> list[OutputRecord]:
        """See Workspace."""
        if (stage, newest) not in self._records:
            self._records[stage, newest] = self._there.records(stage, newest)
        return list(self._records[stage, newest])

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
        """Return what is committed there; else what `produce(folder)` makes aside."""
        ref = self._there.committed(stage, key, ref_type)
        return ref or self._made.run(stage, key, ref_type, produce, resumable=resumable, made_from=made_from)

    def remake(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], made_from: KeyParts
    ) -> Remade[RefT]:
        """Nothing is made again here."""
        _refuse()

    def _stored(self, kind: str) -> dict[str, bytes]:
        return self._there._stored(kind)

    def _location(self, kind: str, name: str) -> str:
        return self._there._location(kind, name)

    def _store(self, kind: str, name: str, data: bytes) -> None:
        _refuse()

    def _set_note_aside(self, kind: str, name: str) -> None:
        _refuse()


def _refuse() -> NoReturn:
    raise ValueError("A workspace that is only looked at must not be written.")
