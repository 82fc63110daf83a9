"""The automations that notice runs whose process is gone: what they listen to."""

import datetime
import importlib
import pkgutil

import prefect
from prefect.client.schemas.objects import StateType

import flows
from flows.operating import silent_runs
from tasks.runs import heartbeats


def test_they_are_about_every_flow_of_the_project():
    modules = [importlib.import_module(f"flows.{found.name}") for found in pkgutil.iter_modules(flows.__path__)]
    made = {ours.name for module in modules for ours in vars(module).values() if isinstance(ours, prefect.Flow)}
    assert {"retrain", "ingest", "sweep", "compare", "audit"} <= made
    assert set(silent_runs.flow_names()) == made


def test_they_wait_for_heartbeats_or_any_end_and_find_out_a_kill_within_two_minutes():
    heartbeat = datetime.timedelta(seconds=heartbeats.INTERVAL_S)
    for made in silent_runs.automations():
        assert made.trigger.match_related["prefect.resource.name"] == silent_runs.flow_names()
        assert made.trigger.expect == {"prefect.flow-run.*"}  # our runs end in states of names of their own
        assert [action.state for action in made.actions] == [StateType.CRASHED]
    killed, _ = silent_runs.automations()
    assert 3 * heartbeat <= killed.trigger.within < datetime.timedelta(minutes=2)
