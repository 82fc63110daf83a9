"""Answers of several folds' models as one evaluation, and what the gate makes of it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation import evaluate, metrics, out_of_fold, predictions
from fer.evaluation.config import GateConfig
from fer.evaluation.gates import beforehand, gate
from fer.evaluation.refs import Champion, EvaluationRef, Judged, Opponents
from fer.training.refs import ModelRef

CLASSES = ("happy", "sad", "angry")
N, N_FOLDS = 90, 3
TRUTH = (np.arange(N) // N_FOLDS % 3).astype(np.int32)
FOLD = np.arange(N) % N_FOLDS


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


@pytest.fixture
def unchecked(monkeypatch):
    """Without the contract, which takes a quarter of a second; the tests of what is joined keep to it."""
    monkeypatch.setattr(out_of_fold.checks, "check_against", lambda *_: None)


@pytest.fixture
def folds(workspace) -> SplitRef:
    """Folds of N images, which a champion may know by heart."""

    def produce(out):
        rows = [
            {
                "image_id": f"{row:03}",
                "pixel_sha256": f"pixels of {row}",
                "near_duplicates": [],
                "class_index": int(TRUTH[row]),
                "split": "test",
            }
            for row in range(N)
        ]
        pq.write_table(pa.Table.from_pylist(rows), out / files.SPLIT)
        counts = {"test": dict.fromkeys(CLASSES, N // 3)}
        return SplitRef(classes=CLASSES, counts=counts, origin="cross-fitting in 3 folds", n_folds=N_FOLDS)

    return workspace.run("folds", "0", SplitRef, produce, resumable=False)


def evaluation(workspace, name, rows, n_wrong=0) -> EvaluationRef:
    """The evaluation of a model on these rows, the first of them answered wrongly."""

    def produce(out):
        truth = TRUTH[rows]
        predicted = np.where(np.arange(len(rows)) < n_wrong, (truth + 1) % 3, truth)
        probabilities = np.full((len(rows), 3), 0.1, np.float32)
        probabilities[np.arange(len(rows)), predicted] = 0.8
        for name in (predictions.FILE, predictions.FLIP_TTA):
            ids = [f"{row:03}" for row in rows]
            predictions.write(out / name, ids, truth, probabilities, np.ones(len(rows), bool), CLASSES)
        return evaluate.measured(out, "test")

    return workspace.run("evaluate", name, EvaluationRef, produce, resumable=False)


def of_folds(workspace, folds, name="a", n_wrong=0) -> EvaluationRef:
    parts = tuple(
        evaluation(workspace, f"{name} {number}", np.flatnonzero(number == FOLD)[::-1], n_wrong)
        for number in range(N_FOLDS)
    )
    return out_of_fold.join(parts, folds, None, workspace=workspace)


def champion(workspace, **fields) -> Champion:
    """A champion that learned every image."""

    def produce(out):
        (out / files.MODEL).write_bytes(b"k")
        known = [f"pixels of {row}" for row in range(N)]
        pq.write_table(pa.table({"pixel_sha256": known}), out / files.TRAINED_ON)
        scores = {"epochs_run": 1, "best_epoch": 1, "validation_accuracy": 0.5, "train_seconds": 1.0}
        return ModelRef(model="cnn", classes=CLASSES, n_parameters=1, **scores)

    model = workspace.run("champion", "1", ModelRef, produce, resumable=False)
    return Champion(version=1, source="demo", model=model, same_preprocessing=True, **fields)


def judge(workspace, folds, candidate, released=None, anchor=None):
    own = champion(workspace).model
    judged = Judged(source="demo", split=folds, model=own, evaluation=candidate)
    opponents = Opponents(champion=released, anchor=anchor)
    return gate.gate(judged, opponents, GateConfig(min_images=N, margin=0.1), workspace=workspace)


def test_the_answers_of_all_folds_are_one_set_in_the_order_of_image_ids(workspace, folds):
    joined = of_folds(workspace, folds, n_wrong=3)
    assert (joined.split, joined.n_images, joined.accuracy) == ("out-of-fold", N, pytest.approx(1 - 9 / N))
    rows = predictions.read(workspace.folder(joined) / predictions.FILE)
    assert rows.image_ids == [f"{row:03}" for row in range(N)]
    assert rows.class_indexes.tolist() == TRUTH.tolist()
    matrix = metrics.confusion(rows.class_indexes, rows.predicted, 3)
    assert np.trace(matrix) == N - 9


def test_an_image_without_an_answer_or_with_two_is_refused(workspace, folds):
    parts = [evaluation(workspace, str(number), np.flatnonzero(number == FOLD)) for number in range(N_FOLDS)]
    with pytest.raises(errors.ContractViolation, match="images of the split without a prediction"):
        out_of_fold.join(tuple(parts[:2]), folds, None, workspace=workspace)
    with pytest.raises(errors.ContractViolation, match="image_id occurs more than once"):
        out_of_fold.join((*parts, parts[0]), folds, None, workspace=workspace)


def test_candidate_and_champion_are_compared_on_all_images_though_the_champion_itself_learned_them(
    unchecked, workspace, folds
):
    released = champion(workspace, evaluation=of_folds(workspace, folds, "champion", n_wrong=10))
    verdict = judge(workspace, folds, of_folds(workspace, folds), released)
    assert verdict.passed
    assert verdict.replaces
    assert verdict.power.n_images == N
    assert "each of 90 images was answered by one of 3 models that had learned others" in verdict.estimate_of
    assert verdict.estimate_of in verdict.sentence()


def test_a_champion_whose_recipe_can_t_be_trained_keeps_its_place_and_the_verdict_says_why(unchecked, workspace, folds):
    released = champion(workspace, not_rebuilt="its recipe names a network that is not here")
    verdict = judge(workspace, folds, of_folds(workspace, folds), released)
    assert verdict.passed
    assert not verdict.promotes
    assert "a network that is not here" in verdict.decision


def test_a_best_release_whose_recipe_can_t_be_trained_is_named_and_refuses_nothing(unchecked, workspace, folds):
    of_champion = of_folds(workspace, folds, "champion", n_wrong=10)
    anchor = champion(workspace, not_rebuilt="made by other code").model_copy(update={"version": 2})
    verdict = judge(workspace, folds, of_folds(workspace, folds), champion(workspace, evaluation=of_champion), anchor)
    assert verdict.passed
    assert any(
        "best release (version 2)" in check.name and "made by other code" in check.detail for check in verdict.checks
    )


def small(n_per_class=(10, 10, 10), **fields):
    counts = {
        "train": {name: n - 2 for name, n in zip(CLASSES, n_per_class, strict=True)},
        "validation": dict.fromkeys(CLASSES, 1),
        "test": dict.fromkeys(CLASSES, 1),
    }
    return SplitRef(classes=CLASSES, counts=counts, origin="drawn", **fields)


@pytest.mark.parametrize(
    ("n_per_class", "settings"),
    [
        ((10, 10, 10), "(--set evaluation.folds=5 --set gate.min_images=30)"),
        ((40, 40, 40), "(--set evaluation.folds=5)"),
        ((4, 4, 4), "(--set evaluation.folds=4 --set gate.min_images=12)"),
    ],
)
def test_a_test_split_that_is_too_small_is_answered_with_the_settings_of_cross_fitting(n_per_class, settings):
    finding = beforehand.enough_images(small(n_per_class), GateConfig())
    assert f"by cross-fitting, which tests each of the {sum(n_per_class)} images once" in finding.todo
    assert settings in finding.todo


def test_it_is_not_proposed_where_a_class_could_not_be_learned_in_each_fold():
    assert "evaluation.folds" not in beforehand.enough_images(small((40, 40, 3)), GateConfig()).todo


def test_with_folds_all_images_count_as_tested():
    assert beforehand.warnings(small((40, 40, 40)), GateConfig()) != ()
    assert beforehand.warnings(small((40, 40, 40)), GateConfig(), n_folds=5) == ()
    (warning,) = beforehand.warnings(small(), GateConfig(), n_folds=5)
    assert "--set gate.min_images=30" in warning
    assert "evaluation.folds" not in warning
