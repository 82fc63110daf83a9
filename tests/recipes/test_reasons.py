"""What made a stage run, in a recipe's terms and up the chain."""

from pathlib import Path

import pytest

from fer.engine import stage
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.refs import Ref
from fer.recipes import reasons
from fer.shards.balance import BalanceConfig
from fer.training.config import TrainConfig


@stage.stage("balance")
def balance(out: Path, config: BalanceConfig, *, workspace, progress) -> Ref:
    """A stand-in of a name that the recipe knows."""
    (out / "config").write_text(config.model_dump_json())
    return Ref()


@stage.stage("train")
def train(out: Path, balanced: Ref, config: TrainConfig, *, workspace, progress) -> Ref:
    """Another one, of what that made."""
    (out / "model").write_text(balanced.digest + config.model_dump_json())
    return Ref()


def run(workspace: LocalWorkspace, *, epochs: int = 2, seed: int = 0) -> Ref:
    balanced = balance(BalanceConfig(seed=seed), workspace=workspace)
    return train(balanced, TrainConfig(model={"name": "mini-xception"}, epochs=epochs), workspace=workspace)


@pytest.fixture
def workspace(tmp_path) -> LocalWorkspace:
    return LocalWorkspace(tmp_path, made_by="run tidy-owl (7)")


def why(workspace: LocalWorkspace, stage_name: str = "train") -> reasons.Reason:
    record = reasons.newest(stage_name, workspace)
    found = reasons.of_output(record, workspace)
    assert found is not None
    return found


def test_the_first_output_has_nothing_to_be_compared_with(workspace):
    run(workspace)
    assert why(workspace).nearest is None
    assert why(workspace).sentence() == "nothing like it was made here before"


def test_a_setting_is_named_as_the_recipe_has_it(workspace):
    run(workspace)
    run(workspace, epochs=3)
    assert why(workspace).sentence() == "train.epochs: 2 → 3"
    assert why(workspace).is_of_its_own


def test_other_data_is_followed_to_the_stage_that_made_it(workspace):
    first = run(workspace)
    second = run(workspace, seed=5)
    reason = why(workspace)
    assert reason.nearest.path == first.path
    assert reason.sentence().startswith("balanced: other data (balance/")
    assert not reason.is_of_its_own
    (cause,) = reasons.causes(reason, workspace)
    assert (cause.depth, cause.reason.sentence()) == (1, "balance.seed: 0 → 5")
    assert cause.output.startswith("balance/")
    assert reasons.newest(second.path[: len("train/") + 8], workspace).path == second.path


def test_changed_code_is_one_line(workspace):
    run(workspace)
    parts = reasons.newest("train", workspace).parts
    names = list(parts.code)[:5]
    edited = parts.model_copy(update={"code": parts.code | dict.fromkeys(names, "0")})
    (sentence,) = reasons.of(edited, "train", workspace).sentences()
    assert sentence.startswith("code: ")
    assert sentence.endswith(" and 2 more files changed")


def test_an_output_that_is_gone_says_so(workspace):
    run(workspace)
    parts = reasons.newest("train", workspace).parts
    assert reasons.of(parts, "train", workspace).sentence() == "its earlier output is gone or damaged"


def test_what_is_kept_without_its_parts_is_passed_over(workspace):
    ref = run(workspace)
    workspace.run("train", "old", Ref, lambda out: Ref(), resumable=False)
    run(workspace, epochs=3)
    assert why(workspace).nearest.path == ref.path
