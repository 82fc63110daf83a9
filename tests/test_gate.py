import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import errors, gate, metrics, predictions, refs
from fer.workspace import Workspace

CLASSES = ("happy", "sad", "angry")
TRUTH = np.tile([0, 1, 2], 100)


def right(share: float, seed: int = 0) -> np.ndarray:
    """Predictions of TRUTH of which about `share` are right."""
    hit = np.random.default_rng(seed).random(len(TRUTH)) < share
    return np.where(hit, TRUTH, (TRUTH + 1) % 3)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def evaluation(workspace, name, predicted, *, truth=TRUTH, classes=CLASSES, prefix="") -> refs.EvaluationRef:
    """An evaluation of which only the predictions matter, committed to the workspace."""

    def produce(out):
        ids = [f"{prefix}{row}" for row in range(len(truth))]
        probabilities = np.eye(len(classes), dtype=np.float32)[predicted]
        predictions.write(out / predictions.FILE, ids, truth.astype(np.int32), probabilities, classes)
        found = metrics.from_predictions(out / predictions.FILE)
        return refs.EvaluationRef(
            split="test",
            n_images=found.n_images,
            accuracy=found.accuracy,
            accuracy_interval=found.accuracy_interval,
            macro_f1=found.macro.f1,
            macro_f1_interval=found.macro_f1_interval,
        )

    return workspace.run("evaluate", name, refs.EvaluationRef, produce, resumable=False)


def judge(workspace, candidate, champion=None, version=None, **config):
    return gate.gate(candidate, champion, version, gate.GateConfig(**config), workspace=workspace)


def test_without_a_champion_the_floors_decide_and_the_verdict_says_so(workspace):
    candidate = evaluation(workspace, "candidate", right(0.7))
    verdict = judge(workspace, candidate, min_accuracy=0.6, min_macro_f1=0.6)
    assert verdict.passed
    assert verdict.champion_version is None
    assert verdict.checks[-1].detail == "there is no champion to compare with"
    written = json.loads((workspace.folder(verdict) / "verdict.json").read_bytes())
    assert written["passed"] is True
    assert len(written["checks"]) == 3


def test_a_candidate_below_a_floor_fails_with_the_numbers(workspace):
    verdict = judge(workspace, evaluation(workspace, "candidate", right(0.7)), min_accuracy=0.9)
    assert not verdict.passed
    failed = [check for check in verdict.checks if not check.passed]
    assert [check.name for check in failed] == ["accuracy at least 0.9"]
    assert "floor 0.9" in failed[0].detail


def test_the_champion_itself_is_no_worse_than_the_champion(workspace):
    candidate = evaluation(workspace, "candidate", right(0.7))
    verdict = judge(workspace, candidate, evaluation(workspace, "champion", right(0.7)), 4, margin=0.0)
    assert verdict.passed
    assert verdict.champion_version == 4
    assert verdict.checks[-1].name == "macro-F1 no worse than the champion (version 4)"


def test_a_champion_of_other_classes_fails_and_says_so(workspace):
    verdict = judge(workspace, evaluation(workspace, "candidate", right(0.7)), None, 4)
    assert not verdict.passed
    assert "version 4" in verdict.checks[-1].detail
    assert "other classes" in verdict.checks[-1].detail


def test_a_much_worse_candidate_fails(workspace):
    candidate = evaluation(workspace, "candidate", right(0.5))
    verdict = judge(workspace, candidate, evaluation(workspace, "champion", right(0.9)), 1)
    assert [check.passed for check in verdict.checks] == [True, True, False, False]


def test_a_better_candidate_passes(workspace):
    candidate = evaluation(workspace, "candidate", right(0.9))
    assert judge(workspace, candidate, evaluation(workspace, "champion", right(0.5)), 1).passed


def test_as_good_but_by_too_few_images_does_not_pass(workspace):
    # 0.02 can't be told from 0 on 30 unpaired answers: no worse must be shown, not presumed.
    truth = TRUTH[:30]
    candidate = evaluation(workspace, "candidate", right(0.7, seed=1)[:30], truth=truth)
    champion = evaluation(workspace, "champion", right(0.7, seed=2)[:30], truth=truth)
    assert not judge(workspace, candidate, champion, 1).passed


def test_another_class_set_fails_a_check_instead_of_the_run(workspace):
    candidate = evaluation(workspace, "candidate", right(0.9))
    champion = evaluation(workspace, "champion", TRUTH, classes=("happy", "sad", "fear"))
    verdict = judge(workspace, candidate, champion, 2)
    assert not verdict.passed
    assert "fear" in verdict.checks[-1].detail


def test_other_images_are_refused(workspace):
    candidate = evaluation(workspace, "candidate", right(0.9))
    with pytest.raises(errors.ContractViolation, match=r"same images.*0 of them shared"):
        judge(workspace, candidate, evaluation(workspace, "champion", right(0.9), prefix="x"), 2)


def test_other_labels_are_refused(workspace):
    candidate = evaluation(workspace, "candidate", right(0.9))
    champion = evaluation(workspace, "champion", right(0.9), truth=(TRUTH + 1) % 3)
    with pytest.raises(errors.ContractViolation, match="same labels"):
        judge(workspace, candidate, champion, 2)


def test_rows_are_paired_by_image_whatever_their_order():
    predicted = np.arange(4, dtype=np.int32) % 3
    table = {"probabilities": np.eye(3)[predicted], "classes": CLASSES}
    candidate = predictions.Predictions(list("abcd"), predicted, predicted, **table)
    order = [2, 0, 3, 1]
    champion = predictions.Predictions([*"cadb"], predicted[order], predicted[order], **table)
    assert gate._paired(candidate, champion).tolist() == predicted.tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.floats(0, 0.2), st.integers(0, 5))
def test_making_answers_right_never_turns_a_pass_into_a_fail(few, more, margin, seed):
    few, more = sorted((few, more))
    order = np.random.default_rng(seed).permutation(len(TRUTH))
    champion = right(0.6, seed)

    def bound(n_right):
        answers = (TRUTH + 1) % 3
        answers[order[:n_right]] = TRUTH[order[:n_right]]
        return metrics.paired_difference(TRUTH, champion, answers, 3, samples=400).accuracy_bound

    # The draws of the two are not the same, hence the slack.
    assert bound(more) >= -margin or bound(few) < -margin + 0.02
