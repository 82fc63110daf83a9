"""A PostgreSQL server on loopback, from the machine's own programs, with a password and a folder of its own."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_DEBIAN = Path("/usr/lib/postgresql")
_START_TIMEOUT_S = 60
_USERS = ("postgres", "nobody")  # PostgreSQL does not run as root


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None where they are not installed."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(_DEBIAN.glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The URL of its empty database, for SQLAlchemy with asyncpg, for as long as the `with` block lasts."""
    binaries = programs()
    if binaries is None:
        raise FileNotFoundError("initdb and postgres must be installed.")
    user = _user()
    with tempfile.TemporaryDirectory(prefix="fer-postgresql-") as name:
        folder, password = Path(name), secrets.token_hex(16)
        secret = folder / "password"
        secret.write_text(password)
        if user is not None:
            for path in (folder, secret):
                shutil.chown(path, user)
        make = [binaries / "initdb", "-D", folder / "data", "-U", "prefect", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run(
            [*make, f"--pwfile={secret}"], user=user, cwd=folder, check=True, capture_output=True, timeout=120
        )
        port = _free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", *options], user=user, cwd=folder, stdout=log, stderr=log
            )
        try:
            _wait_until_ready(server, port, folder / "log")
            yield f"postgresql+asyncpg://prefect:{password}@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            server.kill()
            server.wait()


def _user() -> str | None:
    """The user that the server runs as; None for this process's own."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in _USERS if user in known)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_until_ready(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
