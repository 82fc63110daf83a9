"""The beginning of a service's process, by `fer up` and by systemd alike: `python -m flows.operating.run_service NAME`.

It says which process the service is, and then Prefect's program takes its place, in the environment that the
installation gives it: neither a password nor a database's URL is an argument, which others could read.
"""

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from fer import settings
from flows.operating import installation, services

LOCK = "fer-server.lock"
_LOOK_EVERY_S = 1.0


def main(name: str, home: Path) -> None:
    """Become the service of that name. Exits with a message where that can't be."""
    asked = installation.load(home)
    if asked is not None and name == services.STORE:
        _serve_store(home)
        return
    if asked is None or name not in asked.services:
        sys.exit(f"The installation in {home} has no service {name!r}. Next: fer up.")
    kept = installation.server_settings(home)
    if name == installation.SERVER and installation.DATABASE not in kept:
        lock_database(asked.prefect_home)
    for number in (signal.SIGINT, signal.SIGHUP):  # whoever started this may ignore them
        signal.signal(number, signal.SIG_DFL)
    services.record(home, name, asked.ui_url if name == installation.SERVER else None)
    environment = installation.environment(asked, home, name, kept, os.environ)
    command = [sys.executable, "-m", "prefect", *_arguments(asked, name)]
    os.execve(sys.executable, command, environment)  # noqa: S606 - the service takes this process's place, without a shell


def _arguments(asked: installation.Installation, name: str) -> list[str]:
    if name == installation.SERVER:
        return ["--no-prompt", "server", "start", "--host", asked.host, "--port", str(asked.port)]
    worker = ["--name", services.worker_name(name), "--limit", str(asked.runs_at_once)]
    return ["--no-prompt", "worker", "start", "--type", "process", "--pool", asked.pool, *worker]


def _serve_store(home: Path) -> None:
    """Use the embedded store until SIGTERM, so that it stays; exit code 1 once its server is gone, or is to be."""
    from fer.engine.store import process, seaweedfs

    services.record(home, services.STORE, None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with seaweedfs.running(home) as server:
        while process.is_alive(server.pid) and not process.is_stuck(home.resolve() / "store"):
            time.sleep(_LOOK_EVERY_S)
    sys.exit("The store's server has ended, or was left stuck by a full disk: it is started anew.")


def lock_database(prefect_home: Path) -> int:
    """Hold a lock for as long as this process lives: two servers on one SQLite database would schedule each run twice.

    Returns the descriptor of its file, which the program that takes this one's place inherits.
    """
    descriptor = os.open(prefect_home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(
            f"Another installation's server uses the database in {prefect_home}. "
            "Next: end that one (fer down, with its FER_HOME), or set PREFECT_HOME to another folder for this one."
        )
    os.set_inheritable(descriptor, True)
    return descriptor


if __name__ == "__main__":
    main(sys.argv[1], settings.Settings.load().home)
