"""The workspace in a folder of this machine. An output is written in `.partial` and committed by one rename, so that
no reader ever sees half of it."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import filelock

from fer import errors
from fer.engine import disk, outputs
from fer.engine.refs import Ref
from fer.engine.workspace import Note, RefT, Workspace

ABANDONED_AFTER_S = 86_400
SCRATCH_ABANDONED_AFTER_S = 14 * 86_400
_NOT_OF_THE_STAGE = (errors.IntegrityError, errors.ConfigError)  # a damaged input, or the environment's mistake


class LocalWorkspace(Workspace):
    """The workspace in the folder `root`."""

    def folder(self, ref: Ref) -> Path:
        """See Workspace."""
        folder = self.root / ref.path
        if not (folder / outputs.RECORD).is_file():
            raise errors.WorkspaceError(
                "A stage's output must be in the workspace.",
                received=f"nothing at {folder}",
                todo="run the same command again; what is missing is made again",
            )
        return folder

    def committed(self, stage: str, key: str, ref_type: type[RefT]) -> RefT | None:
        """See Workspace."""
        folder = self.root / stage / key
        record = outputs.read_record(folder)
        if record is None or not all(outputs.has_size(folder / name, file) for name, file in record.files.items()):
            return None
        return outputs.ref_in(record, ref_type)

    def outputs(self, stage: str, ref_type: type[RefT]) -> list[RefT]:
        """See Workspace."""
        records = (self.root / stage).glob(f"*/{outputs.RECORD}")
        refs = []
        for path in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True):
            with contextlib.suppress(errors.WorkspaceError):
                refs.append(self.committed(stage, path.parent.name, ref_type))
        return [ref for ref in refs if ref is not None]

    def note(self, kind: str, name: str) -> Note | None:
        """See Workspace."""
        path = self.root / f".{kind}" / name
        try:
            return Note(str(path), path.read_bytes())
        except FileNotFoundError:
            return None

    def notes(self, kind: str) -> list[Note]:
        """See Workspace."""
        notes = [self.note(kind, path.name) for path in sorted((self.root / f".{kind}").glob("*.json"))]
        return [note for note in notes if note is not None]

    def write_note(self, kind: str, name: str, data: bytes) -> None:
        """See Workspace. Raises OSError."""
        path = self.root / f".{kind}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, data)

    def run(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], *, resumable: bool
    ) -> RefT:
        """See Workspace."""
        ref = self.committed(stage, key, ref_type)
        if ref is not None:
            return ref
        with disk.workspace_errors(self.root), self.locked(stage, key):
            ref = self.committed(stage, key, ref_type)  # another process may have made it meanwhile
            if ref is not None:
                return ref
            self._remove_abandoned(stage, key)
            partial = self.root / ".partial" / stage / key
            final = self.root / stage / key
            if final.exists():  # damaged: `committed` refused it
                outputs.uncommit(final, partial)
            if not resumable:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True, exist_ok=True)
            outputs.remove_unfinished(partial)
            try:
                return self._commit(stage, key, partial, produce(partial))
            except BaseException as error:
                if resumable and (disk.is_full(error) or isinstance(error, _NOT_OF_THE_STAGE)):
                    outputs.remove_all_but_scratch(partial)
                elif not (resumable and _worth_resuming(error)):
                    shutil.rmtree(partial, ignore_errors=True)
                with contextlib.suppress(OSError):  # not empty: what is finished is kept
                    partial.rmdir()
                raise

    def _commit(self, stage: str, key: str, partial: Path, ref: RefT) -> RefT:
        outputs.remove_unfinished(partial)  # a Dask worker that was given up may have begun one
        files = outputs.files(partial)
        shutil.rmtree(partial / outputs.KNOWN, ignore_errors=True)
        ref = ref.model_copy(update={"path": f"{stage}/{key}", "digest": ref.digest or outputs.digest(files)})
        record = {"ref": ref.model_dump(mode="json"), "files": files}
        disk.write(partial / outputs.RECORD, json.dumps(record, indent=1).encode())
        os.sync()  # the bytes before the name: after a power cut a committed folder is whole
        final = self.root / stage / key
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(final)
        shutil.rmtree(final / outputs.SCRATCH, ignore_errors=True)
        return ref

    def _remove_abandoned(self, stage: str, key: str) -> None:
        """Remove what killed runs of this stage left under other keys, once nothing was added to it for a day.

        Until then it may be resumed, such as a large download after a run of another source; if it has a checkpoint,
        for two weeks, so that other trainings don't remove that of one which is resumed later. While its lock is held
        it is still at work.
        """
        for folder in (self.root / ".partial" / stage).glob("*"):
            if folder.name == key:
                continue
            lock = filelock.FileLock(self.root / ".locks" / f"{stage}-{folder.name}.lock", timeout=0)
            with contextlib.suppress(filelock.Timeout), lock:
                has_scratch = any(path.is_file() for path in (folder / outputs.SCRATCH).rglob("*"))
                kept_s = SCRATCH_ABANDONED_AFTER_S if has_scratch else ABANDONED_AFTER_S
                if time.time() - _last_change(folder) > kept_s:
                    shutil.rmtree(folder, ignore_errors=True)


def _last_change(folder: Path) -> float:
    """The modification time of the newest file in it, or of itself where it is empty (seconds since 1970)."""
    return max((path.stat().st_mtime for path in folder.rglob("*") if path.is_file()), default=folder.stat().st_mtime)


def _worth_resuming(error: BaseException) -> bool:
    """Whether the same inputs can do better next time."""
    if isinstance(error, errors.Diverged):
        return False
    of_the_machine = (errors.WorkspaceError, errors.TrainingError)
    return not isinstance(error, errors.FerError) or error.transient or isinstance(error, of_the_machine)
