"""What of a workspace's folder is in use: when each output was used last, and which processes work with it now.

    .used/<stage>/<key>      empty; its time is that of the output's last use
    .running/<ID>.lock       held (flock) by a process while it works; its time is when it began

What removes outputs asks for both. Who uses an output marks it first and looks for it then; who removes one takes it
out of the way first and looks for a new mark then: so one of them sees the other, and nothing vanishes under a reader.
"""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

MARKS = ".used"
_RUNNING = ".running"


def mark(root: Path, stage: str, key: str) -> None:
    """Note that the output is used now, by who is about to look for it."""
    path = _mark(root, stage, key)
    with contextlib.suppress(OSError):  # where the workspace can't be written, nothing can be removed from it either
        try:
            path.touch()
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def last_use(root: Path, stage: str, key: str) -> float:
    """When the output was marked last (seconds since 1970); 0 if it never was."""
    try:
        return _mark(root, stage, key).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def forget(root: Path, stage: str, key: str) -> None:
    """Remove the mark of an output that is gone."""
    _mark(root, stage, key).unlink(missing_ok=True)


@contextlib.contextmanager
def working(root: Path) -> Iterator[None]:
    """Be known as at work with the workspace, for as long as the `with` block or the process lasts."""
    try:
        path, descriptor = _held(root / _RUNNING)
    except OSError:  # as in `mark`
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def busy_since(root: Path) -> float:
    """When the oldest of those began that are at work now (seconds since 1970); infinity if none is.

    What killed processes left is removed.
    """
    since = float("inf")
    for path in (root / _RUNNING).glob("*.lock"):
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _lock(descriptor):
                    path.unlink(missing_ok=True)
                else:
                    since = min(since, os.fstat(descriptor).st_mtime)
            finally:
                os.close(descriptor)
    return since


def _held(folder: Path) -> tuple[Path, int]:
    """A lock file in the folder, and the descriptor that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / f"{uuid.uuid4().hex}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # taken for one that a killed process left, between its making and its locking
        time.sleep(0)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mark(root: Path, stage: str, key: str) -> Path:
    return root / MARKS / stage / key
