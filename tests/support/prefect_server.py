"""One temporary Prefect server for all processes of a test run, from the first that needs it to the last that leaves.

It is started by a process of its own (this file as a script), which ends it when no test process holds the lock
`users` any more: the kernel frees the locks of those that were killed.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import httpx
import psutil
import shared

_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 30


def migrated_database() -> Path:
    """An empty database of Prefect, made once: to make one takes it ten seconds."""

    def make(folder: Path) -> None:
        upgrade = [Path(sys.executable).with_name("prefect"), "server", "database", "upgrade", "-y"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PREFECT_HOME": str(folder)}
        subprocess.run(upgrade, env=environment, check=True, capture_output=True, timeout=300)

    return shared.made_once("prefect-database", make) / "prefect.db"


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The URL of the server's API, for as long as the `with` block lasts."""
    folder = shared.folder() / "prefect-server"
    folder.mkdir(exist_ok=True)
    with (folder / "users").open("w") as users:
        with filelock.FileLock(folder / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)  # waits for one that is about to end
            address = folder / "url"
            if not address.exists():
                address.write_text(_start(folder))
        yield address.read_text()


def wait_until_ended() -> None:
    """Return when no server of this test run is left."""
    with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
        psutil.Process(int((shared.folder() / "prefect-server" / "pid").read_text())).wait(_STOP_TIMEOUT_S)


def _start(folder: Path) -> str:
    database = folder / "prefect.db"
    shutil.copyfile(migrated_database(), database)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.5",  # tests wait for events
        "PREFECT__SERVER_EPHEMERAL": "1",  # as those that a run starts for itself: without a scheduler
        "PREFECT__SERVER_FINAL": "1",
    }
    application = ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on", "--log-level", "error"]
    command = [sys.executable, "-m", "uvicorn", *application, "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        keeper = subprocess.Popen(
            [sys.executable, __file__, str(folder), *command],
            env={**os.environ, **own},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (folder / "pid").write_text(str(keeper.pid))
    deadline = time.monotonic() + _START_TIMEOUT_S
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < deadline and keeper.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if http.get(f"http://127.0.0.1:{port}/api/health").is_success:
                    return f"http://127.0.0.1:{port}/api"
            time.sleep(0.1)
    raise RuntimeError(f"Prefect's server did not start: {(folder / 'log').read_text()}")


def _keep(folder: Path, command: list[str]) -> None:
    """Run the server until nobody holds `users`."""
    server = subprocess.Popen(command)
    with (folder / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / "url").unlink(missing_ok=True)
        server.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(5)
        server.kill()
        server.wait()


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), sys.argv[2:])
