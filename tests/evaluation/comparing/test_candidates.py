import numpy as np
import pytest

from data_contracts import files
from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.workspace import Workspace
from fer.evaluation import predictions
from fer.evaluation.comparing import candidates as compared
from fer.evaluation.comparing.differences import Estimate
from fer.evaluation.refs import EvaluationRef
from fer.evaluation.slices import columns
from fer.evaluation.slices.config import SlicesConfig
from fer.training.refs import ModelRef

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


def model(workspace: Workspace) -> ModelRef:
    def produce(out):
        (out / files.MODEL).write_bytes(b"abc")
        return MODEL

    return workspace.run("train", "0", ModelRef, produce, resumable=False)


def evaluation(workspace: Workspace, name: str, n_right: int, ids=None) -> EvaluationRef:
    """The evaluation of a model that is right about the first `n_right` of 100 images."""
    predicted = np.where(np.arange(100) < n_right, TRUTH, 1 - TRUTH)
    ids = ids or [f"id{row:03}" for row in range(100)]

    def produce(out):
        predictions.write(out / predictions.FILE, ids, TRUTH, np.eye(2)[predicted], np.ones(100, bool), CLASSES)
        scores = {"accuracy": n_right / 100, "accuracy_interval": (0, 1), "macro_f1": 0.5, "macro_f1_interval": (0, 1)}
        return EvaluationRef(split="test", n_images=100, **scores)

    return workspace.run("evaluate", name, EvaluationRef, produce, resumable=False)


def test_each_candidate_is_compared_with_the_first_image_by_image(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    better = model(workspace).model_copy(update={"validation_accuracy": 0.9})
    named = {
        "first": (model(workspace), evaluation(workspace, "a", 60)),
        "better": (better, evaluation(workspace, "b", 80)),
        "same": (model(workspace), evaluation(workspace, "c", 60)),
    }
    first, second, same = compared.compare(named, workspace, time_them=False)
    assert first.differences is None
    assert second.differences.accuracy.value == pytest.approx(0.2)
    low, high = second.differences.accuracy.interval
    assert 0.1 < low < 0.2 < high < 0.3
    assert (second.differences.n_gained, second.differences.n_lost) == (20, 0)
    assert same.differences.accuracy == Estimate(value=0, interval=(0, 0))
    assert first.costs.size_bytes == 3
    assert compared.best_of((first, second, same)) is second


def test_the_slices_are_those_of_the_data_they_were_tested_on(tmp_path, monkeypatch):
    workspace = LocalWorkspace(tmp_path)
    groups = np.array(["f"] * 70 + ["m"] * 30, object)
    gender = columns.Column("gender", "group", groups, ("f", "m"))
    monkeypatch.setattr(columns, "read", lambda image_ids, *_: ([gender], []))
    known = compared.Known(*(model(workspace) for _ in range(3)), SlicesConfig(min_slice_size=40))
    named = {
        "first": (model(workspace), evaluation(workspace, "a", 60)),
        "better": (model(workspace), evaluation(workspace, "b", 80)),
    }
    _, better = compared.compare(named, workspace, known, time_them=False)
    (only,) = better.differences.slices  # of the other group there are too few images
    assert (only.name, only.n_images, only.n_gained, only.n_lost) == ("gender f", 70, 10, 0)


def test_models_on_other_images_are_not_compared(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    other = evaluation(workspace, "b", 60, [f"other{row:03}" for row in range(100)])
    named = {"a": (model(workspace), evaluation(workspace, "a", 60)), "b": (model(workspace), other)}
    with pytest.raises(errors.ContractViolation, match="same images"):
        compared.compare(named, workspace, time_them=False)
