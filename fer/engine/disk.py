"""Files on the disk: replaced whole or not at all, their SHA-256, and the errors of a disk that takes no more.

Documents in JSON that are sealed hold the SHA-256 of their own content.
"""

import contextlib
import errno
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fer import errors

SEAL = "sha256"  # the field of a sealed document
UNFINISHED = ".tmp"  # how the names of files end that are being written
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_TICK_NS = 50_000_000  # file systems tell times of writing to some milliseconds
_digests: dict[tuple[int, int], tuple[tuple[int, int], str]] = {}  # device and inode -> size and time, SHA-256


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A new name beside `path` for the block to write to, which then takes the place of `path` by one rename.

    A reader sees the old file or the new one, whole; of several writers the last one wins. If the block raises, `path`
    stays as it was and nothing else stays. `sync`: the bytes are on the disk before the name is.
    """
    with staging_file(path) as staging:
        yield staging
        if sync:
            with staging.open("rb") as file:
                os.fsync(file.fileno())
        staging.replace(path)


@contextlib.contextmanager
def staging_file(path: Path) -> Iterator[Path]:
    """A new name beside `path`, for a file that is removed when the block ends, however it ends."""
    staging = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        yield staging
    finally:
        staging.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all (see `replacing`). Raises OSError."""
    with replacing(path) as staging:
        staging.write_bytes(data)


def write_private(path: Path, data: bytes) -> None:
    """The same, for its owner alone to read, from the first byte on. Raises OSError."""
    with (
        replacing(path) as staging,
        os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
    ):
        file.write(data)


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_once(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, which are read once in this process while the file is not written to."""
    stat = path.stat()
    file, state = (stat.st_dev, stat.st_ino), (stat.st_size, stat.st_mtime_ns)
    known = _digests.get(file)
    if known is not None and known[0] == state:
        return known[1]
    begun = time.time_ns()
    digest = sha256(path)
    if stat.st_mtime_ns < begun - _TICK_NS:  # else it may be written to again without another time
        _digests[file] = state, digest
    return digest


def sealed(document: Mapping[str, Any]) -> bytes:
    """The document as JSON, with a field that holds the SHA-256 of the others."""
    return json.dumps({**document, SEAL: seal(document)}, indent=1).encode()


def unsealed(data: bytes) -> tuple[dict[str, Any], bool]:
    """The document with these bytes, and whether it was sealed. Raises ValueError if it is not as it was sealed."""
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("no object")
    named = document.pop(SEAL, None)
    if named is not None and named != seal(document):
        raise ValueError("its SHA-256 is not the one that it names")
    return document, named is not None


def seal(document: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a document's content, however its JSON is laid out."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_full(error: BaseException) -> bool:
    """Whether the error is that of a full disk, or of a quota that is used up."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextlib.contextmanager
def workspace_errors(root: Path) -> Iterator[None]:
    """Raise WorkspaceError where the disk of the workspace `root` is full or may not be written."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            todo = "free some space or set FER_HOME to a larger disk, then run the same command again"
        elif error.errno in _REFUSED:
            todo = "change its permissions or set FER_HOME to a folder of yours"
        else:
            raise
        raise refused(error, root, todo) from error


def refused(error: OSError, folder: Path, todo: str) -> errors.WorkspaceError:
    """The error of a write under `folder` that the operating system refused; `todo` says what to do about it."""
    return errors.WorkspaceError(
        f"The operating system refused to write at {error.filename or folder}: {error.strerror or error}.", todo=todo
    )
