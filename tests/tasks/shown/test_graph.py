"""The arrows of a run's graph, and its phases."""

import dataclasses
import time

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.states import Completed

from fer import errors
from fer.engine.records import Record
from fer.engine.refs import Ref
from tasks.shown import graph


@dataclasses.dataclass(frozen=True)
class Pair:
    first: Ref
    second: Ref


class Passed(Record):
    old: Ref


def ref(path: str) -> Ref:
    return Ref(path=path, digest="d")


def ended(level: graph.Level, result, *given) -> list[int]:
    direct = level.direct(given)
    level.add(Completed(), result, direct)
    return direct


def test_an_arrow_goes_from_the_task_that_made_what_another_takes_also_within_other_records():
    level = graph.Level()
    assert ended(level, ref("a")) == []
    assert ended(level, ref("b")) == []
    assert ended(level, ref("c"), Pair(ref("a"), ref("b")), "a") == [0, 1]


def test_arrows_that_others_imply_are_left_out():
    level = graph.Level()
    ended(level, ref("manifest"))
    ended(level, ref("validation"), ref("manifest"))
    assert ended(level, ref("inspection"), ref("manifest"), ref("validation")) == [1]
    assert ended(level, ref("curation"), [ref("validation"), {"of": ref("inspection")}]) == [2]


def test_equal_words_and_numbers_join_nothing():
    level = graph.Level()
    ended(level, Ref(path="a", digest="same"))
    assert ended(level, ref("b"), "same", 300, None, Ref(path="elsewhere", digest="same")) == []


def test_what_a_task_passes_on_remains_its_makers_but_not_what_it_returns():
    level = graph.Level()
    ended(level, ref("old"))
    passed = Passed(old=ref("old"))
    ended(level, passed, ref("old"))
    assert ended(level, ref("new"), ref("old")) == [0]
    assert ended(level, ref("other"), passed) == [1]
    ended(level, ref("old"))  # found again by a stage of its own
    assert ended(level, ref("last"), ref("old")) == [4]


def test_a_task_outside_of_a_flow_is_a_function(prefect_server):
    assert graph.task("twice")(lambda number: 2 * number)(3) == 6


def test_phases_unfold_to_their_tasks_and_an_error_goes_through(prefect_server):
    make = graph.task("make")(lambda path: ref(path))
    use = graph.task("use")(lambda *refs: Completed(name="Cached", data=ref("used")))

    def work() -> Pair:
        first, second = make("a"), make("b")
        return Pair(first, use(first, second))

    def fail(pair: Pair) -> None:
        make("c")
        raise errors.TrainingError("It failed.")

    @flow(persist_result=False)
    def run():
        with graph.drawn():
            pair = graph.phase("work", work)()
            with pytest.raises(errors.TrainingError, match="It failed"):
                graph.phase("fail", fail)(pair)
            return Completed(data=pair)

    state = run(return_state=True)
    assert state.result() == Pair(ref("a"), ref("used"))
    runs = recorded(state.state_details.flow_run_id, 6)
    by_name = {run.name: run for run in runs}
    assert sorted(run.name for run in runs) == ["fail", "make", "make", "make", "use", "work"]
    assert by_name["fail"].state.is_failed()
    assert by_name["use"].state.name == "Cached"
    assert len(by_name["use"].task_inputs["wait_for"]) == 2
    assert by_name["use"].task_inputs["refs"] == []
    assert [given.id for given in by_name["use"].task_inputs["__parents__"]] == [by_name["work"].id]
    assert [given.id for given in by_name["fail"].task_inputs["wait_for"]] == [by_name["work"].id]


def recorded(flow_run, n_tasks: int):
    """The tasks of a flow's run; the server records them by and by."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
    with get_client(sync_client=True) as client:
        for _ in range(100):
            runs = client.read_task_runs(flow_run_filter=of_run)
            if len(runs) == n_tasks and all(run.state.is_final() for run in runs):
                return runs
            time.sleep(0.1)
    raise AssertionError([(run.name, run.state) for run in runs])
