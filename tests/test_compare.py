import json
from pathlib import Path

import numpy as np
import pytest
import quick_demo

from fer import compare, errors, predictions, recipe, recipes, refs
from fer.workspace import Workspace
from tasks import comparison

CLASSES = ("happy", "sad")
TRUTH = np.array([0, 1] * 50, np.int32)
MODEL = refs.ModelRef(
    model="vgg",
    classes=CLASSES,
    n_parameters=1_234,
    epochs_run=9,
    best_epoch=7,
    validation_accuracy=0.5,
    train_seconds=90.0,
)


def evaluation(workspace: Workspace, name: str, n_right: int, ids=None) -> refs.EvaluationRef:
    """That of a model which is right about the first `n_right` of 100 images."""
    said = np.where(np.arange(100) < n_right, TRUTH, 1 - TRUTH)
    ids = ids or [f"id{row:03}" for row in range(100)]

    def produce(out):
        predictions.write(out / predictions.FILE, ids, TRUTH, np.eye(2)[said], np.ones(100, bool), CLASSES)
        scores = {"accuracy": n_right / 100, "accuracy_interval": (0, 1), "macro_f1": 0.5, "macro_f1_interval": (0, 1)}
        return refs.EvaluationRef(split="test", n_images=100, **scores)

    return workspace.run("evaluate", name, refs.EvaluationRef, produce, resumable=False)


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
        "other": (MODEL, evaluation(workspace, "b", 90)),
    }
    rows = compare.compare(found, workspace)
    text = compare.markdown(rows)
    assert "| one (best on validation) | vgg | 1,234 | 7 of 9 | 1.5 | 0.700 |" in text
    assert "| +0.400 (" in text
    assert [row["candidate"] for row in compare.table(rows)] == ["one (best on validation)", "other"]


def test_models_on_other_images_are_not_compared(tmp_path):
    workspace = Workspace(tmp_path)
    other = evaluation(workspace, "b", 60, [f"other{row:03}" for row in range(100)])
    with pytest.raises(errors.ContractViolation, match="same images"):
        compare.compare({"a": (MODEL, evaluation(workspace, "a", 60)), "b": (MODEL, other)}, workspace)


def test_candidates_of_other_data_are_refused():
    plan = recipes.load("demo")
    other = plan.with_settings(recipe.parse_settings(["split.seed=7"]))
    with pytest.raises(errors.ConfigError, match=r"same data.*another split for b"):
        comparison.check(plan, {"a": plan, "b": other})
    with pytest.raises(errors.ConfigError, match="must have candidates"):
        comparison.check(plan, {})


@pytest.mark.end_to_end
def test_two_models_are_trained_and_compared_on_the_same_images(home):
    from flows.compare import compare as flow

    outcome = flow(
        sources=["demo"],
        recipe="demo",
        settings=recipe.parse_settings([*quick_demo.SETTINGS, "train.epochs=1"]),
        candidates={"cnn": [], "xception": ["train.model.name=mini-xception", "train.model.widths=[4,8]"]},
    )
    assert [row["model"] for row in outcome.rows] == ["sequential-cnn", "mini-xception"]
    record = json.loads(Path(outcome.reports["as JSON"]).read_text())
    assert record["rows"][1]["difference_interval"] is not None
    text = Path(outcome.reports["as Markdown"]).read_text()
    assert "## xception" in text
    assert "| macro average |" in text
