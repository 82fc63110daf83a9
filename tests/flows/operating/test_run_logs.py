"""The log of a run, on a real server."""

import datetime
import logging
import threading
import uuid

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import LogCreate
from prefect.states import Completed, Running

from fer import errors
from flows.operating import run_logs


@pytest.fixture
def client(prefect_server):
    with SyncPrefectClient(prefect_server) as connected:
        yield connected


def begun(client, name):
    flow_id = client.create_flow_from_name("logs")
    deployment = client.create_deployment(flow_id, name=f"logs-{uuid.uuid4().hex}")
    run = client.create_flow_run_from_deployment(deployment, name=name)
    client.set_flow_run_state(run.id, Running(), force=True)
    return client.read_flow_run(run.id)


def write(client, run, *messages):
    now = datetime.datetime.now(datetime.UTC)
    client.create_logs(
        [
            LogCreate(name="prefect.flow_runs", level=logging.INFO, message=message, timestamp=now, flow_run_id=run.id)
            for message in messages
        ]
    )


def test_a_run_is_found_by_its_id_and_by_its_name_the_one_that_began_last(client):
    name = f"run {uuid.uuid4().hex}"
    first, second = begun(client, name), begun(client, name)
    assert run_logs.find(client, str(first.id)).id == first.id
    assert run_logs.find(client, name).id == second.id
    assert run_logs.find(client, "latest").start_time >= second.start_time


@pytest.mark.parametrize("which", ["no such run", "0c8f1d2e-5b7a-4c39-9e61-3f2a7d405b18"])
def test_one_that_is_not_there_is_a_clear_error(client, which):
    with pytest.raises(errors.ConfigError, match=f"Received: {which}"):
        run_logs.find(client, which)


def test_a_long_log_is_read_to_its_end_in_its_order(client):
    run = begun(client, "long")
    messages = [f"line {number}" for number in range(250)]
    for start in range(0, 250, 50):
        write(client, run, *messages[start : start + 50])
    assert [line.message for line in run_logs.lines(client, run, follow=False)] == messages


def test_followed_it_goes_on_until_the_run_is_over(client, prefect_server, monkeypatch):
    monkeypatch.setattr(run_logs, "_POLL_S", 0.05)
    run = begun(client, "followed")
    write(client, run, "first")

    def go_on():
        with SyncPrefectClient(prefect_server) as other:
            write(other, run, "second")
            other.set_flow_run_state(run.id, Completed(), force=True)

    seen = []
    for line in run_logs.lines(client, run, follow=True):
        seen.append(line.message)
        if len(seen) == 1:
            threading.Thread(target=go_on).start()
    assert seen == ["first", "second"]
