"""The embedded S3 store: SeaweedFS from its PyPI wheel, one process on loopback, for machines without a store.

    <home>/store/credentials.json   made at the first start (see `credentials`)
    <home>/store/stay               there while `up` asked the server to outlive its users
    <home>/store/users.lock         held shared (flock) by each user; when no one does, the server is stopped
    <home>/store/start.lock         held while starting or stopping
    <home>/store/used               tells whether it was used since (see `uses`)

Once its last user is gone the server's `keeper` stops it, which takes seconds that no user waits for. The kernel frees
the locks of those that were killed.
"""

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from fer import errors
from fer.engine import disk
from fer.engine.store import credentials, process, uses
from fer.engine.store.credentials import Credentials
from fer.engine.store.process import Server

_ANSWER_TIMEOUT_S = 10  # for a server that is alive: under load it may be late
_POLL_S = 0.05
_ANSWERED_S = 5  # a server that answered this process so short a time ago is not asked again

_answered: dict[Server, float] = {}  # when, by the monotonic clock


def up(home: Path) -> Server:
    """Start the store, or find it running; it stays until `down`.

    Raises StoreUnavailable if it does not start, or if it does not answer and others use it; WorkspaceError if its
    folder can't be written.
    """
    folder = _folder(home)
    with _starting(folder), _users(folder) as users:
        server = _shared_server(folder, users)
        with _disk_errors(folder):
            (folder / "stay").touch()
            uses.renew(folder)
        return server


def down(home: Path) -> bool:
    """Let the store go: True if it is stopped now, False if someone uses it (their last one out stops it)."""
    folder = _folder(home)
    with _starting(folder), _users(folder) as users:
        (folder / "stay").unlink(missing_ok=True)
        with _disk_errors(folder):
            uses.renew(folder)
        if not _is_last(users):
            return False
        process.stop(folder)
        return True


def status(home: Path) -> Server | None:
    """The store if it runs and knows our credentials, else None. Changes nothing."""
    folder = home.resolve() / "store"
    server = process.live(folder)
    return server if server is not None and process.answers(folder, server) else None


@contextlib.contextmanager
def running(home: Path) -> Iterator[Server]:
    """The store for as long as the `with` block lasts: a running one is shared, else one is started.

    With its last user it ends, unless `up` asked it to stay. Raises as `up` does.
    """
    folder = _folder(home)
    with _users(folder) as users:
        with _starting(folder):
            is_alone = _is_last(users)
            server = _shared_server(folder, users)
            with _disk_errors(folder):
                token = uses.renew(folder)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield server
        finally:
            with _starting(folder):
                is_last = _is_last(users)
                if not (is_alone and is_last and uses.token(home) == token):
                    with contextlib.suppress(OSError):  # of a full disk, at the end of all that it was used for
                        uses.renew(folder)
                if is_last and not (folder / "stay").exists():
                    process.let_go(folder)
                fcntl.flock(users, fcntl.LOCK_UN)  # before start.lock is free, or `down` would see a user


def token_unless_used(home: Path) -> str | None:
    """The token of the store (see `uses`) if nobody uses it now, though it may run; None if somebody does.

    Who asks a running store for something after that, and finds the same token later, knows that it still holds.
    """
    folder = _folder(home)
    with _starting(folder), _users(folder) as users:
        return uses.token(home) if _is_last(users) else None


def access(home: Path) -> tuple[str, Credentials | None]:
    """The endpoint and credentials of the store that was started. Raises StoreUnavailable if none was."""
    folder = home.resolve() / "store"
    server = process.recorded(folder)
    if server is None:
        raise errors.StoreUnavailable(
            "The embedded store must run.", received=f"none from {folder}", todo="start it (fer store up)"
        )
    return server.endpoint, credentials.read(folder)


def _folder(home: Path) -> Path:
    folder = home.resolve() / "store"
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        (folder / "users.lock").touch(mode=0o600)  # fails here if the folder can't be written
    return folder


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        todo = "free some space, change its permissions, or set FER_HOME to another folder"
        raise disk.refused(error, folder, todo) from error


@contextlib.contextmanager
def _starting(folder: Path) -> Iterator[None]:
    with filelock.FileLock(folder / "start.lock"):
        yield


@contextlib.contextmanager
def _users(folder: Path) -> Iterator[int]:
    """A descriptor of users.lock, not locked yet; closing it gives up what it held."""
    descriptor = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_last(users: int) -> bool:
    """Whether nobody else uses the store. Only under start.lock: what `users` held may be given up by asking."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shared_server(folder: Path, users: int) -> Server:
    """The live server once it answers, or else a new one, as for one that a full disk has left stuck; but a live one
    that others use is not stopped."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while (server := process.live(folder)) is not None:
        if time.monotonic() - _answered.get(server, -math.inf) < _ANSWERED_S:
            return server
        if process.answers(folder, server):
            if process.is_stuck(folder) and _is_last(users):
                break
            _answered[server] = time.monotonic()
            return server
        if time.monotonic() > deadline:
            if _is_last(users):
                break
            raise errors.StoreUnavailable(
                "The embedded store must answer.",
                received=f"no answer from its process {server.pid}, which other runs use",
                todo=f"try again later; if it stays so, read {folder / 'log'}, end these runs and try again",
            )
        time.sleep(_POLL_S)
    with _disk_errors(folder):
        return process.start(folder)
