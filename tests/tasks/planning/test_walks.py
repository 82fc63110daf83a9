"""A walk finds what is made, and goes on with blank outputs where nothing is."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from fer.curation.refs import SplitRef
from fer.engine import stage
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.refs import Ref
from fer.evaluation.refs import VerdictRef
from fer.training.refs import ModelRef
from tasks.planning import walks


class Config(BaseModel):
    factor: int = 2


class Number(Ref):
    value: int = 0


@stage.stage("multiply")
def multiply(out: Path, given: int, config: Config, *, workspace, progress) -> Number:
    (out / "number").write_text(str(given * config.factor))
    return Number(value=given * config.factor)


@stage.stage("add")
def add(out: Path, to: Number, *, workspace, progress) -> Number:
    (out / "number").write_text(str(to.value + 1))
    return Number(value=to.value + 1)


@pytest.fixture
def workspace(tmp_path) -> LocalWorkspace:
    return LocalWorkspace(tmp_path)


def walk_through(workspace: LocalWorkspace, factor: int, forced: frozenset[str] = frozenset()) -> list[walks.Step]:
    walk = walks.Walk(workspace, forced)

    def output(of, **given) -> Number:
        def find(parameters):
            return of.found(*(parameters[name] for name in of.inputs), workspace=workspace)

        return walk.output(walks.Task(of.name, Number, find, of), given)

    output(add, to=output(multiply, given=3, config=Config(factor=factor)))
    return walk.steps


def run(workspace: LocalWorkspace, factor: int) -> None:
    add(multiply(3, Config(factor=factor), workspace=workspace), workspace=workspace)


def test_in_an_empty_workspace_everything_runs(workspace):
    first, second = walk_through(workspace, 2)
    assert (first.state, first.waits_for, first.reason.nearest) == ("runs", (), None)
    assert (second.state, second.waits_for, second.key) == ("runs", ("multiply",), None)


def test_what_is_there_is_cached(workspace):
    run(workspace, 2)
    assert [(step.name, step.state) for step in walk_through(workspace, 2)] == [
        ("multiply", "cached"),
        ("add", "cached"),
    ]


def test_what_follows_a_stage_that_runs_is_unknown_until_then(workspace):
    run(workspace, 2)
    first, second = walk_through(workspace, 5)
    assert (first.state, first.reason.sentence()) == ("runs", "config.factor: 2 → 5")
    assert first.key == multiply.key(3, Config(factor=5))
    assert (second.state, second.waits_for) == ("unknown", ("multiply",))


def test_a_forced_stage_runs_and_what_follows_stays_cached(workspace):
    run(workspace, 2)
    assert [step.state for step in walk_through(workspace, 2, frozenset({"multiply"}))] == ["runs", "cached"]


def walk_through_both(workspace: LocalWorkspace, factor: int, forced: frozenset[str] = frozenset()) -> walks.Step:
    """The step of one task that runs both stages."""

    def through(walk: walks.Walk, given) -> Number:
        return walk.stage_output(add, walk.stage_output(multiply, 3, Config(factor=given["factor"])))

    walk = walks.Walk(workspace, forced)
    made = walk.output(walks.Task("both", Number, lambda _: None, through=through), {"factor": factor})
    (step,) = walk.steps
    assert made.path == ("both/" if step.state != "cached" and not forced else step.parts[-1].record.path)
    return step


def test_a_task_of_several_stages_runs_as_soon_as_one_of_them_does(workspace):
    step = walk_through_both(workspace, 2)
    assert (step.state, [part.state for part in step.parts], step.record) == ("runs", ["runs", "runs"], None)
    run(workspace, 2)
    step = walk_through_both(workspace, 2)
    assert (step.state, [part.name for part in step.parts]) == ("cached", ["multiply", "add"])
    assert step.record.path == step.parts[-1].record.path
    step = walk_through_both(workspace, 5)
    assert (step.state, [part.state for part in step.parts]) == ("runs", ["runs", "unknown"])
    assert step.parts[0].reason.sentence() == "config.factor: 2 → 5"
    step = walk_through_both(workspace, 2, frozenset({"multiply"}))
    assert (step.state, [part.state for part in step.parts], step.record) == ("runs", ["runs", "cached"], None)


@pytest.mark.parametrize("ref_type", [ModelRef, SplitRef, VerdictRef, Number])
def test_a_blank_output_is_of_its_type_and_not_made(ref_type):
    made = walks.blank(ref_type, path="stage/")
    assert isinstance(made, ref_type)
    assert not walks.is_made({"deep": (made,)})
    assert walks.is_made(made.model_copy(update={"digest": "d"}))
    assert all(hasattr(made, name) for name in ref_type.model_fields)


def test_only_within_its_block_a_walk_goes_on(workspace):
    walk = walks.Walk(workspace)
    with walks.walking(walk):
        assert walks.current() is walk
    assert walks.current() is None
