"""An installation by `fer up` in an empty folder, with a real server, worker and store, as its users have it."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import quick_demo
import shell
from prefect.client.orchestration import SyncPrefectClient

from fer.recipes import overrides

ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 600  # on a busy machine


@dataclass(frozen=True)
class Installed:
    """A running installation: `home` is its user's, the data is in `home / "fer"`."""

    home: Path
    port: int
    environment: dict[str, str]

    @property
    def url(self) -> str:
        """The address of the server's API."""
        return f"http://127.0.0.1:{self.port}/api"

    def fer(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What a `fer` command prints, which must end with this exit code."""
        return self._printed([*shell.FER, *arguments], self.home, environment, code)

    def prefect(self, *arguments: str, folder: Path = ROOT, **environment: str) -> str:
        """What a `prefect` command prints, called in `folder`, with the line that `fer up` names."""
        own = {"PREFECT_API_URL": self.url, "PWD": str(folder), "COLUMNS": "300", **environment}
        return self._printed([sys.executable, "-m", "prefect", "--no-prompt", *arguments], folder, own, 0)

    def client(self) -> SyncPrefectClient:
        """A client of the server that asks for no password."""
        return SyncPrefectClient(self.url)

    def processes(self) -> list[psutil.Process]:
        """All live processes of the installation, its store and runs among them."""
        return shell.of_home(self.home)

    def pid(self, service: str) -> int:
        """The process of the service, as `fer up` recorded it."""
        return int(json.loads((self.home / "fer" / "installation" / f"{service}.json").read_text())["pid"])

    def logs(self) -> str:
        """What all services wrote to their logs."""
        return "".join(path.read_text(errors="replace") for path in (self.home / "fer" / "logs").iterdir())

    def _printed(self, command: list[str], folder: Path, environment: dict[str, str], code: int) -> str:
        done = subprocess.run(
            command,
            cwd=folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout


@contextlib.contextmanager
def up(home: Path, *options: str, **environment: str) -> Iterator[Installed]:
    """An installation in this home for the length of the block, by `fer up` with these options and variables.

    What is left of it after the block is ended by `fer down`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quick = {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}
    installation = Installed(home, port, shell.bare(home) | quick | {"NO_PROXY": "127.0.0.1"})
    if "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in environment:
        shell.give_prefect_database(home)
    (home / "fer" / "logs").mkdir(parents=True)
    try:
        installation.fer("up", "--port", str(port), *options, **environment)
        yield installation
    finally:
        installation.fer("down")


def few_faces() -> dict[str, Any]:
    """Parameters with which the flows `retrain` and `ingest` take seconds."""
    settings = overrides.parse_settings(quick_demo.SETTINGS).model_dump(mode="json", exclude_unset=True)
    return {"sources": ["demo"], "recipe": "demo", "settings": settings}


def until(condition: Callable[[], bool], *, timeout_s: float = 120) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
