"""What is worth another try and how that is announced; what is cached, and that Prefect keeps and reads no results."""

import os
import pickle
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow
from prefect.results import ResultRecord, ResultRecordMetadata
from prefect.serializers import PickleSerializer
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings
from prefect.states import Failed

from fer import errors, redaction
from fer.engine import stage
from fer.engine.refs import Ref
from tasks import caching, ingest, stages
from tasks.runs import events, outcomes


@pytest.fixture
def heard():
    happened: list[events.Event] = []
    with events.heard_by(happened.append):
        yield happened


def test_an_error_that_may_pass_is_announced_with_its_reason_and_the_wait(heard):
    error = errors.KaggleUnavailable("Kaggle must\ndeliver.", received="status 503", todo="try again")
    condition = caching.retried(4)["retry_condition_fn"]
    assert condition(ingest.resolve, SimpleNamespace(run_count=1), Failed(data=error))
    assert condition(ingest.resolve, SimpleNamespace(run_count=3), Failed(data=error))
    waits = ingest.resolve.retry_delay_seconds
    assert waits[2] > waits[0]
    assert heard == [
        events.Retrying("resolve", "Kaggle must deliver. Received: status 503.", waits[0]),
        events.Retrying("resolve", "Kaggle must deliver. Received: status 503.", waits[2]),
    ]


@pytest.mark.parametrize(
    "error", [errors.KaggleRefused("No."), errors.KaggleUnavailable("No.", wait_s=1800), ValueError("No.")]
)
def test_an_error_that_will_stay_or_has_been_waited_for_is_not_retried_nor_announced(heard, error):
    assert not caching.retried(4)["retry_condition_fn"](
        ingest.resolve, SimpleNamespace(run_count=1), Failed(data=error)
    )
    assert heard == []


def test_a_store_that_is_away_is_waited_for_a_minute_and_nothing_else_for_as_long(heard):
    options = caching.retried(3)
    assert 60 <= sum(options["retry_delay_seconds"](options["retries"])) <= 90

    def again(error, attempt):
        return options["retry_condition_fn"](ingest.resolve, SimpleNamespace(run_count=attempt), Failed(data=error))

    assert again(errors.StoreUnavailable("No."), 5)
    assert again(errors.KaggleUnavailable("No."), 3)
    assert not again(errors.KaggleUnavailable("No."), 4)
    assert not again(errors.Interrupted("No."), 4)
    assert not again(errors.StoreRefused("No."), 1)
    assert caching.retried(0)["retries"] == 0


class Number(Ref):
    value: int = 0

    def summary(self) -> str:
        return f"the number {self.value}"


@stage.stage("double")
def double(out: Path, number: int, *, workspace, progress) -> Number:
    (out / "number.txt").write_text(str(2 * number))
    return Number(value=2 * number)


@stages.task(double)
def run_double(number: int) -> Number:
    return stages.run(double, number)


class RunsCode:
    """A pickle that makes a file when it is read."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def storage(prefect_server, tmp_path, monkeypatch):
    """Where Prefect would keep results, kept by default; with a workspace of its own."""
    monkeypatch.setenv("FER_HOME", str(tmp_path / "home"))
    folder = tmp_path / "storage"
    folder.mkdir()
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: folder, PREFECT_RESULTS_PERSIST_BY_DEFAULT: True}):
        yield folder


def flow_of(body, **options):
    return flow(name="cached", **options, **caching.NOT_PERSISTED)(outcomes.as_final_state(body))


def test_a_stage_whose_output_is_there_is_cached_and_says_by_which_run_and_when(storage, heard):
    states = []

    def body() -> Number:
        states.append(run_double(4, return_state=True))
        assert run_double.submit(4).result() == run_double(4)
        return run_double(4)

    first, again = flow_of(body, flow_run_name="the first")(), flow_of(body, flow_run_name="the second")()
    assert first == again == double(4, workspace=caching.workspace())
    assert [state.name for state in states] == ["Completed", "Cached"]
    assert all(state.is_completed() for state in states)
    key = double.key(4)
    assert states[0].message == f"nothing like it was made here before; output double/{key}"
    assert states[1].message.startswith("made by run the first (")
    assert states[1].message.endswith(f" UTC; output double/{key}")
    assert redaction.redacted(states[1].message) == states[1].message  # the log shows it whole
    ended = [event for event in heard if isinstance(event, events.Ended)]
    assert [event.cached for event in ended] == [False] + 7 * [True]
    assert {event.summary for event in ended} == {"the number 8"}
    assert {event.key for event in ended} == {key}
    assert ended[0].why == "nothing like it was made here before"
    assert re.fullmatch(r"by run [0-9a-f]{8}, \d+ s ago", ended[-1].origin)


def test_a_stage_that_runs_says_what_changed_since_the_nearest_output(storage, heard):
    flow_of(lambda: run_double(4))()
    flow_of(lambda: run_double(6))()
    assert [event.why for event in heard if isinstance(event, events.Ended)][1] == "number: 4 → 6"
    assert events.Noted("double", "runs: number: 4 → 6") in heard


def test_a_stage_is_made_again_on_demand_and_says_how_it_came_out(storage, heard):
    def body() -> Number:
        with caching.again(stages.checked(["double"])):
            return run_double(4)

    first = flow_of(lambda: run_double(4))()
    heard.clear()
    assert flow_of(body)() == first
    assert [event.cached for event in heard if isinstance(event, events.Ended)] == [False]
    assert events.Noted("double", "made again: it came out the same") in heard
    with pytest.raises(errors.ConfigError, match="trian"):
        stages.checked(["trian"])


def test_a_flow_that_is_tried_again_goes_on_with_what_it_made(storage, heard):
    def body() -> Number:
        number = run_double(5)
        if sum(isinstance(event, events.Ended) for event in heard) < 2:
            raise errors.StoreUnavailable("The store must answer.")
        return number

    assert flow_of(body, retries=1)().value == 10
    assert [event.cached for event in heard if isinstance(event, events.Ended)] == [False, True]


def test_prefect_keeps_no_results_nor_errors_whatever_its_settings_say(storage):
    def fail() -> None:
        run_double(1)
        raise errors.ConfigError("It must hold.")

    with pytest.raises(errors.ConfigError):
        flow_of(fail)()
    assert flow_of(lambda: run_double(1))().value == 2
    assert [path for path in storage.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("place", ["storage", "home"])
def test_no_code_runs_that_was_planted_where_prefect_or_the_workspace_keeps_anything(storage, tmp_path, place):
    """A record rewritten to name the pickle serializer ran its code at the next cached run."""
    marker = tmp_path / "code ran"
    run = flow_of(lambda: run_double(3))
    first = run()
    (storage / "planted").touch()
    serializer = PickleSerializer()
    for path in (path for path in (tmp_path / place).rglob("*") if path.is_file()):
        metadata = ResultRecordMetadata(storage_key=str(path), serializer=serializer)
        record = ResultRecord(result=RunsCode(marker), metadata=metadata)
        path.write_bytes(record.serialize() if place == "storage" else pickle.dumps(RunsCode(marker)))
    assert [run(), run()] == [first, first]
    assert not marker.exists()
