"""Where Prefect's database of this machine is, and who uses it."""

import contextlib
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import psutil

from flows.operating import installation, run_service

_OLDER_NAME = "PREFECT_API_DATABASE_CONNECTION_URL"


def url(home: Path, environment: Mapping[str, str]) -> str | None:
    """The database that the server is told to use, by the installation in `home` or the environment; None: its own."""
    given = installation.given_settings(environment, installation.server_settings(home))
    return given.get(installation.DATABASE) or given.get(_OLDER_NAME)


def sqlite_file(home: Path, environment: Mapping[str, str]) -> Path | None:
    """The file of Prefect's database, there or not; None if it is none of SQLite's."""
    named = url(home, environment)
    if named is None:
        asked = installation.load(home)
        prefect_home = asked.prefect_home if asked is not None else installation.default_prefect_home(environment)
        return prefect_home / "prefect.db"
    kind, _, path = named.partition(":///")
    return Path(path.partition("?")[0]) if kind.startswith("sqlite") and path else None


def users(database: Path) -> list[str]:
    """Which processes of this user have the database open, or are its server, in words."""
    found = []
    files = {str(database.resolve()), f"{database.resolve()}-wal"}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if any(file.path in files for file in process.open_files()):
                found.append(f"process {process.pid} ({process.name()})")
    return found or (["the server of an installation"] if _is_locked(database.parent / run_service.LOCK) else [])


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
