"""Deployments on a real Prefect server, with real workers: schedules fire, pauses stay, missed runs collapse."""

import contextlib
import datetime
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
import quick_demo
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.settings import PREFECT_API_URL, PREFECT_TEST_MODE, temporary_settings
from prefect.states import Scheduled
from prefect.testing.cli import CycloptsCliRunner
from shell import give_prefect_database

from fer.recipes import overrides
from flows import deploying
from flows.cli import doctor

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
POOL = "fer"


@dataclass(frozen=True)
class Server:
    """A Prefect server in a process of its own, and what its users need."""

    url: str
    home: Path

    @property
    def log(self) -> str:
        return (self.home / "server.log").read_text()

    def environment(self, folder: Path) -> dict[str, str]:
        """Nothing of this machine's configuration; `folder` is where the user is."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        ours = {"HOME": str(self.home), "FER_HOME": str(self.home / "fer"), "PREFECT_API_URL": self.url}
        ours["PREFECT_WORKER_QUERY_SECONDS"] = "2"
        return kept | ours | {"PWD": str(folder), "COLUMNS": "300", "DO_NOT_TRACK": "1", "NO_PROXY": "127.0.0.1"}

    def prefect(self, *arguments: str, folder: Path) -> str:
        """What the command `prefect` prints, in this folder."""
        place = mock.patch.dict(os.environ, {"PWD": str(folder), "COLUMNS": "300"})
        settings = temporary_settings({PREFECT_API_URL: self.url, PREFECT_TEST_MODE: True})  # the log stays as it is
        with contextlib.chdir(folder), place, settings:
            done = CycloptsCliRunner().invoke(["--no-prompt", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    @contextlib.contextmanager
    def worker(self) -> Iterator[None]:
        """A process worker of the pool, two runs at a time."""
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--limit", "2"]
        log = self.home / "worker.log"
        with log.open("a") as output, started(command, self.environment(self.home), self.home, output):
            yield

    def client(self) -> SyncPrefectClient:
        return SyncPrefectClient(self.url)

    def deployment(self, name: str) -> DeploymentResponse:
        with self.client() as client:
            return client.read_deployment_by_name(name)

    def runs(self, name: str) -> list[FlowRun]:
        """The deployment's, in the order in which they were to begin."""
        run_filter = FlowRunFilter.model_validate({"deployment_id": {"any_": [self.deployment(name).id]}})
        with self.client() as client:
            return sorted(client.read_flow_runs(flow_run_filter=run_filter), key=lambda run: run.expected_start_time)

    def let_pass(self, seconds: int) -> None:
        """Put the start of all runs that have not begun so much earlier, as if that time had passed."""
        path = self.home / ".prefect" / "prefect.db"
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as database, database:
            database.execute(
                "UPDATE flow_run SET "
                "expected_start_time = strftime('%Y-%m-%d %H:%M:%f000', expected_start_time, :back), "
                "next_scheduled_start_time = strftime('%Y-%m-%d %H:%M:%f000', next_scheduled_start_time, :back) "
                "WHERE state_type = 'SCHEDULED'",
                {"back": f"-{seconds} seconds"},
            )

    def pause(self, name: str) -> None:
        """What the switch of a schedule in the UI does; the coming runs are gone, those that are due stay."""
        deployment = self.deployment(name)
        with self.client() as client:
            for schedule in deployment.schedules:
                client.update_deployment_schedule(deployment.id, schedule.id, active=False)

    def stop(self, name: str) -> None:
        """Pause it, and let no run begin any more."""
        self.pause(name)
        with self.client() as client:
            for run in self.runs(name):
                if run.state is not None and run.state.is_scheduled():
                    client.delete_flow_run(run.id)


@contextlib.contextmanager
def started(command: list[str], environment: dict[str, str], folder: Path, output: Any) -> Iterator[None]:
    """A process for the block, with all that it starts in a group of its own."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield
    finally:
        for sent in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def serving(home: Path) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}/api", home)
    give_prefect_database(home)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    own = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    used = {name: value for name, value in server.environment(home).items() if name != "PREFECT_API_URL"} | own
    with (home / "server.log").open("w") as output, started(command, used, home, output):
        with httpx.Client(trust_env=False) as http:
            until(lambda: answers(http, f"{server.url}/health"), timeout_s=180)
        server.prefect("work-pool", "create", POOL, "--type", "process", folder=home)
        yield server


SCHEDULED = ("retrain/fer2013-weekly", "ingest/fer2013-daily", "gc/gc")


def answers(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(url).is_success
    except httpx.TransportError:
        return False


def until(condition: Callable[[], bool], *, timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        with serving(tmp_path_factory.mktemp("prefect")) as running:
            yield running


def deploy(server: Server, folder: Path, name: str, **more: Any) -> None:
    """A deployment of the flow `ingest` on few faces, from a folder of its own."""
    settings = overrides.parse_settings(quick_demo.SETTINGS).model_dump(mode="json", exclude_unset=True)
    parameters = {"sources": ["demo"], "recipe": "demo", "accept": False, "settings": settings}
    declared = {"name": name, "entrypoint": "flows.ingest.ingest", "parameters": parameters}
    declared |= {"work_pool": {"name": POOL}, **more}
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}]
    text = yaml.safe_dump({"name": "few-faces", "pull": pull, "deployments": [declared]})
    (folder / "prefect.yaml").write_text(text)
    server.prefect("deploy", "--all", folder=folder)


def ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def test_every_schedule_of_the_deployments_gets_coming_runs(server):
    server.prefect("deploy", "--all", folder=ROOT)
    for name in SCHEDULED:
        until(lambda name=name: any(run.auto_scheduled for run in server.runs(name)), timeout_s=60)
    with temporary_settings({PREFECT_API_URL: server.url}):
        findings = {finding.subject: finding for finding in doctor._deployed()}
    assert findings["schedules"].level == "ok"
    assert findings["schedules"].text.startswith(f"{len(SCHEDULED)} with coming runs, fer2013-")
    assert "prefect worker start --pool fer" in findings["worker"].fix
    assert "deployment" not in findings


def test_a_schedule_fires_and_a_worker_completes_its_run(server, tmp_path):
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=5)).isoformat()
    deploy(server, tmp_path, "often", schedules=[{"slug": "often", "interval": 60, "anchor_date": soon}])
    with server.worker():
        until(lambda: any(run.state_name == "Completed" and run.auto_scheduled for run in server.runs("ingest/often")))
        server.stop("ingest/often")
        until(lambda: all(map(ended, server.runs("ingest/often"))))


def test_of_missed_runs_the_newest_works_and_of_those_by_hand_each(server, tmp_path):
    deploy(server, tmp_path, "missed", schedules=[{"slug": "often", "interval": 3}])
    by_hand = [run_by_hand(server, "ingest/missed") for _ in range(2)]
    until(lambda: len(due(server.runs("ingest/missed"))) >= 3)
    server.pause("ingest/missed")
    server.let_pass(70)
    assert all(late_s(run) > 70 for run in due(server.runs("ingest/missed")))
    with server.worker():
        until(lambda: all(map(ended, server.runs("ingest/missed"))))
        *missed, newest = [run for run in server.runs("ingest/missed") if run.auto_scheduled]
        assert len(missed) >= 2
        assert newest.state_name == "Completed"
        assert {run.state_name for run in missed} == {"Superseded"}
        assert all("was missed" in run.state.message for run in missed)
        assert [run.state_name for run in server.runs("ingest/missed") if run.id in by_hand] == ["Completed"] * 2
        # A heartbeat can arrive after its run's end: the server marks the run as crashed if it then hears nothing of it
        # for 90 s, which changes nothing of one that has ended.
        last = max(missed, key=lambda run: run.end_time)
        with server.client() as client:
            client.set_flow_run_state(last.id, Scheduled(), force=True)
        until(lambda: all(map(ended, server.runs("ingest/missed"))))
        (again,) = [run for run in server.runs("ingest/missed") if run.id == last.id]
        assert (again.state_name, again.run_count) == ("Completed", 2)


def run_by_hand(server: Server, name: str) -> Any:
    deployment = server.deployment(name)
    with server.client() as client:
        return client.create_flow_run_from_deployment(deployment.id).id


def due(runs: list[FlowRun]) -> list[FlowRun]:
    return [run for run in runs if run.auto_scheduled and late_s(run) > 0]


def late_s(run: FlowRun) -> float:
    return time.time() - run.expected_start_time.timestamp()


def test_a_pause_survives_a_redeployment(server, tmp_path):
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    for declaration in declared["deployments"]:  # as they were once
        declaration.pop("build", None)
        declaration["schedules"] = [
            {name: schedule[name] for name in ("cron", "timezone")} | {"active": True}
            for schedule in declaration["schedules"] or []
        ]
    with server.client() as client:
        for name in SCHEDULED:
            with contextlib.suppress(Exception):
                client.delete_deployment(client.read_deployment_by_name(name).id)
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(declared))
    server.prefect("deploy", "--all", folder=tmp_path)
    server.pause("retrain/fer2013-weekly")
    server.prefect("deploy", "--all", folder=ROOT)
    assert [schedule.active for schedule in server.deployment("retrain/fer2013-weekly").schedules] == [False]
    assert [schedule.active for schedule in server.deployment("ingest/fer2013-daily").schedules] == [True]
    with server.client() as client:
        client.pause_deployment(server.deployment("ingest/fer2013-daily").id)
    server.prefect("deploy", "--all", folder=ROOT)
    for name in ("retrain/fer2013-weekly", "ingest/fer2013-daily"):
        assert [schedule.active for schedule in server.deployment(name).schedules] == [False]


def test_what_a_redeployment_replaces_is_said_before_by_the_doctor_and_as_it_is_done(server, monkeypatch):
    server.prefect("deploy", "-n", "fer2013-weekly", folder=ROOT)
    deployment = server.deployment("retrain/fer2013-weekly")
    changed = DeploymentUpdate(
        parameters={**deployment.parameters, "recipe": "fer2013-se-resnet"},
        description="ours",
        tags=["ours"],
        concurrency_limit=2,
        job_variables={"env": {"FER_STORE_SECRET_ACCESS_KEY": "s3cret"}},
    )
    cron = CronSchedule(cron="0 9 * * 3", timezone="Europe/Berlin")
    with server.client() as client:
        client.update_deployment(deployment.id, changed)
        client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, schedule=cron)
    monkeypatch.chdir(ROOT)
    with temporary_settings({PREFECT_API_URL: server.url}):
        (finding,) = [finding for finding in doctor._deployed() if finding.subject == "deployment"]
    assert finding.level == "warn"
    output = server.prefect("deploy", "-n", "fer2013-weekly", folder=ROOT)
    for text in (finding.text, output):
        assert '"fer2013-se-resnet" → "fer2013-cnn"' in text
        assert '"0 9 * * 3" → "0 3 * * 1"' in text
        assert '"Europe/Berlin" → nothing' in text
        assert 'description: "ours" → ' in text
        assert 'tags: ["ours"] → ["training"]' in text
        assert "concurrency limit: 2 → 1" in text
        assert "env: FER_STORE_SECRET_ACCESS_KEY → removed" in text
        assert "s3cret" not in text
    after = server.deployment("retrain/fer2013-weekly")
    assert after.parameters["recipe"] == "fer2013-cnn"
    assert (after.description, after.tags) == (deployment.description, ["training"])
    assert after.global_concurrency_limit.limit == 1
    assert after.job_variables == deployment.job_variables
    assert after.schedules[0].schedule == deployment.schedules[0].schedule
    with server.client() as client:
        assert deploying.overwritten(client) == {}


def test_a_schedule_added_on_the_server_is_removed_and_that_is_said(server, monkeypatch):
    server.prefect("deploy", "-n", "fer2013-daily", folder=ROOT)
    deployment = server.deployment("ingest/fer2013-daily")
    with server.client() as client:
        client.create_deployment_schedules(deployment.id, [(CronSchedule(cron="0 22 * * *"), True)])
        monkeypatch.chdir(ROOT)
        assert deploying.overwritten(client) == {"fer2013-daily": ['schedule {"cron": "0 22 * * *"} → removed']}
    server.prefect("deploy", "-n", "fer2013-daily", folder=ROOT)
    assert [schedule.slug for schedule in server.deployment("ingest/fer2013-daily").schedules] == ["daily"]


def test_the_logs_of_the_server_and_the_workers_hold_no_error(server):
    assert unexpected(server.log) == []
    assert unexpected((server.home / "worker.log").read_text()) == []


def unexpected(log: str) -> list[str]:
    """The records of errors, but for one kind: of two transactions of SQLite that begin by reading and go on to write
    Prefect's server lets one fail, as when it marks runs as late; it does so again a few seconds later."""
    records = re.split(r"^(?=[\d:.]{12} \| )", log, flags=re.MULTILINE)
    errors = [record for record in records if re.search(r"Traceback|\| (ERROR|CRITICAL)", record)]
    return [error for error in errors if "database is locked" not in error]


def test_the_doctor_tells_of_active_schedules_that_will_never_fire(prefect_server, monkeypatch):
    """The temporary server has no scheduler."""
    often = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=datetime.timedelta(seconds=5)))
    with SyncPrefectClient(prefect_server) as client:
        flow_id = client.create_flow_from_name("ingest")
        deployment_id = client.create_deployment(flow_id, name="never", schedules=[often])
        assert {finding.level for finding in doctor._deployed() if finding.subject == "schedules"} == {"warn"}
        monkeypatch.setattr(doctor, "_SCHEDULED_AFTER", doctor._SCHEDULED_AFTER * 0)
        (finding,) = [finding for finding in doctor._deployed() if finding.subject == "schedules"]
        assert finding.level == "fail"
        assert "never" in finding.text
        (schedule,) = client.read_deployment(deployment_id).schedules
        client.update_deployment_schedule(deployment_id, schedule.id, active=False)
        assert [finding.level for finding in doctor._deployed() if finding.subject == "schedules"] == ["ok"]
        client.delete_deployment(deployment_id)
