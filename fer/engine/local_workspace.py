"""The workspace in a folder of this machine. An output is written in `.partial` and committed by one rename, so that
no reader ever sees half of it."""

import contextlib
import datetime
import itertools
import os
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path

import filelock

from fer import errors
from fer.engine import disk, outputs, usage
from fer.engine.code.key_parts import KeyParts
from fer.engine.outputs import Making, OutputRecord
from fer.engine.refs import Ref
from fer.engine.workspace import RefT, Remade, Workspace

ABANDONED_AFTER_S = 86_400
SCRATCH_ABANDONED_AFTER_S = 14 * 86_400
_DAMAGED = ".damaged"
_AGAIN = ".again"
_NOT_OF_THE_STAGE = (errors.IntegrityError, errors.ConfigError)  # a damaged input, or the environment's mistake


class LocalWorkspace(Workspace):
    """The workspace in the folder `root`."""

    def folder(self, ref: Ref, names: Collection[str] | None = None) -> Path:
        """See Workspace."""
        stage, _, key = ref.path.partition("/")
        record = self.record(stage, key, names)
        if record is None or record.ref["digest"] != ref.digest:
            aside = self.root / _DAMAGED / stage / key
            why = f"; what changed is in {aside}" if aside.is_dir() else ""
            raise is_gone(f"{self.root / ref.path}{why if record is None else ', which is another output'}")
        return self.root / stage / key

    def record(self, stage: str, key: str, names: Collection[str] | None = None) -> OutputRecord | None:
        """See Workspace. Of the files only `names` are verified, if they are given."""
        if not self.read_only:
            usage.mark(self.root, stage, key)
        final = self.root / stage / key
        if not final.is_dir():
            return None
        record = _own_record(final)
        if record is not None and not _is_changed(final, record, names):
            return record
        if self.read_only:
            return None
        try:
            with disk.workspace_errors(self.root), self.locked(stage, key, timeout_s=0):
                return self.record_or_set_aside(stage, key, names)
        except filelock.Timeout:  # who holds it sets it aside, or has done so and makes it again
            return None

    def record_or_set_aside(self, stage: str, key: str, names: Collection[str] | None = None) -> OutputRecord | None:
        """The record if the output is whole, for who holds the lock. What differs from it is set aside, and said.

        The whole files of an output that is not whole then lie where it is made again.
        """
        final, partial = self.root / stage / key, self.root / ".partial" / stage / key
        if not final.is_dir():
            return None
        aside = self._aside(stage, key)
        record = _own_record(final)
        if record is None:
            aside.parent.mkdir(parents=True, exist_ok=True)
            final.rename(aside)
            self.say(
                f"{final} is not as it was committed: its {outputs.RECORD} is gone or changed; set aside at {aside}"
            )
            return None
        if names is None and (strays := outputs.strays(final, record)):
            outputs.move(final, strays, aside)
            self.say(f"{final} was committed without {', '.join(strays)}; set aside at {aside}")
        changed = outputs.differences(final, record, names)
        if not changed:
            return record
        outputs.move(final, [difference.name for difference in changed], aside)
        aside.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(final / outputs.RECORD, aside / outputs.RECORD)
        whole = {name for name in record.files if not (aside / name).exists()}
        unread = [] if names is None else outputs.differences(final, record, whole - {*names})
        outputs.move(final, [difference.name for difference in unread], aside)
        outputs.uncommit(final, partial)
        for difference in changed + unread:
            self.say(f"{final} is not as it was committed: {difference.sentence()}; set aside at {aside}")
        return None

    def is_damaged(self, stage: str, key: str) -> bool:
        """See Workspace."""
        return (self.root / _DAMAGED / stage / key).is_dir() and self.record(stage, key) is None

    def outputs(self, stage: str, ref_type: type[RefT]) -> list[RefT]:
        """See Workspace."""
        refs = []
        for record in self.records(stage):
            with contextlib.suppress(errors.WorkspaceError):
                refs.append(outputs.ref_in(record, ref_type))
        return refs

    def records(self, stage: str, newest: int | None = None) -> list[OutputRecord]:
        """See Workspace."""
        paths = (self.root / stage).glob(f"*/{outputs.RECORD}")
        by_time = sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
        records = (_own_record(path.parent) for path in by_time)
        return list(itertools.islice((record for record in records if record is not None), newest))

    def _stored(self, kind: str) -> dict[str, bytes]:
        paths = (self.root / f".{kind}").glob("*")
        return {path.name: path.read_bytes() for path in paths if path.is_file() and path.suffix != disk.UNFINISHED}

    def _store(self, kind: str, name: str, data: bytes) -> None:
        path = self.root / f".{kind}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, data)

    def _set_note_aside(self, kind: str, name: str) -> None:
        outputs.move(self.root / f".{kind}", [name], self._aside(f".{kind}"))

    def _location(self, kind: str, name: str) -> str:
        return str(self.root / f".{kind}" / name)

    def _aside(self, *place: str) -> Path:
        """Where files are to be set aside now."""
        return self.root.joinpath(_DAMAGED, *place, _now())

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
        """See Workspace."""
        ref = self.committed(stage, key, ref_type)
        if ref is not None:
            return ref
        with disk.workspace_errors(self.root), self.locked(stage, key):
            record = self.record_or_set_aside(stage, key)  # another process may have made it meanwhile
            if record is not None:
                return outputs.ref_in(record, ref_type)
            self._remove_abandoned(stage, key)
            partial = self.root / ".partial" / stage / key
            if not resumable:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True, exist_ok=True)
            outputs.remove_unfinished(partial)
            is_begun = any(partial.iterdir())
            started = time.monotonic()
            try:
                ref = produce(partial)
                seconds = None if is_begun else time.monotonic() - started
                return self._commit(stage, key, partial, ref, Making(self.made_by, made_from, seconds))
            except BaseException as error:
                if resumable and (disk.is_full(error) or isinstance(error, _NOT_OF_THE_STAGE)):
                    outputs.remove_all_but_scratch(partial)
                elif not (resumable and _worth_resuming(error)):
                    shutil.rmtree(partial, ignore_errors=True)
                with contextlib.suppress(OSError):  # not empty: what is finished is kept
                    partial.rmdir()
                raise

    def remake(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], made_from: KeyParts
    ) -> Remade[RefT]:
        """See Workspace."""
        record = self.record(stage, key)
        if record is None:
            return Remade(self.run(stage, key, ref_type, produce, resumable=False, made_from=made_from))
        return self.made_beside(record, ref_type, produce)

    def made_beside(self, record: OutputRecord, ref_type: type[RefT], produce: Callable[[Path], RefT]) -> Remade[RefT]:
        """Have `produce` make the output of this record again, and compare the two."""
        stage, _, key = record.path.partition("/")
        with disk.workspace_errors(self.root), self.locked(f"again-{stage}", key):
            folder = self.root / _AGAIN / stage / key
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                made = produce(folder)
                for name in (outputs.KNOWN, outputs.SCRATCH):
                    shutil.rmtree(folder / name, ignore_errors=True)
                outputs.remove_unfinished(folder)
                files = outputs.files(folder)
                ref = outputs.ref_in(record, ref_type)
                if (made.digest or outputs.digest(files)) == ref.digest:
                    shutil.rmtree(folder)
                    return Remade(ref)
                aside = folder.with_name(f"{key}-{_now()}")
                folder.rename(aside)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        differences = outputs.differences(aside, record) + [
            outputs.Difference(name, "nothing", "a file") for name in outputs.strays(aside, record)
        ]
        return Remade(ref, tuple(differences), aside)

    def _commit(self, stage: str, key: str, partial: Path, ref: RefT, making: Making) -> RefT:
        outputs.remove_unfinished(partial)  # a Dask worker that was given up may have begun one
        files = outputs.files(partial)
        shutil.rmtree(partial / outputs.KNOWN, ignore_errors=True)
        ref = ref.model_copy(update={"path": f"{stage}/{key}", "digest": ref.digest or outputs.digest(files)})
        outputs.write_record(partial, ref, files, making)
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
            with contextlib.suppress(filelock.Timeout, FileNotFoundError), lock:  # at work, or committed meanwhile
                has_scratch = any(path.is_file() for path in (folder / outputs.SCRATCH).rglob("*"))
                kept_s = SCRATCH_ABANDONED_AFTER_S if has_scratch else ABANDONED_AFTER_S
                if time.time() - _last_change(folder) > kept_s:
                    shutil.rmtree(folder, ignore_errors=True)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _own_record(folder: Path) -> OutputRecord | None:
    """The record of a committed folder, if it is that folder's."""
    record = outputs.read_record(folder)
    return record if record is not None and record.ref["path"] == f"{folder.parent.name}/{folder.name}" else None


def _is_changed(folder: Path, record: OutputRecord, names: Collection[str] | None) -> bool:
    return bool(outputs.differences(folder, record, names) or (names is None and outputs.strays(folder, record)))


def is_gone(what: str) -> errors.WorkspaceError:
    """The error of an output that is not there, or not whole."""
    return errors.WorkspaceError(
        "A stage's output must be in the workspace.",
        received=f"nothing, or not the whole of it: {what}",
        todo="run the same command again; what is missing is made again",
    )


def _last_change(folder: Path) -> float:
    """The modification time of the newest file in it, or of itself where it is empty (seconds since 1970)."""
    return max((path.stat().st_mtime for path in folder.rglob("*") if path.is_file()), default=folder.stat().st_mtime)


def _worth_resuming(error: BaseException) -> bool:
    """Whether the same inputs can do better next time."""
    if isinstance(error, errors.Diverged):
        return False
    of_the_machine = (errors.WorkspaceError, errors.TrainingError)
    return not isinstance(error, errors.FerError) or error.transient or isinstance(error, of_the_machine)
