import threading
import uuid
from types import SimpleNamespace

import pytest
from prefect.settings import temporary_settings

from tasks.runs import heartbeats

RUN = SimpleNamespace(id=uuid.uuid4(), name="demo from demo")


@pytest.fixture
def sent(monkeypatch):
    """The resources of the heartbeats that are sent, in a run and without Prefect's own; ten of them set `enough`."""
    resources, enough = [], threading.Event()

    def emit(event, resource):
        assert event == "prefect.flow-run.heartbeat"
        resources.append(resource)
        if len(resources) >= 10:
            enough.set()

    monkeypatch.setattr(heartbeats, "emit_event", emit)
    monkeypatch.setattr(heartbeats.FlowRunContext, "get", lambda: SimpleNamespace(flow_run=RUN))
    with heartbeats.in_place_of_prefects():
        yield SimpleNamespace(resources=resources, enough=enough)


def test_a_run_sends_heartbeats_until_it_is_over(sent, monkeypatch):
    monkeypatch.setattr(heartbeats, "INTERVAL_S", 0.001)
    with heartbeats.sent():
        assert sent.enough.wait(60)
    n = len(sent.resources)
    assert sent.resources[0] == {
        "prefect.resource.id": f"prefect.flow-run.{RUN.id}",
        "prefect.resource.name": "demo from demo",
    }
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeats"]
    assert len(sent.resources) == n


def test_a_short_run_sends_one_and_does_not_wait_for_the_next(sent, monkeypatch):
    monkeypatch.setattr(heartbeats, "INTERVAL_S", 3600.0)
    with pytest.raises(ValueError, match="it failed"), heartbeats.sent():
        raise ValueError("it failed")
    assert len(sent.resources) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeats"]


def test_none_is_sent_where_prefect_does_or_outside_of_a_run(sent, monkeypatch):
    with temporary_settings({"flows.heartbeat_frequency": 30}), heartbeats.sent():
        pass
    monkeypatch.setattr(heartbeats.FlowRunContext, "get", lambda: None)
    with heartbeats.sent():
        pass
    assert sent.resources == []
