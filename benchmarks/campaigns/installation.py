"""An installation for a trial, as `fer up` makes it, and a deployment of the quick demo, all in one folder.

The quick demo's faces come from a small Kaggle on loopback, behind a proxy that can spoil its answers; the store is the
embedded one, or the same behind such a proxy.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State

from benchmarks.campaigns import faulty_proxy, trials
from fer.engine.store import seaweedfs
from fer.engine.store.objectstore import ObjectStore
from fer.ingest.demo import archive
from fer.recipes import catalog
from fer.settings import Settings
from flows.operating import automations

MODEL = "demo"
SOURCE = "kaggle:faces/drawn"
POOL = "fer"
_COMMAND_TIMEOUT_S = 300
_ANSWER_TIMEOUT_S = 180
_ASK_EVERY_S = 0.5
_GONE_WITHIN_S = 40  # a busy machine's process of a run takes seconds to end after its last state
_FORKS = "fork_server.main"  # of the process from which children are forked, and of these
_ROLES = {  # words of the command lines
    "server": ("server start",),
    "worker": ("worker start",),
    "run": ("prefect.engine",),
    "training": ("fork_server", "child_process"),
    "store": ("weed", "keeper.py"),
}


class Installation:
    """One in `home`, whose server has a port of its own."""

    def __init__(self, home: Path, *, is_store_spoilt: bool = False) -> None:
        self.home = home
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}/api"
        self.client = SyncPrefectClient(self.url)
        self.kaggle: faulty_proxy.FaultyProxy
        self.store: faulty_proxy.FaultyProxy | None = None
        self._is_store_spoilt = is_store_spoilt
        self._environment = trials.environment(home)
        self._deployment_id: UUID

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Everything is up and deployed for the block."""
        with contextlib.ExitStack() as stack:
            self.kaggle = stack.enter_context(_kaggle(self.home))
            no_proxy = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
            self._environment |= {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": self.kaggle.url} | no_proxy
            stack.callback(self.down)
            if self._is_store_spoilt:
                self.store = stack.enter_context(self._store_behind_a_proxy())
            self.up()
            self._deploy()
            yield

    def up(self) -> None:
        """Start what does not run, as an operator would."""
        self._must("up", "--port", str(self._port))
        if self._is_store_spoilt:
            seaweedfs.up(self.home / "fer")

    def down(self) -> None:
        """End it."""
        self._must("down")
        seaweedfs.down(self.home / "fer")

    def processes(self, role: str) -> list[psutil.Process]:
        """The live ones of a role: server, worker, run (the process in which the flow is), training or store.

        Training is what works for a run: not the process from which such are forked.
        """
        found = []
        for process in trials.processes(self.home):
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                is_of_role = any(words in line for words in _ROLES[role])
                if is_of_role and (_FORKS not in line or _FORKS in " ".join(psutil.Process(process.ppid()).cmdline())):
                    found.append(process)
        return found

    def strays(self) -> list[str]:
        """The command lines of what is alive some seconds from now and is no part that stays."""
        deadline = time.monotonic() + _GONE_WITHIN_S
        while True:
            staying = {process.pid for role in ("server", "worker", "store") for process in self.processes(role)}
            strays = [process for process in trials.processes(self.home) if process.pid not in staying]
            if not strays or time.monotonic() > deadline:
                return trials.shown(strays)
            time.sleep(_ASK_EVERY_S)

    def start_run(self, **parameters: Any) -> UUID:
        """A run of the deployment, as by `prefect deployment run`, with some of its parameters replaced."""
        return self.client.create_flow_run_from_deployment(self._deployment_id, parameters=parameters).id

    def run(self, run_id: UUID) -> FlowRun:
        """The run as the server has it now; it is waited for where it is just about to start."""
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        while True:
            try:
                return self.client.read_flow_run(run_id)
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_ASK_EVERY_S)

    def is_over(self, run_id: UUID) -> bool:
        """Whether the run has ended; one that a server which is down can't tell of has not."""
        try:
            state = self.client.read_flow_run(run_id).state
        except httpx.HTTPError:
            return False
        return state is not None and state.is_final()

    def wait(self, run_id: UUID, timeout_s: float) -> "State[Any]":
        """The state in which the run ended, or that in which it is after so long."""
        deadline = time.monotonic() + timeout_s
        while not self.is_over(run_id) and time.monotonic() < deadline:
            time.sleep(_ASK_EVERY_S)
        state = self.run(run_id).state
        assert state is not None  # a run begins in one
        return state

    def slots_taken(self) -> int:
        """Of the deployment's concurrency limit."""
        limit = self.client.read_deployment(self._deployment_id).global_concurrency_limit
        return 0 if limit is None else limit.active_slots

    def fer(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """What an operator would type here."""
        command = [sys.executable, "-c", "from flows.cli.app import process; process()", *arguments]
        return subprocess.run(
            command,
            env=self._environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )

    def _must(self, *arguments: str) -> None:
        done = self.fer(*arguments)
        if done.returncode != 0:
            raise SystemExit(f"fer {' '.join(arguments)} must succeed. Received: {done.stdout}{done.stderr}")

    def log(self, service: str) -> str:
        """What a service has said."""
        path = self.home / "fer" / "logs" / f"{service}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _deploy(self) -> None:
        """The flow `retrain` as `prefect.yaml` has it: one run at a time, others wait; killed runs are noticed."""
        automations.ensure(self.client)
        self._deployment_id = self.client.create_deployment(
            self.client.create_flow_from_name("retrain"),
            name="quick-demo",
            entrypoint="flows.retrain.retrain",
            work_pool_name=POOL,
            parameters={"sources": [SOURCE], "recipe": str(trials.QUICK_DEMO), "model_name": MODEL},
            job_variables={"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}},
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(self.home)}}],
            concurrency_limit=1,
            concurrency_options={"collision_strategy": "ENQUEUE"},
        )

    @contextlib.contextmanager
    def _store_behind_a_proxy(self) -> Iterator[faulty_proxy.FaultyProxy]:
        seaweedfs.up(self.home / "fer")

        def target() -> tuple[str, int]:
            endpoint = urlsplit(seaweedfs.access(self.home / "fer")[0])
            return str(endpoint.hostname), int(endpoint.port or 0)

        with faulty_proxy.serving(target) as proxy:
            endpoint, keys = seaweedfs.access(self.home / "fer")
            assert keys is not None
            ObjectStore(endpoint, Settings.model_fields["store_bucket"].default, keys).ensure_bucket()
            self._environment |= {
                "FER_STORE_ENDPOINT": proxy.url,
                "FER_STORE_ACCESS_KEY_ID": keys.access_key_id,
                "FER_STORE_SECRET_ACCESS_KEY": keys.secret_access_key.get_secret_value(),
            }
            yield proxy


@contextlib.contextmanager
def _kaggle(home: Path) -> Iterator[faulty_proxy.FaultyProxy]:
    """Kaggle with the quick demo's faces, behind a proxy."""
    import kaggle_server

    drawn = home / "drawn.zip"
    archive.write_archive(drawn, catalog.load(str(trials.QUICK_DEMO)).demo)
    with kaggle_server.serving() as kaggle:
        address = urlsplit(kaggle.url)
        kaggle.datasets[SOURCE.removeprefix("kaggle:")] = [drawn.read_bytes()]
        with faulty_proxy.serving(lambda: (str(address.hostname), int(address.port or 0))) as proxy:
            kaggle.url = proxy.url  # what it sends its clients to is behind the proxy as well
            yield proxy


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


sys.path.insert(0, str(trials.ROOT / "tests" / "support"))
os.environ.setdefault("NO_PROXY", "127.0.0.1")
