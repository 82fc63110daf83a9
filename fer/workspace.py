"""The workspace: where stages leave their output.

    workspace/<stage>/<key>/          committed; `_ref.json` says what is in it
    workspace/.partial/<stage>/<key>/     being written; never read by another stage
    workspace/.attempts/              one name an attempt, for Prefect's cache (see `attempt`)
    workspace/.locks/                 one lock a stage and key, freed by the kernel when its holder dies

Output is written aside and committed by one rename, so that a reader never sees half of it.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import filelock

from data_contracts import files as contract_files
from fer import errors, refs

RefT = TypeVar("RefT", bound=refs.Ref)
_RECORD = "_ref.json"
_ABANDONED_AFTER_S = 86_400


class Workspace:
    """A folder of committed stage outputs."""

    def __init__(self, root: str | Path):
        self.root = Path(root).resolve()

    def folder(self, ref: refs.Ref) -> Path:
        """Where the output that `ref` names lies. Raises WorkspaceError if it is gone."""
        folder = self.root / ref.path
        if not (folder / _RECORD).is_file():
            raise errors.WorkspaceError(
                "A stage's output must be in the workspace.",
                received=f"nothing at {folder}",
                todo="run the same command again; what is missing is made anew",
            )
        return folder

    def committed(self, stage: str, key: str, ref_type: type[RefT]) -> RefT | None:
        """The Ref committed under (stage, key), or None if there is none or a file of it is gone or cut short."""
        folder = self.root / stage / key
        try:
            record = json.loads((folder / _RECORD).read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        for name, file in record["files"].items():
            try:
                if (folder / name).stat().st_size != file["size_bytes"]:
                    return None
            except FileNotFoundError:
                return None
        return ref_type.model_validate(record["ref"])

    def attempt(self, stage: str, key: str, *, committed: bool) -> str:
        """A name for the output under (stage, key) that stays while it is `committed` and changes once it is gone.

        It lets another cache that refers to the workspace notice that what it remembers is no longer there.
        """
        path = self.root / ".attempts" / f"{stage}-{key}"
        if committed and path.exists():
            return path.read_text()
        with _disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, uuid.uuid4().hex.encode())
        return path.read_text()

    def run(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], *, resumable: bool
    ) -> RefT:
        """Return what is committed under (stage, key); else have `produce(folder)` make it, and commit it.

        With `resumable`, finished files of an earlier attempt are still in the folder that `produce` is given.
        Raises WorkspaceError where the workspace can't be written or is full; nothing half-written stays then.
        """
        found = self.committed(stage, key, ref_type)
        if found is not None:
            return found
        with _disk_errors(self.root), self._locked(stage, key):
            found = self.committed(stage, key, ref_type)  # another process may have made it meanwhile
            if found is not None:
                return found
            self._remove_abandoned(stage, key)
            partial = self.root / ".partial" / stage / key
            final = self.root / stage / key
            if final.exists():  # damaged: `committed` refused it
                shutil.rmtree(partial, ignore_errors=True)
                partial.parent.mkdir(parents=True, exist_ok=True)
                final.rename(partial)
                _remove_damaged_files(partial)
            if not resumable:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True, exist_ok=True)
            for leftover in partial.rglob("*.tmp"):
                leftover.unlink()
            try:
                return self._commit(stage, key, partial, produce(partial))
            except BaseException as error:
                if not (resumable and _worth_resuming(error)):
                    shutil.rmtree(partial, ignore_errors=True)
                with contextlib.suppress(OSError):  # not empty: what is finished is kept
                    partial.rmdir()
                raise

    def _commit(self, stage: str, key: str, partial: Path, made: RefT) -> RefT:
        files = {
            path.relative_to(partial).as_posix(): {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
            for path in sorted(partial.rglob("*"))
            if path.is_file()
        }
        content = "".join(f"{name}\0{file['sha256']}\n" for name, file in files.items() if not _is_about(name))
        ref = made.model_copy(
            update={
                "path": f"{stage}/{key}",
                "digest": made.digest or hashlib.sha256(content.encode()).hexdigest(),
            }
        )
        write_atomically(
            partial / _RECORD, json.dumps({"ref": ref.model_dump(mode="json"), "files": files}, indent=1).encode()
        )
        os.sync()  # the bytes before the name: after a power cut a committed folder is whole
        final = self.root / stage / key
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(final)
        return ref

    @contextlib.contextmanager
    def _locked(self, stage: str, key: str) -> Iterator[None]:
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(locks / f"{stage}-{key}.lock"):
            yield

    def _remove_abandoned(self, stage: str, key: str) -> None:
        """Remove what killed runs of this stage left under other keys, once nothing was added to it for a day.

        Until then it may be resumed, such as a large download after a run of another source. A lock that is held means
        still at work.
        """
        for folder in (self.root / ".partial" / stage).glob("*"):
            if folder.name == key:
                continue
            lock = filelock.FileLock(self.root / ".locks" / f"{stage}-{folder.name}.lock", timeout=0)
            with contextlib.suppress(filelock.Timeout), lock:
                if time.time() - _last_change(folder) > _ABANDONED_AFTER_S:
                    shutil.rmtree(folder, ignore_errors=True)


def _is_about(name: str) -> bool:
    """Whether a file says how the output keeps its contract: another wording of a rule makes no other output."""
    return name == contract_files.CONTRACT or name.startswith(f"{contract_files.DOCS}/")


def _last_change(folder: Path) -> float:
    """The modification time of the newest file in it, or of itself where it is empty (seconds since 1970)."""
    return max((path.stat().st_mtime for path in folder.rglob("*") if path.is_file()), default=folder.stat().st_mtime)


def _remove_damaged_files(folder: Path) -> None:
    """Leave only the files that are as the folder's record says, and no record."""
    try:
        files = json.loads((folder / _RECORD).read_bytes())["files"]
    except (FileNotFoundError, json.JSONDecodeError):
        files = {}
    for path in [each for each in folder.rglob("*") if each.is_file()]:
        expected = files.get(path.relative_to(folder).as_posix())
        if expected is None or path.stat().st_size != expected["size_bytes"] or file_sha256(path) != expected["sha256"]:
            path.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, then rename: a reader sees the old file or the new one, whole.

    Of several writers the last one wins.
    """
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _worth_resuming(error: BaseException) -> bool:
    """Whether the same inputs can do better next time, and what is finished does not stand in the way."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return False
    return not isinstance(error, errors.FerError) or error.may_pass or isinstance(error, errors.WorkspaceError)


_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise errors.WorkspaceError(
                "The workspace must have room for a stage's output.",
                received=f"'{error.strerror}' while writing under {root}",
                todo="free some space or set FER_HOME to a larger disk, then run the same command again",
            ) from error
        if error.errno in _REFUSED:
            raise errors.WorkspaceError(
                "The workspace must be writable.",
                received=f"'{error.strerror}' at {error.filename or root}",
                todo="change its permissions or set FER_HOME to a folder of yours",
            ) from error
        raise
