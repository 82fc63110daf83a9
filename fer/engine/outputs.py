"""The files of a stage's output: its folder while it is written, and once it is committed.

<stage>/<key>/_ref.json       the record: the output's Ref, its files with their sizes and digests, when, by whom and
                              from what it was made, and its own digest
.partial/…/.known/            while it is written: digests of files, known without reading them
.partial/…/.scratch/          while it is written: what only a resumed attempt needs
"""

import concurrent.futures
import datetime
import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypedDict, TypeVar

import pydantic

from data_contracts import files as contract_files
from fer import errors
from fer.engine import disk
from fer.engine.code import key_parts
from fer.engine.processes import process_pool
from fer.engine.refs import Ref

RefT = TypeVar("RefT", bound=Ref)

RECORD = "_ref.json"
KNOWN = ".known"
SCRATCH = ".scratch"
_IN_THE_FIRST = {"ref", "files"}  # fields of the records of the first version
_IN_ALL = {*_IN_THE_FIRST, "made_by", "made_utc"}  # those of all others
_RUN_ID = re.compile(r"\(([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\)$")  # at the end of a run's label
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.ENOSYS)


class File(TypedDict):
    """A file of a committed output."""

    size_bytes: int
    sha256: str


class OutputRecord(NamedTuple):
    """What is in a committed folder: its Ref as JSON holds it, and its files by their names.

    `made_by` is the run, empty where none was named; `made_utc` when, as ISO 8601; `made_on` the machine's name;
    `made_from` the parts of its key, as `key_parts` has them; `seconds` how long it took, None where an attempt went on
    with what another one had finished. Records of earlier versions lack some or all of these.
    """

    ref: dict[str, Any]
    files: dict[str, File]
    made_by: str = ""
    made_utc: str = ""
    made_on: str = ""
    made_from: dict[str, Any] | None = None
    seconds: float | None = None

    @property
    def path(self) -> str:
        """`stage/key`."""
        return str(self.ref["path"])

    @property
    def run_id(self) -> str:
        """The ID of the run that made it; empty where none is named."""
        found = _RUN_ID.search(self.made_by)
        return found[1] if found is not None else ""

    @property
    def size_bytes(self) -> int:
        """The size of all of its files."""
        return sum(file["size_bytes"] for file in self.files.values())

    @property
    def parts(self) -> key_parts.KeyParts | None:
        """The parts of its key; None where they are not known."""
        return None if self.made_from is None else key_parts.parse(self.made_from)

    def provenance(self) -> str:
        """Who made the output and when, in words; empty where neither is known."""
        when = f" on {self.made_utc[:16].replace('T', ' ')} UTC" if self.made_utc else ""
        return f"made{f' by {self.made_by}' if self.made_by else ''}{when}" if self.made_by or when else ""


class Making(NamedTuple):
    """What is known of an output's making before its commit: see OutputRecord."""

    made_by: str = ""
    made_from: key_parts.KeyParts | None = None
    seconds: float | None = None


_UNKNOWN = Making()


class Difference(NamedTuple):
    """A file of a committed folder that is not as it was committed."""

    name: str
    expected: str
    received: str

    def sentence(self) -> str:
        """What must be and what is."""
        return f"{self.name}: expected {self.expected}, received {self.received}"


def link(source: Path, name: str, out: Path, new_name: str, record: OutputRecord | None = None) -> None:
    """Give the file `name` of the committed folder `source` a second name in `out`; copy it if there are no hard links.

    A file with a second name is not read again when `out` is committed: the digest in the `record` of `source`, which
    is read if it is not given, holds.
    Raises IntegrityError if the file is not as that record says: it must be made again.
    """
    record = record or read_record(source)
    file = record.files.get(name) if record is not None else None
    if file is None or not is_whole(source / name, file):
        raise errors.IntegrityError(
            "A committed file must be as it was committed.",
            received=f"another one, or none, at {source / name}",
            todo="run the same command again: it is made again",
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
    note_digest(out, new_name, file["sha256"])


def note_digest(out: Path, name: str, sha256: str) -> None:
    """Note the digest of a whole file in `out`, so that the commit need not read it while it stays as it is now."""
    path = out / KNOWN / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    disk.write(path, json.dumps({"sha256": sha256, "state": _state(out / name)}).encode())


def _state(path: Path) -> list[int]:
    """What changes when another file is put in its place, or when it is written to."""
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


def write_record(folder: Path, ref: Ref, files: Mapping[str, File], making: Making = _UNKNOWN) -> None:
    """Write the record of a folder that is about to be committed."""
    record = OutputRecord(
        ref=ref.model_dump(mode="json"),
        files=dict(files),
        made_by=making.made_by,
        made_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        made_on=platform.node(),
        made_from=None if making.made_from is None else making.made_from.model_dump(mode="json"),
        seconds=None if making.seconds is None else round(making.seconds, 3),
    )
    disk.write(folder / RECORD, disk.sealed(record._asdict()))


def read_record(folder: Path) -> OutputRecord | None:
    """A committed folder's record; None without one that can be read."""
    try:
        return parse_record((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return None


def parse_record(data: bytes) -> OutputRecord | None:
    """What `data`, the bytes of a `_ref.json`, says; None if that can't be read, or is not what was written.

    The names of its files stay within a folder. Records of earlier versions have no digest of their own; what only a
    later version writes is left out.
    """
    try:
        document, is_sealed = disk.unsealed(data)
        if not (document.keys() >= _IN_ALL if is_sealed else document.keys() == _IN_THE_FIRST):
            return None
        record = OutputRecord(**{name: document[name] for name in OutputRecord._fields if name in document})
        is_followed = isinstance(record.ref["path"], str) and all(map(_is_file, record.files.items()))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return record if is_followed else None


def _is_file(item: tuple[str, File]) -> bool:
    name, file = item
    within = not PurePosixPath(name).is_absolute() and ".." not in name.split("/")
    return within and isinstance(file["size_bytes"], int) and isinstance(file["sha256"], str)


def ref_in(record: OutputRecord, ref_type: type[RefT]) -> RefT:
    """The Ref of a committed output. Raises WorkspaceError if it is one of a version with other fields."""
    try:
        return ref_type.model_validate(record.ref)
    except pydantic.ValidationError as error:
        raise errors.WorkspaceError(
            "A stage's output must be one of this version.",
            received=f"{error.error_count()} other fields in the {ref_type.__name__} of {record.ref.get('path')}",
            todo="remove its folder from the workspace, then run the same command again: it is made again",
        ) from error


def has_size(path: Path, file: File) -> bool:
    """Whether a file is there and as long as it was committed."""
    try:
        return path.is_file() and path.stat().st_size == file["size_bytes"]
    except FileNotFoundError:
        return False


def is_whole(path: Path, file: File) -> bool:
    """Whether a file is there, with the bytes that were committed; they are read once in a process."""
    return has_size(path, file) and _sha256(path) == file["sha256"]


def _sha256(path: Path) -> str:
    """SHA-256 of a file; what the disk says instead where it can't give the bytes back."""
    try:
        return disk.sha256_once(path)
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENOENT):
            raise
        return f"unknown: {error.strerror}"


def differences(folder: Path, record: OutputRecord, names: Collection[str] | None = None) -> list[Difference]:
    """What of a committed folder is not as its record says: of the files `names`, or of all that it names.

    Hashed by a thread a usable core.
    """
    wanted = record.files if names is None else {name: record.files[name] for name in names if name in record.files}
    with concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as pool:
        found = list(pool.map(lambda item: _difference(folder, *item), wanted.items()))
    return [difference for difference in found if difference is not None]


def _difference(folder: Path, name: str, file: File) -> Difference | None:
    if is_whole(folder / name, file):
        return None
    if not (folder / name).is_file():
        received = "nothing"
    elif (size := (folder / name).stat().st_size) != file["size_bytes"]:
        return Difference(name, f"{file['size_bytes']:,} bytes", f"{size:,} bytes")
    else:
        received = f"SHA-256 {_sha256(folder / name)}"
    return Difference(name, f"SHA-256 {file['sha256']}", received)


def strays(folder: Path, record: OutputRecord) -> list[str]:
    """The names of files in a committed folder that its record does not name."""
    paths = (Path(top, name) for top, _, names in os.walk(folder) for name in names)  # heedless of what has just gone
    names = (path.relative_to(folder).as_posix() for path in sorted(paths))
    return [name for name in names if name not in record.files and not _is_plumbing(name)]


def _is_plumbing(name: str) -> bool:
    return name == RECORD or name.startswith((f"{KNOWN}/", f"{SCRATCH}/"))


def files(folder: Path) -> dict[str, File]:
    """Size and SHA-256 of every file in a folder that is about to be committed; hashed by a thread a usable core."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    names = [name for name in paths if not _is_plumbing(name)]
    with concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as pool:
        digests = pool.map(lambda name: _known_digest(folder, name) or disk.sha256_once(paths[name]), names)
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


def digest(files: Mapping[str, File]) -> str:
    """The SHA-256 (hex) of an output's content: of the names and digests of its files."""
    content = "".join(f"{name}\0{file['sha256']}\n" for name, file in files.items() if not _is_about_contract(name))
    return hashlib.sha256(content.encode()).hexdigest()


def _is_about_contract(name: str) -> bool:
    """Whether a file says how the output keeps its contract: another wording of a rule makes no other output."""
    return name == contract_files.CONTRACT or name.startswith(f"{contract_files.DOCS}/")


def move(folder: Path, names: Collection[str], target: Path) -> None:
    """Move those of the files `names` in `folder` that are there to `target`, under the same names."""
    for name in names:
        if os.path.lexists(folder / name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(target / name)


def uncommit(final: Path, partial: Path) -> None:
    """Undo a commit: move the folder to `partial`, without its record."""
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    final.rename(partial)
    (partial / RECORD).unlink(missing_ok=True)


def remove_others(folder: Path, files: Mapping[str, File]) -> None:
    """Remove every file that is not one of `files`, whole."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        file = files.get(path.relative_to(folder).as_posix())
        if file is None or not is_whole(path, file):
            path.unlink()


def remove_unfinished(folder: Path) -> None:
    """Remove the files that were being written when an attempt ended."""
    for path in folder.rglob(f"*{disk.UNFINISHED}"):
        path.unlink(missing_ok=True)


def remove_all_but_scratch(folder: Path) -> None:
    """Remove what is finished, which is in the way or in doubt, but not what a training's hours are in."""
    remove_unfinished(folder)
    for path in folder.iterdir():
        if path.name == SCRATCH:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
