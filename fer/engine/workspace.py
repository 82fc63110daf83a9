"""The workspace: where stages leave their output.

    workspace/<stage>/<key>/          committed; `_ref.json` says what is in it
    workspace/.partial/<stage>/<key>/     being written; never read by another stage
    workspace/.<kind>/                notes, which change: `.attempts` (see `attempt`), `.accepted` (the baseline)
    workspace/.locks/                 one lock a stage and key, freed by the kernel when its holder dies

Output is written aside and committed by one rename, so that a reader never sees half of it.
"""

import concurrent.futures
import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar

import filelock
import pydantic

from data_contracts import files as contract_files
from fer import errors
from fer.engine import disk, process_pool
from fer.engine.refs import Ref

RefT = TypeVar("RefT", bound=Ref)
RECORD = "_ref.json"
KNOWN = ".known"  # in a folder that is being written: what is known of files in it without reading them
SCRATCH = ".scratch"  # in a folder that is being written: what only an attempt that goes on needs
ABANDONED_AFTER_S = 86_400
SCRATCH_ABANDONED_AFTER_S = 14 * 86_400
_ATTEMPTS = "attempts"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.ENOSYS)


class File(TypedDict):
    """A file of a committed output."""

    size_bytes: int
    sha256: str


class Record(NamedTuple):
    """What is in a committed folder: its Ref as JSON holds it, and its files by their names."""

    ref: dict[str, Any]
    files: dict[str, File]


class Note(NamedTuple):
    """A small file that changes, and where it is."""

    place: str
    data: bytes


class Workspace:
    """A folder of committed stage outputs."""

    def __init__(self, root: str | Path):
        self.root = Path(root).resolve()

    def folder(self, ref: Ref) -> Path:
        """Where the output that `ref` names lies. Raises WorkspaceError if it is gone."""
        folder = self.root / ref.path
        if not (folder / RECORD).is_file():
            raise errors.WorkspaceError(
                "A stage's output must be in the workspace.",
                received=f"nothing at {folder}",
                todo="run the same command again; what is missing is made anew",
            )
        return folder

    def committed(self, stage: str, key: str, ref_type: type[RefT]) -> RefT | None:
        """The Ref committed under (stage, key), or None if there is none or a file of it is gone or cut short."""
        folder = self.root / stage / key
        record = read_record(folder)
        if record is None or not all(has_size(folder / name, file) for name, file in record.files.items()):
            return None
        return ref_type.model_validate(record.ref)

    def outputs(self, stage: str, ref_type: type[RefT]) -> list[RefT]:
        """All that `committed` finds of a stage, newest first. Those of a version with another Ref are left out."""
        records = sorted((self.root / stage).glob(f"*/{RECORD}"), key=lambda path: path.stat().st_mtime, reverse=True)
        found = []
        for path in records:
            with contextlib.suppress(pydantic.ValidationError):
                found.append(self.committed(stage, path.parent.name, ref_type))
        return [each for each in found if each is not None]

    def attempt(self, stage: str, key: str, *, committed: bool) -> str:
        """A name for the output under (stage, key) that stays while it is `committed` and changes once it is gone.

        It lets another cache that refers to the workspace notice that what it remembers is no longer there.
        """
        name = f"{stage}-{key}"
        found = self.note(_ATTEMPTS, name) if committed else None
        if found is not None:
            return found.data.decode()
        made = uuid.uuid4().hex
        with disk.workspace_errors(self.root):
            self.write_note(_ATTEMPTS, name, made.encode())
        return made

    def note(self, kind: str, name: str) -> Note | None:
        """The note of that name, or None."""
        path = self.root / f".{kind}" / name
        try:
            return Note(str(path), path.read_bytes())
        except FileNotFoundError:
            return None

    def notes(self, kind: str) -> list[Note]:
        """All notes of a kind whose names end in `.json`, in the order of their names."""
        found = [self.note(kind, path.name) for path in sorted((self.root / f".{kind}").glob("*.json"))]
        return [each for each in found if each is not None]

    def write_note(self, kind: str, name: str, data: bytes) -> None:
        """Write a note whole, whatever was there; of several writers the last one wins."""
        path = self.root / f".{kind}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, data)

    def run(
        self, stage: str, key: str, ref_type: type[RefT], produce: Callable[[Path], RefT], *, resumable: bool
    ) -> RefT:
        """Return what is committed under (stage, key); else have `produce(folder)` make it, and commit it.

        With `resumable`, finished files of an earlier attempt are still in the folder that `produce` is given; what it
        keeps in `.scratch` there is not committed.
        Raises WorkspaceError where the workspace can't be written or is full; nothing half-written stays then.
        """
        found = self.committed(stage, key, ref_type)
        if found is not None:
            return found
        with disk.workspace_errors(self.root), self.locked(stage, key):
            found = self.committed(stage, key, ref_type)  # another process may have made it meanwhile
            if found is not None:
                return found
            self._remove_abandoned(stage, key)
            partial = self.root / ".partial" / stage / key
            final = self.root / stage / key
            if final.exists():  # damaged: `committed` refused it
                take_apart(final, partial)
            if not resumable:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True, exist_ok=True)
            _remove_unfinished(partial)
            try:
                return self._commit(stage, key, partial, produce(partial))
            except BaseException as error:
                if resumable and (disk.is_full(error) or isinstance(error, _NOT_OF_THE_STAGE)):
                    _remove_all_but_scratch(partial)
                elif not (resumable and _worth_resuming(error)):
                    shutil.rmtree(partial, ignore_errors=True)
                with contextlib.suppress(OSError):  # not empty: what is finished is kept
                    partial.rmdir()
                raise

    def _commit(self, stage: str, key: str, partial: Path, made: RefT) -> RefT:
        _remove_unfinished(partial)  # a Dask worker that was given up may have begun one
        files = _files(partial)
        shutil.rmtree(partial / KNOWN, ignore_errors=True)
        content = "".join(f"{name}\0{file['sha256']}\n" for name, file in files.items() if not _is_about(name))
        ref = made.model_copy(
            update={
                "path": f"{stage}/{key}",
                "digest": made.digest or hashlib.sha256(content.encode()).hexdigest(),
            }
        )
        disk.write(
            partial / RECORD, json.dumps({"ref": ref.model_dump(mode="json"), "files": files}, indent=1).encode()
        )
        os.sync()  # the bytes before the name: after a power cut a committed folder is whole
        final = self.root / stage / key
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(final)
        shutil.rmtree(final / SCRATCH, ignore_errors=True)
        return ref

    @contextlib.contextmanager
    def locked(self, stage: str, key: str) -> Iterator[None]:
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(locks / f"{stage}-{key}.lock"):
            yield

    def _remove_abandoned(self, stage: str, key: str) -> None:
        """Remove what killed runs of this stage left under other keys, once nothing was added to it for a day.

        Until then it may be resumed, such as a large download after a run of another source; for two weeks if it has a
        checkpoint, of which other trainings must not rob one that goes on later. A lock that is held means still at
        work.
        """
        for folder in (self.root / ".partial" / stage).glob("*"):
            if folder.name == key:
                continue
            lock = filelock.FileLock(self.root / ".locks" / f"{stage}-{folder.name}.lock", timeout=0)
            with contextlib.suppress(filelock.Timeout), lock:
                has_scratch = any(path.is_file() for path in (folder / SCRATCH).rglob("*"))
                kept_s = SCRATCH_ABANDONED_AFTER_S if has_scratch else ABANDONED_AFTER_S
                if time.time() - _last_change(folder) > kept_s:
                    shutil.rmtree(folder, ignore_errors=True)


def link(source: Path, name: str, out: Path, new_name: str, record: Record | None = None) -> None:
    """Give the file `name` of the committed folder `source` a second name in `out`; copy it if there are no hard links.

    A file with a second name is not read again when `out` is committed: the digest in the `record` of `source`, which
    is read if it is not given, holds.
    Raises IntegrityError if the file is not as that record says: then it is to be made anew.
    """
    record = record or read_record(source)
    file = record.files.get(name) if record is not None else None
    if file is None or not is_kept(source, name, file):
        raise errors.IntegrityError(
            "A committed file must be as it was committed.",
            received=f"another one, or none, at {source / name}",
            todo="remove it, then run the same command again: it is made anew",
        )
    target = out / new_name
    target.parent.mkdir(parents=True, exist_ok=True)
    with disk.replacing(target) as staging:
        try:
            os.link(source / name, staging)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(source / name, staging)
            return
    know(out, new_name, file["sha256"])


def know(out: Path, name: str, sha256: str) -> None:
    """Note the digest of a whole file in `out`, so that the commit need not read it while it stays as it is now."""
    path = out / KNOWN / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    disk.write(path, json.dumps({"sha256": sha256, "state": _state(out / name)}).encode())


def _state(path: Path) -> list[int]:
    """What changes when another file is put in its place, or when it is written to."""
    found = path.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def read_record(folder: Path) -> Record | None:
    """A committed folder's record; None without one that can be read."""
    try:
        return parse_record((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return None


def parse_record(data: bytes) -> Record | None:
    """What `data`, the bytes of a `_ref.json`, says; None if that can't be read."""
    try:
        found = json.loads(data)
        return Record(dict(found["ref"]), dict(found["files"]))
    except (ValueError, LookupError, TypeError):
        return None


def has_size(path: Path, file: File) -> bool:
    """Whether a file is there and as long as it was committed."""
    try:
        return path.stat().st_size == file["size_bytes"]
    except FileNotFoundError:
        return False


def is_kept(folder: Path, name: str, file: File) -> bool:
    """Whether a file is as it was committed. One that was not written to since, by its times, is not read."""
    path = folder / name
    if not has_size(path, file):
        return False
    is_older = path.stat().st_mtime_ns <= (folder / RECORD).stat().st_mtime_ns
    return is_older or disk.sha256(path) == file["sha256"]


def _files(folder: Path) -> dict[str, File]:
    """Size and SHA-256 of every file in a folder that is about to be committed; hashed by a thread a usable core."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    names = [name for name in paths if name != RECORD and not name.startswith((f"{KNOWN}/", f"{SCRATCH}/"))]
    with concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as pool:
        digests = pool.map(lambda name: _known_digest(folder, name) or disk.sha256(paths[name]), names)
        return {
            name: File(size_bytes=paths[name].stat().st_size, sha256=digest)
            for name, digest in zip(names, digests, strict=True)
        }


def _known_digest(folder: Path, name: str) -> str | None:
    try:
        known = json.loads((folder / KNOWN / f"{name}.json").read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return str(known["sha256"]) if known["state"] == _state(folder / name) else None


def _is_about(name: str) -> bool:
    """Whether a file says how the output keeps its contract: another wording of a rule makes no other output."""
    return name == contract_files.CONTRACT or name.startswith(f"{contract_files.DOCS}/")


def _last_change(folder: Path) -> float:
    """The modification time of the newest file in it, or of itself where it is empty (seconds since 1970)."""
    return max((path.stat().st_mtime for path in folder.rglob("*") if path.is_file()), default=folder.stat().st_mtime)


def take_apart(final: Path, partial: Path) -> None:
    """Undo a commit: move the folder to `partial`, but for its record and the files that are not as it says."""
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    final.rename(partial)
    record = read_record(partial)
    remove_others(partial, record.files if record is not None else {})


def remove_others(folder: Path, files: Mapping[str, File]) -> None:
    """Remove every file that is not one of `files`, whole."""
    for path in [each for each in folder.rglob("*") if each.is_file()]:
        file = files.get(path.relative_to(folder).as_posix())
        if file is None or not has_size(path, file) or disk.sha256(path) != file["sha256"]:
            path.unlink()


def _remove_unfinished(folder: Path) -> None:
    for path in folder.rglob(f"*{disk.UNFINISHED}"):
        path.unlink(missing_ok=True)


def _remove_all_but_scratch(folder: Path) -> None:
    """Remove what is finished, which is in the way or in doubt, but not what a training's hours are in."""
    _remove_unfinished(folder)
    for path in folder.iterdir():
        if path.name == SCRATCH:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _worth_resuming(error: BaseException) -> bool:
    """Whether the same inputs can do better next time."""
    if isinstance(error, errors.Diverged):
        return False
    of_the_machine = (errors.WorkspaceError, errors.TrainingError)
    return not isinstance(error, errors.FerError) or error.transient or isinstance(error, of_the_machine)


_NOT_OF_THE_STAGE = (errors.IntegrityError, errors.ConfigError)  # a damaged input, or the environment's mistake
