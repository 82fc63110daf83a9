"""What a run needs later is loaded while it makes what comes before, and not where that is there already."""

import pytest

from fer.engine.processes import child_process
from fer.registry import trial
from tasks.runs import events, loading


@pytest.fixture
def loaded(monkeypatch):
    calls = []
    monkeypatch.setattr(child_process, "load_ahead", lambda: calls.append("training"))
    monkeypatch.setattr(trial, "load_ahead", lambda: calls.append("trial"))
    return calls


@pytest.mark.parametrize("stage", ["download", "index"])
def test_keras_is_loaded_as_soon_as_new_data_is_made(loaded, stage):
    with loading.ahead():
        events.publish(events.Started("resolve"))
        assert loaded == []
        events.publish(events.Started(stage))
        assert loaded == ["training"]
    events.publish(events.Started(stage))
    assert loaded == ["training"]


def test_what_a_release_is_tried_in_is_loaded_while_it_is_exported(loaded):
    with loading.ahead():
        events.publish(events.Started("train"))
        events.publish(events.Started("export"))
    assert loaded == ["trial"]


def test_a_run_that_finds_its_outputs_made_loads_nothing_ahead(loaded):
    with loading.ahead():
        events.publish(events.Started("resolve"))
        for stage in ("download", "export"):
            events.publish(events.Ended(stage, cached=True, failed=False, seconds=0.1, summary="as it was"))
        events.publish(events.Started("quality"))
        events.publish(events.Started("register"))
    assert loaded == []


def test_what_is_listened_for_are_stages():
    from flows import retrain  # whose import makes all tasks
    from tasks import stages

    assert retrain
    listened_for = [*loading._NEW_DATA, loading._NEW_RELEASE]
    assert stages.checked(listened_for) == listened_for
