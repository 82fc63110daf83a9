"""What Prefect's server says of an installation."""

import datetime
import time
import uuid

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Failed, Scheduled

from flows.operating import server_state


def test_without_a_server_that_is_said():
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        found = server_state.read()
    assert (found.url, found.answers) == (None, False)
    assert "no server is configured" in found.problem


@pytest.mark.parametrize("url", ["http://u:s3cret@127.0.0.1:9/api", "http://u:s3cret@127.0.0.1:99999/api"])
def test_a_dead_server_is_named_at_once_and_without_its_password(url):
    began = time.monotonic()
    with temporary_settings({PREFECT_API_URL: url}):
        found = server_state.read()
    assert time.monotonic() - began < 5
    assert not found.answers
    assert "s3cret" not in found.model_dump_json()


def test_runs_schedules_and_pools_are_told_with_what_is_late(prefect_server):
    name, now = f"status-{uuid.uuid4().hex}", datetime.datetime.now(datetime.UTC)
    hourly = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=datetime.timedelta(hours=1)))
    with SyncPrefectClient(prefect_server) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        flow_id = client.create_flow_from_name(name)
        deployment_id = client.create_deployment(flow_id, name=name, work_pool_name=name, schedules=[hourly])
        late = client.create_flow_run_from_deployment(
            deployment_id, state=Scheduled(scheduled_time=now - datetime.timedelta(hours=1)), name="late"
        )
        queued = client.create_flow_run_from_deployment(deployment_id, name="queued")
        waiting = Scheduled(name="AwaitingConcurrencySlot", scheduled_time=now - datetime.timedelta(hours=1))
        client.set_flow_run_state(queued.id, waiting, force=True)
        ended = client.create_flow_run_from_deployment(deployment_id, name="ended", tags=["recipe:demo"])
        client.set_flow_run_state(ended.id, Failed(message="It broke."), force=True)
        by_hand = client.create_flow_run_from_deployment(deployment_id, name="by hand")
        client.set_flow_run_state(by_hand.id, Completed(name="Released"), force=True)
        try:
            found = server_state.read()
        finally:
            for run in (late, queued, ended, by_hand):
                client.delete_flow_run(run.id)
            client.delete_deployment(deployment_id)
            client.delete_work_pool(name)
    assert found.answers
    assert not found.problem
    ours = {run.name: run for run in (*found.runs, *found.late) if run.flow == name}
    assert set(ours) == {"late", "ended", "by hand"}
    assert {run.line for run in ours.values()} == {str(deployment_id)}
    assert (ours["ended"].kind, ours["ended"].message, ours["ended"].tags) == ("FAILED", "It broke.", ("recipe:demo",))
    assert ours["by hand"].state == "Released"
    assert [run.name for run in found.late if run.flow == name] == ["late"]
    (schedule,) = [one for one in found.schedules if one.deployment == name]
    assert (schedule.pool, schedule.n_schedules, schedule.is_new) == (name, 1, True)
    (worker,) = [service for service in found.services if name in service.name]
    assert worker.state == "down"
    assert "fer up" in worker.todo


def test_the_stages_of_the_last_runs_are_told_with_what_was_cached(prefect_server):
    unique = uuid.uuid4().hex[:6]

    @task(name=f"train {unique}", persist_result=False)
    def train():
        time.sleep(0.2)

    @task(name=f"split {unique}", persist_result=False)
    def split():
        return Completed(name="Cached")

    @task(name=f"download {unique}", persist_result=False)
    def download():
        raise RuntimeError("no")

    @flow(persist_result=False)
    def body():
        train()
        split()
        download(return_state=True)

    body()
    wanted, ours = {("train", "made"), ("split", "cached"), ("download", "failed")}, {}
    deadline = time.monotonic() + 60
    while len(ours) < 3 and time.monotonic() < deadline:  # task runs come to the database a little later
        ours = {(run.stage.split()[0], run.outcome): run for run in server_state.stage_runs() if unique in run.stage}
    assert set(ours) == wanted
    assert ours["train", "made"].stage == f"train {unique}"
    assert ours["train", "made"].seconds >= 0.2


def test_where_no_server_answers_no_stages_are_told():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert server_state.stage_runs() == ()
