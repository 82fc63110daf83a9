"""The automations on a real server: made once, renewed while nobody changed them, and then the user's."""

import pytest
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore

from flows.operating import automations, silent_runs


@pytest.fixture
def client(bare_server):
    with get_client(sync_client=True) as client:
        yield client


def test_they_are_made_once(client):
    names = [ours.name for ours in automations.wanted(client)]
    assert {silent_runs.KILLED, silent_runs.NEVER_BEGAN} <= set(names)
    assert automations.missing(client) == names
    assert automations.ensure(client) == (names, [])
    assert automations.missing(client) == []
    assert automations.ensure(client) == ([], [])


def test_what_a_user_makes_of_one_stays_and_the_others_are_renewed(client, monkeypatch):
    automations.ensure(client)
    changed, paused = client.read_automations_by_name(silent_runs.KILLED)[0], silent_runs.NEVER_BEGAN
    changed.trigger.within *= 4
    client.update_automation(changed.id, AutomationCore(**changed.model_dump(exclude={"id", "owner_resource"})))
    client.pause_automation(client.read_automations_by_name(paused)[0].id)
    newer = silent_runs.automations(silent_runs.SILENCE * 2, silent_runs.START * 2)
    monkeypatch.setattr(automations, "SOURCES", (lambda client: newer,))
    assert automations.ensure(client) == ([], [])
    assert client.read_automations_by_name(silent_runs.KILLED)[0].trigger.within == changed.trigger.within
    client.resume_automation(client.read_automations_by_name(paused)[0].id)
    assert automations.ensure(client) == ([], [paused])
    (renewed,) = client.read_automations_by_name(paused)
    assert renewed.trigger.within == silent_runs.START * 2
