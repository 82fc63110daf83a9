"""The automation that notices killed runs: what it listens to, and that it is made once and then the user's."""

import datetime

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

from flows import compare, ingest, retrain, silent_runs, sweep


def test_it_waits_for_a_heartbeat_or_any_end_of_our_flows_and_for_many_heartbeats_times():
    made = silent_runs.automation()
    flows = {ours.name for ours in (retrain.retrain, ingest.ingest, sweep.sweep, compare.compare)}
    assert set(made.trigger.match_related["prefect.resource.name"]) == flows
    assert made.trigger.expect == {"prefect.flow-run.*"}  # our runs end in states of names of their own
    assert made.trigger.within >= 5 * datetime.timedelta(seconds=30)
    assert [action.state for action in made.actions] == [StateType.CRASHED]


@pytest.mark.usefixtures("prefect_server")
def test_it_is_made_once_and_what_a_user_makes_of_it_stays(capsys):
    with get_client(sync_client=True) as client:
        silent_runs.watch(client)
        (made,) = client.read_automations_by_name(silent_runs.NAME)
        assert silent_runs.is_watched(client)
        assert silent_runs.NAME in capsys.readouterr().out
        client.pause_automation(made.id)
        silent_runs.watch(client)
        (kept,) = client.read_automations_by_name(silent_runs.NAME)
        assert (kept.id, kept.enabled) == (made.id, False)
        assert capsys.readouterr().out == ""
