"""Runs whose processes have ended with their installation get an end on the server; others keep going."""

import json

import httpx
import pytest

from flows.operating import interrupted, services
from flows.operating.installation import Installation

RUNS = [
    {"id": "1", "name": "running", "state_type": "RUNNING"},
    {"id": "2", "name": "stopping", "state_type": "CANCELLING"},
    {"id": "3", "name": "not begun", "state_type": "PENDING"},
    {"id": "4", "name": "at work", "state_type": "RUNNING"},
]


@pytest.fixture
def settled(tmp_path, monkeypatch):
    """What `settle` comes to, and the states it sets, with these workers on the server."""
    asked = Installation(prefect_home=tmp_path)
    monkeypatch.setattr(interrupted, "at_work", lambda asked: {"4"})

    def settle(*workers: str, ended: set[str], is_whole: bool = True):
        states = {}

        def answer(request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content)
            match request.url.path.split("/")[2:]:
                case ["work_pools", "fer", "workers", "filter"]:
                    return httpx.Response(200, json=[{"name": name, "status": "OFFLINE"} for name in workers])
                case ["flow_runs", "filter"]:
                    wanted = body["flow_runs"].get("id", {}).get("any_")
                    assert wanted is not None or body["work_pools"] == {"name": {"any_": ["fer"]}}
                    return httpx.Response(200, json=[run for run in RUNS if wanted is None or run["id"] in wanted])
                case ["flow_runs", run, "set_state"]:
                    states[run] = body["state"]["type"]
                    return httpx.Response(201, json={"status": "ACCEPT"})
            raise AssertionError(request.url)

        with httpx.Client(base_url=asked.url, transport=httpx.MockTransport(answer)) as http:
            return interrupted.settle(asked, http, ended, is_whole=is_whole), states

    return settle


def test_runs_of_the_pool_without_a_process_are_ended(settled):
    names, states = settled(services.worker_name("worker-1"), ended=set())
    assert names == ["running", "stopping"]
    assert states == {"1": "CRASHED", "2": "CANCELLED", "3": "SCHEDULED"}


def test_where_another_machine_works_for_the_pool_only_known_runs_are(settled):
    assert settled("elsewhere-worker-1", ended={"1"}) == (["running"], {"1": "CRASHED"})
    assert settled("elsewhere-worker-1", ended=set()) == ([], {})


def test_while_workers_of_its_own_are_left_only_known_runs_are(settled):
    own = services.worker_name("worker-1")
    assert settled(own, ended={"1", "4"}, is_whole=False) == (["running"], {"1": "CRASHED"})
