import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import quick_demo
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fer import errors, recipes
from fer.engine.workspace import Workspace
from fer.evaluation import compare, predictions
from fer.evaluation.refs import EvaluationRef
from fer.models import zoo
from fer.recipes import schema as recipe
from fer.training import hardware
from fer.training.refs import ModelRef
from flows import cli

CLASSES = ("happy", "sad")
TRUTH = np.array([0, 1] * 50, np.int32)
MODEL = ModelRef(
    model="vgg",
    classes=CLASSES,
    n_parameters=1_234,
    epochs_run=9,
    best_epoch=7,
    validation_accuracy=0.5,
    train_seconds=90.0,
)


def evaluation(workspace: Workspace, name: str, n_right: int, ids=None) -> EvaluationRef:
    """That of a model which is right about the first `n_right` of 100 images."""
    said = np.where(np.arange(100) < n_right, TRUTH, 1 - TRUTH)
    ids = ids or [f"id{row:03}" for row in range(100)]

    def produce(out):
        predictions.write(out / predictions.FILE, ids, TRUTH, np.eye(2)[said], np.ones(100, bool), CLASSES)
        scores = {"accuracy": n_right / 100, "accuracy_interval": (0, 1), "macro_f1": 0.5, "macro_f1_interval": (0, 1)}
        return EvaluationRef(split="test", n_images=100, **scores)

    return workspace.run("evaluate", name, EvaluationRef, produce, resumable=False)


def test_each_is_held_against_the_first_image_by_image(tmp_path):
    workspace = Workspace(tmp_path)
    better = MODEL.model_copy(update={"validation_accuracy": 0.9})
    found = {
        "first": (MODEL, evaluation(workspace, "a", 60)),
        "better": (better, evaluation(workspace, "b", 80)),
        "same": (MODEL, evaluation(workspace, "c", 60)),
    }
    first, second, same = compare.compare(found, workspace)
    assert first.difference is None
    assert second.difference == pytest.approx(0.2)
    low, high = second.difference_interval
    assert 0.1 < low < 0.2 < high < 0.3
    assert (same.difference, same.difference_interval) == (0, (0, 0))
    assert compare.best_of((first, second, same)) is second


def test_the_table_names_the_best_by_validation_and_has_a_row_each(tmp_path):
    workspace = Workspace(tmp_path)
    found = {
        "one": (MODEL.model_copy(update={"validation_accuracy": 0.7}), evaluation(workspace, "a", 50)),
        "the|other\n": (MODEL, evaluation(workspace, "b", 90)),
    }
    rows = compare.compare(found, workspace)
    text = compare.markdown(rows)
    assert "| one (best on validation) | vgg | 1,234 | 7 of 9 | 1.5 | 0.700 |" in text
    assert "| +0.400 (" in text
    assert [row["candidate"] for row in compare.table(rows)] == ["one (best on validation)", "the|other\n"]
    assert "| the\\|other\\\\u000a | vgg |" in text


def test_models_on_other_images_are_not_compared(tmp_path):
    workspace = Workspace(tmp_path)
    other = evaluation(workspace, "b", 60, [f"other{row:03}" for row in range(100)])
    with pytest.raises(errors.ContractViolation, match="same images"):
        compare.compare({"a": (MODEL, evaluation(workspace, "a", 60)), "b": (MODEL, other)}, workspace)


def test_candidates_are_recipes_of_the_same_data_with_settings_of_their_own():
    plan = recipes.load("demo")
    found = compare.plans(plan, {"as it is": [], "vgg": ["train.model.name=vgg"]})
    assert found["as it is"] == plan
    assert found["vgg"].train.model == zoo.Vgg()


@pytest.mark.parametrize(
    ("candidates", "must"),
    [
        ({}, "must have candidates"),
        ({"a": [], "": []}, "must have a name"),
        ({"a": [], "a ": []}, "must have a name"),
        ({"a": [], "b": ["split.seed=7"]}, r"same data.*another split for b"),
        ({"a": ["train.epochs=many"]}, r"train\.epochs"),
    ],
)
def test_candidates_that_cannot_be_compared_are_refused(candidates, must):
    with pytest.raises(errors.ConfigError, match=must):
        compare.plans(recipes.load("demo"), candidates)


def test_a_candidate_is_read_as_a_name_and_its_settings():
    found = compare.parse_candidates(["cnn:", " a b : train.epochs=5  train.model.widths=[8, 16] ", "c: x=a:b"])
    assert found == {"cnn": [], "a b": ["train.epochs=5", "train.model.widths=[8, 16]"], "c": ["x=a:b"]}


def test_a_candidates_values_are_json_as_those_of_set_are():
    phases = '[{"epochs": 1, "train_from": "head"}, {"epochs": 4, "learning_rate": 5e-4}]'
    weights = ["train.weights=my file.h5", "train.weights_origin=other faces"]
    found = compare.parse_candidates([f"a: {' '.join(weights)} train.phases={phases} train.seed=2"])
    assert found == {"a": [*weights, f"train.phases={phases}", "train.seed=2"]}
    plan = compare.plans(recipes.load("demo"), found)["a"]
    assert [each.epochs for each in plan.train.phases] == [1, 4]


@pytest.mark.parametrize("texts", [["vgg"], ["a:", "a : train.epochs=5"]])
def test_a_candidate_without_a_colon_or_a_name_of_its_own_is_refused(texts):
    with pytest.raises(errors.ConfigError, match="NAME: SETTING=VALUE"):
        compare.parse_candidates(texts)


@given(st.lists(st.text(max_size=12), max_size=3))
def test_any_texts_are_candidates_or_a_config_error(texts):
    with contextlib.suppress(errors.ConfigError):
        compare.plans(recipes.load("demo"), compare.parse_candidates(texts))


@pytest.mark.parametrize("text", [":", "vgg", "a: split.seed=7"])
def test_the_command_and_the_flow_refuse_the_same_candidates(text):
    with pytest.raises(errors.ConfigError):
        CliRunner().invoke(cli.app, ["compare", "--candidate", text], catch_exceptions=False)


@pytest.mark.end_to_end
def test_two_models_are_trained_and_compared_on_the_same_images(home):
    from flows.compare import compare as flow

    outcome = flow(
        sources=["demo"],
        recipe="demo",
        settings=recipe.parse_settings([*quick_demo.SETTINGS, "train.epochs=1", "train.precision=auto"]),
        candidates={"cnn": [], "xception": ["train.model.name=mini-xception", "train.model.widths=[4,8]"]},
    )
    assert [row["model"] for row in outcome.rows] == ["sequential-cnn", "mini-xception"]
    record = json.loads(Path(outcome.reports["as JSON"]).read_text())
    assert record["rows"][1]["difference_interval"] is not None
    plans = {
        name: recipes.load("demo").with_settings(recipe.parse_settings(given))
        for name, given in record["settings"].items()
    }
    assert (plans["cnn"].train.epochs, plans["xception"].train.epochs) == (1, 1)
    assert plans["cnn"].train.precision == hardware.fastest_precision()
    assert plans["xception"].train.model == zoo.MiniXception(widths=(4, 8))
    text = Path(outcome.reports["as Markdown"]).read_text()
    assert "## xception\n\n* " in text
    assert r"* train.model.widths=\[4, 8\]" in text
    assert "| macro average |" in text
