"""Data too small for a test split: the run stops and says how it can be judged, and that ends in a release."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
import quick_demo

from fer import errors
from fer.evaluation import predictions
from fer.evaluation.gates import beforehand
from fer.recipes import overrides
from fer.registry import releases
from tasks.runs.results import RetrainResult, RunPlan

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("in_this_process")]

SMALL = (
    'demo.images_per_class={"happy": 20, "sad": 16, "surprise": 20}',
    "demo.duplicates=3",
    "gate.min_images=100",
    "robustness.enabled=false",
    "explanations.enabled=false",
    "slices.enabled=false",
)
FOLDS = ["fold 1", "fold 2"]
CHAMPIONS_FOLDS = [f"champion {name}" for name in FOLDS]


class Run(NamedTuple):
    result: RetrainResult
    executed: list[str]
    cached: list[str]


def retrain(*settings: str) -> Run:
    from flows.retrain import retrain as flow
    from tasks.runs import events

    heard_events: list[events.Event] = []
    chosen = overrides.parse_settings([*quick_demo.SETTINGS, *SMALL, *settings])
    with events.heard_by(heard_events.append):
        result = flow(sources=["demo"], recipe="demo", settings=chosen)
    ended = [event for event in heard_events if isinstance(event, events.Ended)]
    return Run(
        result,
        [event.name for event in ended if not event.cached],
        [event.name for event in ended if event.cached],
    )


def plan(*settings: str) -> RunPlan:
    """What that run would do."""
    from flows import retrain as flows_retrain

    return flows_retrain.plan(["demo"], "demo", overrides.parse_settings([*quick_demo.SETTINGS, *SMALL, *settings]))


class Proposed(NamedTuple):
    """What the message of the run that stops proposes."""

    settings: list[str]
    n_images: int  # that would be tested


@pytest.fixture(scope="module")
def proposed(home: Path) -> Proposed:
    """Two folds, so that there are few trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beforehand, "_FOLDS", len(FOLDS))
        with pytest.raises(errors.ContractViolation, match=r"gate\.min_images=100") as caught:
            retrain()
    pasted = re.search(r"tests each of the (\d+) images once[^(]*\((--set [^)]*)\)", str(caught.value))
    assert pasted is not None, str(caught.value)
    words = shlex.split(pasted[2])
    assert set(words[::2]) == {"--set"}
    return Proposed(words[1::2], int(pasted[1]))


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {}


@pytest.fixture
def first(proposed: Proposed, runs: dict[str, Run]) -> Run:
    """The first run by what was proposed, made once, in this process."""
    if "first" not in runs:
        runs["first"] = retrain(*proposed.settings)
    return runs["first"]


def test_the_settings_that_it_proposes_end_in_a_release_judged_out_of_fold(first, proposed):
    assert proposed.settings == ["evaluation.folds=2", f"gate.min_images={proposed.n_images}"]
    result = first.result
    assert (result.status, result.release.version) == ("released", 1)
    assert [name for name in first.executed if "fold" in name] == ["folds", *FOLDS, "out of fold"]
    assert (result.evaluation.split, result.evaluation.n_images) == ("out-of-fold", proposed.n_images)
    assert f"on {proposed.n_images} out-of-fold images" in result.message()
    assert "not of how good this very model is" in result.verdict.estimate_of
    assert result.verdict.estimate_of in Path(result.reports["report"]).read_text()


def test_the_release_holds_the_answers_and_learned_all_but_validation(first):
    with releases.local_copy("demo@1") as (manifest, folder):
        answers = predictions.read(folder / predictions.FILE)
        assert len(set(answers.image_ids)) == len(answers.image_ids) == first.result.evaluation.n_images
        assert manifest.inputs.keys() >= {"folds", "all but validation", "out of fold"}


def test_again_everything_is_cached(first, proposed):
    again = retrain(*proposed.settings)
    assert again.executed == []
    assert again.result.release.version == 1


def test_another_recipe_is_compared_by_the_answers_of_both_on_the_same_folds(first, proposed):
    settings = ("train.learning_rate=0.004", "gate.margin=1", "gate.max_churn=1", "gate.superiority=0")
    planned = {row["stage"]: row for row in plan(*proposed.settings, *settings).rows}
    assert {planned[fold]["plan"] for fold in CHAMPIONS_FOLDS} == {"cached"}
    for fold in FOLDS:
        assert (planned[fold]["plan"], planned[fold]["minutes"] != "?") == ("will run", True)
        assert planned[fold]["why"].startswith("train.learning_rate")
    second = retrain(*proposed.settings, *settings)
    assert set(FOLDS) <= set(second.executed)
    assert set(CHAMPIONS_FOLDS) <= set(second.cached)
    verdict = second.result.verdict
    assert (verdict.champion_version, second.result.release.version) == (1, 2)
    assert verdict.power is not None
    assert verdict.power.n_images == first.result.evaluation.n_images
    assert second.result.status == "released"
