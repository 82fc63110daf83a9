"""An installation by `fer up` with the project's deployments, and what happens when their processes are killed.

The deployments are those of `prefect.yaml` that are on FER2013, with few drawn faces in its place.
"""

import contextlib
import datetime
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import quick_demo
import shell
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Pending, Submitting

from fer.recipes import overrides
from flows.operating import silent_runs

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
RETRAIN, CHECK = "retrain/fer2013-weekly", "ingest/fer2013-daily"
_TWO_MINUTES = 120


class Installation:
    """One by `fer up`, in a home of its own."""

    def __init__(self, home: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home = home
        self.project = home / "project"
        self.own = {"PREFECT_WORKER_QUERY_SECONDS": "2", "NO_PROXY": "127.0.0.1", "DO_NOT_TRACK": "1"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def client(self) -> SyncPrefectClient:
        return SyncPrefectClient(self.url)

    def fer(self, *arguments: str) -> str:
        done = shell.fer(*arguments, home=self.home, **self.own)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self) -> None:
        self.fer("up", "--port", str(self.port))

    def deploy(self) -> None:
        """What a user of this project does, with few faces for FER2013."""
        declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        chosen = overrides.parse_settings(quick_demo.SETTINGS).model_dump(mode="json", exclude_unset=True)
        of_fer2013 = {name.partition("/")[2] for name in (RETRAIN, CHECK)}
        declared["deployments"] = [one for one in declared["deployments"] if one["name"] in of_fer2013]
        for one in declared["deployments"]:
            one["parameters"] |= {"sources": ["demo"], "recipe": "demo", "settings": chosen}
        self.project.mkdir()
        (self.project / "prefect.yaml").write_text(yaml.safe_dump(declared))
        self.prefect("deploy", "--all")

    def prefect(self, *arguments: str) -> str:
        place = {"PREFECT_API_URL": self.url, "PWD": str(self.project)}
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        environment = shell.bare(self.home) | self.own | place
        done = subprocess.run(
            command, cwd=self.project, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, deployment: str, **parameters: Any) -> Any:
        """`prefect deployment run`, and the run's ID."""
        given = [f"--param={name}={json.dumps(value)}" for name, value in parameters.items()]
        known = {run.id for run in self.runs(deployment)}
        self.prefect("deployment", "run", deployment, *given)
        (new,) = [run.id for run in self.runs(deployment) if run.id not in known]
        return new

    def runs(self, deployment: str) -> list[FlowRun]:
        """Those that were asked for, by hand or by an event, in order."""
        with self.client() as client:
            of_deployment = {"deployment_id": {"any_": [client.read_deployment_by_name(deployment).id]}}
            found = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(of_deployment))
        return sorted((run for run in found if not run.auto_scheduled), key=lambda run: run.created)

    def state(self, run_id: Any) -> str:
        with self.client() as client:
            return client.read_flow_run(run_id).state_name

    def has_ended(self, run_id: Any) -> bool:
        with self.client() as client:
            return client.read_flow_run(run_id).state.is_final()

    def has_begun_stages(self, run_id: Any) -> bool:
        """Whether it is at one of its tasks, or behind it."""
        with self.client() as client:
            of_run = FlowRunFilter.model_validate({"id": {"any_": [run_id]}})
            tasks = client.read_task_runs(flow_run_filter=of_run)
            return client.read_flow_run(run_id).state.is_running() and len(tasks) > 1

    def processes(self, run_id: Any) -> list[psutil.Process]:
        """All of a run, those of its stages among them."""
        return [process for process, given in self._marked() if given.get("PREFECT__FLOW_RUN_ID") == str(run_id)]

    def workers(self) -> list[psutil.Process]:
        return [process for process, _ in self._marked() if "worker" in command_of(process)]

    def _marked(self) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
        for process in shell.of_home(self.home):
            with contextlib.suppress(psutil.Error, OSError):
                yield process, process.environ()


def command_of(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def until(condition: Callable[[], bool], timeout_s: float = 240) -> float:
    """Wait for it; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + timeout_s, "waited in vain"
        time.sleep(0.5)
    return time.monotonic() - began


def kill(processes: list[psutil.Process]) -> None:
    assert processes
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("home")
    shell.give_prefect_database(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        installation = Installation(home)
        try:
            installation.up()
            installation.deploy()
            yield installation
        finally:
            with contextlib.suppress(Exception):
                installation.fer("down")
            for process in shell.of_home(home):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def test_a_killed_run_frees_its_place_and_that_of_a_killed_worker_ends_once(installed):
    """One after the other, as each leaves what the next one needs; times are real."""
    first = installed.run(RETRAIN)
    second = installed.run(RETRAIN)
    until(lambda: installed.has_begun_stages(first))
    assert installed.state(second) in {"Scheduled", "Late", "AwaitingConcurrencySlot"}

    kill(installed.workers() + installed.processes(first))
    killed_at = time.monotonic()
    require_that_what_never_began_is_ended(installed)  # meanwhile
    until(lambda: installed.has_ended(first), timeout_s=2 * _TWO_MINUTES)
    assert time.monotonic() - killed_at <= _TWO_MINUTES
    with installed.client() as client:
        killed = client.read_flow_run(first).state
        assert (killed.name, "No heartbeat" in killed.message) == ("Crashed", True)
        assert client.read_deployment_by_name(RETRAIN).global_concurrency_limit.active_slots == 0
    assert not installed.has_ended(second)

    installed.up()
    until(lambda: installed.state(second) == "Running", timeout_s=90)
    until(lambda: installed.processes(second) != [])
    kill(installed.workers())
    until(lambda: installed.has_ended(second))
    installed.up()
    assert installed.state(second) in {"Released", "Crashed"}  # Prefect may end a run that has lost its worker
    with installed.client() as client:
        assert client.read_flow_run(second).run_count == 1
        assert client.read_deployment_by_name(RETRAIN).global_concurrency_limit.active_slots == 0
    again = installed.run(RETRAIN)
    until(lambda: installed.has_ended(again))
    assert installed.state(again) == "Released"


def require_that_what_never_began_is_ended(installed: Installation) -> None:
    """As after Ctrl-C on a worker that is submitting a run; with ten seconds for five minutes."""
    _, never_began = silent_runs.automations(start=datetime.timedelta(seconds=10))
    with installed.client() as client:
        flow_id = client.create_flow_from_name("retrain")
        deployment_id = client.create_deployment(flow_id, name="never begun", concurrency_limit=1)
        client.create_automation(never_began.model_copy(update={"name": "never began"}))
        run = client.create_flow_run_from_deployment(deployment_id)
        time.sleep(2)  # the server takes the automation in
        for state in (Pending(), Submitting()):
            client.set_flow_run_state(run.id, state)
        assert client.read_deployment(deployment_id).global_concurrency_limit.active_slots == 1
        until(lambda: installed.has_ended(run.id), timeout_s=60)
        ended = client.read_flow_run(run.id).state
        assert (ended.name, "began to start it" in ended.message) == ("Crashed", True)
        assert client.read_deployment(deployment_id).global_concurrency_limit.active_slots == 0
        for automation in client.read_automations_by_name("never began"):
            client.delete_automation(automation.id)
        client.delete_deployment(deployment_id)


def test_data_that_grew_are_trained_on_without_being_asked(installed):
    known = {run.id for run in installed.runs(RETRAIN)}
    more = (*quick_demo.SETTINGS, 'demo.images_per_class={"happy": 60, "sad": 50, "surprise": 60}')
    grown = overrides.parse_settings(more).model_dump(mode="json", exclude_unset=True)
    check = installed.run(CHECK, settings=grown)
    until(lambda: installed.has_ended(check))
    assert installed.state(check) == "Completed"
    until(lambda: len(installed.runs(RETRAIN)) > len(known), timeout_s=60)
    (triggered,) = [run for run in installed.runs(RETRAIN) if run.id not in known]
    assert triggered.created_by.type == "AUTOMATION"
    until(lambda: installed.has_ended(triggered.id))
    assert installed.state(triggered.id) in {"Released", "Kept"}
    log = json.loads(installed.fer("models", "log", "demo", "--json"))
    versions = json.loads(installed.fer("models", "list", "--json"))
    assert len([entry for entry in log if entry["to_version"] != entry["from_version"]]) == len(
        [version for version in versions if version["status"] == "released"]
    )


def test_a_run_that_is_cancelled_leaves_no_process_and_the_next_one_begins(installed):
    longer = overrides.parse_settings([*quick_demo.SETTINGS, "train.epochs=400", "train.patience=400"])
    settings = longer.model_dump(mode="json", exclude_unset=True)
    cancelled, waiting = (installed.run(RETRAIN, settings=settings) for _ in range(2))
    until(lambda: installed.has_begun_stages(cancelled))
    with installed.client() as client:
        client.set_flow_run_state(cancelled, Cancelling())
    until(lambda: installed.has_ended(cancelled), timeout_s=90)
    assert installed.state(cancelled) == "Cancelled"
    until(lambda: not installed.processes(cancelled), timeout_s=30)
    until(lambda: installed.has_begun_stages(waiting))
