"""What training's tasks need is loaded while the data is made, and not where it is there already."""

import pytest

import tasks.training
from fer.engine.processes import child_process
from tasks.runs import events


@pytest.fixture
def loaded(monkeypatch):
    calls = []
    monkeypatch.setattr(child_process, "load_ahead", lambda: calls.append(1))
    return calls


@pytest.mark.parametrize("stage", ["download", "index"])
def test_keras_is_loaded_as_soon_as_new_data_is_made(loaded, stage):
    with tasks.training.keras_loaded_ahead():
        events.publish(events.Started("resolve"))
        assert not loaded
        events.publish(events.Started(stage))
        assert loaded
    loaded.clear()
    events.publish(events.Started(stage))
    assert not loaded


def test_a_run_that_finds_its_data_made_loads_nothing_ahead(loaded):
    with tasks.training.keras_loaded_ahead():
        events.publish(events.Started("resolve"))
        events.publish(events.Ended("download", True, False, 0.1, "demo"))
        events.publish(events.Started("quality"))
        events.publish(events.Started("register"))
    assert not loaded


def test_the_stages_of_new_data_are_stages(loaded):
    from flows import retrain  # whose import makes all tasks
    from tasks import stages

    assert retrain
    assert stages.checked(tasks.training._NEW_DATA) == list(tasks.training._NEW_DATA)
