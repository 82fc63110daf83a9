"""What a step will take is what the nearest earlier output of its stage took."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from fer.engine import disk, outputs, stage
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.refs import Ref
from fer.models import saved_model
from fer.recipes import catalog
from fer.registry.register import RegisteredRef
from fer.training.config import TrainConfig
from tasks.planning import estimates, walks


class Config(BaseModel):
    factor: int = 2


@stage.stage("multiply")
def multiply(out: Path, config: Config, *, workspace, progress) -> Ref:
    (out / "number").write_text(str(config.factor))
    return Ref()


@stage.stage("learn")
def learn(out: Path, config: TrainConfig, *, workspace, progress) -> Ref:
    (out / saved_model.ABOUT).write_text(json.dumps({"peak_memory_mb": 1_500.0}))
    return Ref()


@pytest.fixture
def workspace(tmp_path) -> LocalWorkspace:
    return LocalWorkspace(tmp_path)


def took(workspace: LocalWorkspace, ref: Ref, seconds: float | None, machine: str | None = None) -> None:
    """Have the record say that the output took so long."""
    folder = workspace.root / ref.path
    record = outputs.read_record(folder)._replace(seconds=seconds)
    document = record._asdict() | ({} if machine is None else {"made_on": machine})
    (folder / outputs.RECORD).write_bytes(disk.sealed(document))


def step(workspace: LocalWorkspace, of: stage.Stage, *inputs) -> walks.Step:
    walk = walks.Walk(workspace)
    walk.stage_output(of, *inputs)
    return walk.steps[0]


def test_it_is_what_the_nearest_output_of_this_machine_took(workspace):
    assert estimates.of(step(workspace, multiply, Config(factor=2)), workspace) == estimates.Estimate()
    took(workspace, multiply(Config(factor=2), workspace=workspace), 5.0, "another")
    there = estimates.of(step(workspace, multiply, Config(factor=3)), workspace)
    assert (there.seconds, there.size_bytes, there.is_of_another) == (5.0, 1, True)
    took(workspace, multiply(Config(factor=4), workspace=workspace), 7.0)
    here = estimates.of(step(workspace, multiply, Config(factor=3)), workspace)
    assert (here.seconds, here.is_of_another) == (7.0, False)
    assert estimates.of(step(workspace, multiply, Config(factor=4)), workspace) == estimates.Estimate(0.0, 0)


def test_a_task_of_several_stages_takes_what_they_take(workspace):
    took(workspace, multiply(Config(factor=2), workspace=workspace), 5.0)

    def several(*factors: int) -> walks.Step:
        parts = tuple(step(workspace, multiply, Config(factor=factor)) for factor in factors)
        return walks.Step("fold 1", None, None, None, (), None, parts=parts)

    assert estimates.of(several(2, 3, 4), workspace)[:2] == (10.0, 2)
    unknown = step(workspace, learn, config())
    found = estimates.of(several(3)._replace(parts=(*several(3).parts, unknown)), workspace)
    assert (found.seconds, found.without) == (5.0, ("learn",))
    assert estimates.of(several(3)._replace(parts=(unknown,)), workspace) == estimates.Estimate()


def test_registering_takes_what_it_took_lately(workspace):
    registering = walks.Step("register", None, None, None, ("gate",), None)
    assert estimates.of(registering, workspace) == estimates.Estimate()
    for key, seconds in {"a": 0.0, "b": 30.0, "c": 0.2, "d": 40.0}.items():  # a: by a version that did not say
        made = RegisteredRef(seconds=seconds)
        workspace.run("register", key, RegisteredRef, lambda out, made=made: made, resumable=False)
    found = estimates.of(registering, workspace)
    assert (found.seconds, found.is_of_another) == (30.0, False)


def test_registering_a_model_takes_what_it_took_for_that_model(workspace):
    for key, (model, seconds) in enumerate([("demo", 2.0), ("large", 90.0), ("large", 80.0), ("large", 70.0)]):
        made = RegisteredRef(seconds=seconds, model=model)
        workspace.run("register", str(key), RegisteredRef, lambda out, made=made: made, resumable=False)
    registering = walks.Step("register", None, None, None, ("gate",), None)
    assert estimates.of(registering._replace(model="demo"), workspace).seconds == 2.0
    assert estimates.of(registering._replace(model="large"), workspace).seconds == 80.0
    assert estimates.of(registering._replace(model="new"), workspace).seconds == 80.0


def config(**changed) -> TrainConfig:
    return catalog.load("demo").train.model_copy(update=changed)


def test_memory_says_whose_it_was_and_what_bore_on_it(workspace):
    ref = learn(config(), workspace=workspace)
    same = estimates.of(step(workspace, learn, config(seed=5)), workspace).memory
    assert same == estimates.Memory(1_500.0, f"learn/{ref.path.partition('/')[2][:8]}")
    batch = config().batch_size
    other = estimates.of(step(workspace, learn, config(seed=5, batch_size=2 * batch)), workspace).memory
    assert other.differing == (f"train.batch_size: {batch} → {2 * batch}",)


def test_what_bears_on_memory_is_a_setting():
    names = [name.removeprefix("train.").removesuffix(".") for name in estimates._OF_MEMORY]
    assert set(names) <= set(TrainConfig.model_fields)
