"""The recipe of a release, trained anew on the folds that the candidate is judged by."""

import json
import logging

import pytest

from fer import errors
from fer.curation.refs import SplitRef
from fer.evaluation.refs import Champion, EvaluationRef, Opponents
from fer.ingest.refs import ManifestRef
from fer.recipes import catalog, overrides
from fer.registry.opponents import champion as champion_stage
from fer.training.refs import ModelRef
from tasks import cross_fitting, registry

CLASSES = ("happy", "sad")
MODEL = ModelRef(
    model="cnn", classes=CLASSES, n_parameters=1, epochs_run=1, best_epoch=1, validation_accuracy=0.5, train_seconds=1.0
)
RELEASED = Champion(version=3, source="demo", model=MODEL, same_preprocessing=False)
FOLDS = SplitRef(classes=CLASSES, counts={"test": {"happy": 9}}, origin="cross-fitting in 3 folds", n_folds=3)


def recipe(*settings):
    return overrides.apply(catalog.load("demo"), overrides.parse_settings(settings))


@pytest.fixture
def made_by(monkeypatch):
    """A function that sets what the release was made by: a recipe's JSON, and whether by this code."""

    def made(document, *, same_code=True):
        code = registry.code_fingerprint(recipe()) if same_code else "other"
        monkeypatch.setattr(champion_stage, "procedure", lambda *_: champion_stage.Procedure(document, code))

    return made


def test_it_is_the_release_s_training_on_the_candidate_s_data(made_by):
    own = recipe("train.learning_rate=0.01", "train.seeds=2", "preprocess.height=32", "split.test_share=0.2")
    made_by(json.loads(own.model_dump_json()))
    today = recipe("split.test_share=0.3", "train.timeout_s=7")
    rebuilt = registry.recipe_of(today, RELEASED)
    assert (rebuilt.preprocess, rebuilt.balance) == (own.preprocess, own.balance)
    assert rebuilt.train == own.train.model_copy(update={"timeout_s": 7})
    assert rebuilt.split == today.split


def test_the_same_recipe_is_the_same_trainings(made_by):
    made_by(json.loads(recipe().model_dump_json()))
    assert registry.recipe_of(recipe(), RELEASED) == recipe()


def unknown_network():
    document = json.loads(recipe().model_dump_json())
    document["train"]["model"] = {"name": "of another package"}
    return document


@pytest.mark.parametrize(
    ("document", "same_code", "why"),
    [
        (json.loads(recipe().model_dump_json()), False, "of other code"),
        (unknown_network(), True, "train.model"),
        ({"name": "from long ago"}, True, "must have the setting"),
    ],
)
def test_a_release_that_can_t_be_trained_anew_says_why(made_by, monkeypatch, document, same_code, why):
    made_by(document, same_code=same_code)
    monkeypatch.setattr(cross_fitting, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(cross_fitting, "evaluate", lambda *_: pytest.fail("nothing is to be trained"))
    opponents = judged_in_folds(Opponents(champion=RELEASED))
    assert opponents.champion.evaluation is None
    assert why in opponents.champion.not_rebuilt


def judged_in_folds(opponents):
    manifest = ManifestRef(source="demo", layouts=("x",), classes=CLASSES, n_found=9, n_quarantined=0)
    return cross_fitting.opponents(opponents, recipe(), manifest, FOLDS, None)


def test_what_would_fail_every_training_ends_the_run(made_by, monkeypatch):
    made_by(json.loads(recipe().model_dump_json()))

    def evaluate(*_):
        raise errors.WorkspaceError("The disk must have room.")

    monkeypatch.setattr(cross_fitting, "evaluate", evaluate)
    with pytest.raises(errors.WorkspaceError):
        judged_in_folds(Opponents(champion=RELEASED))


def test_champion_and_best_release_are_evaluated_by_their_own_recipes(made_by, monkeypatch):
    made_by(json.loads(recipe().model_dump_json()))
    interval = {"accuracy_interval": (0, 1), "macro_f1_interval": (0, 1)}
    whose = []

    def evaluate(own, manifest, folds, calibration, runner, who):
        whose.append(who)
        return EvaluationRef(split="out-of-fold", n_images=9, accuracy=1, macro_f1=1, **interval)

    monkeypatch.setattr(cross_fitting, "evaluate", evaluate)
    opponents = judged_in_folds(Opponents(champion=RELEASED, anchor=RELEASED))
    assert whose == ["champion", "best release"]
    assert opponents.champion.evaluation.n_images == opponents.anchor.evaluation.n_images == 9
