"""Scores of probabilities, against scikit-learn's on random and degenerate inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from fer.evaluation import probabilities

CLASSES = ("happy", "sad", "angry", "fear")


def drawn(n: int, n_present: int, seed: int, *, coarse: bool) -> tuple[np.ndarray, np.ndarray]:
    """(N,) classes of the first `n_present`, and (N, 4) probabilities; `coarse` ones are often equal."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, n_present, n)
    logits = draw.normal(size=(n, len(CLASSES))) + 1.5 * np.eye(len(CLASSES))[truth]
    values = np.exp(np.round(logits) if coarse else logits)
    return truth, values / values.sum(axis=1, keepdims=True)


@settings(max_examples=settings.default.max_examples * 2 // 5)
@given(st.integers(2, 60), st.integers(1, 4), st.integers(0, 9), st.booleans())
def test_the_scores_are_those_of_scikit_learn(n, n_present, seed, coarse):
    truth, predicted = drawn(n, n_present, seed, coarse=coarse)
    scores, answers = probabilities.scores(truth, predicted, CLASSES), predicted.argmax(axis=1)
    labels = range(len(CLASSES))
    recalls = reference.recall_score(truth, answers, labels=np.unique(truth), average="macro", zero_division=0)
    assert scores.balanced_accuracy == pytest.approx(recalls, abs=1e-12)
    assert scores.log_loss == pytest.approx(reference.log_loss(truth, predicted, labels=labels), abs=1e-12)
    brier = reference.brier_score_loss(truth, predicted, labels=labels, scale_by_half=False)
    assert scores.brier == pytest.approx(brier, abs=1e-12)
    if not coarse:  # on an edge it takes the other bin
        right, confidence = answers == truth, predicted.max(axis=1)
        accuracies, confidences = calibration_curve(right, confidence, n_bins=15, pos_label=True)
        assert [one.accuracy for one in scores.equal_width] == pytest.approx(accuracies, abs=1e-12)
        assert [one.confidence for one in scores.equal_width] == pytest.approx(confidences, abs=1e-12)
    assert scores.calibration_error == pytest.approx(probabilities.error_of(scores.equal_width), abs=1e-12)
    if len(set(truth) | set(answers)) > 1:
        assert scores.kappa == pytest.approx(reference.cohen_kappa_score(truth, answers, labels=labels), abs=1e-12)
    if not coarse:  # of equal probabilities scikit-learn takes the later class first
        top_2 = reference.top_k_accuracy_score(truth, predicted, k=2, labels=labels)
        assert scores.top_2_accuracy == pytest.approx(top_2, abs=1e-12)
    for index, name in enumerate(CLASSES):
        if 0 < (truth == index).sum() < n:
            area = reference.roc_auc_score(truth == index, predicted[:, index])
            assert scores.auc[name] == pytest.approx(area, abs=1e-12)
        else:
            assert name not in scores.auc


def test_the_scores_of_one_image_are_finite():
    scores = probabilities.scores(np.array([0]), np.array([[1.0, 0.0, 0.0, 0.0]]), CLASSES)
    assert (scores.balanced_accuracy, scores.top_2_accuracy, scores.brier, scores.kappa) == (1, 1, 0, 0)
    assert scores.log_loss == pytest.approx(0, abs=1e-12)
    assert (scores.auc, scores.mean_auc) == ({}, None)
    assert all(np.isfinite(interval).all() for interval in scores.intervals.values())
    certain_and_wrong = probabilities.scores(np.array([1]), np.array([[1.0, 0.0, 0.0, 0.0]]), CLASSES)
    assert 30 < certain_and_wrong.log_loss < 40


def test_bins_have_as_many_images_each_and_tell_what_is_sure_from_what_is_right():
    truth = np.zeros(300, int)
    sure = np.linspace(0.51, 0.99, 300)
    predicted = np.stack([sure, 1 - sure], axis=1)
    predicted[::2] = predicted[::2, ::-1]  # each second one is wrong
    bins = probabilities.reliability(truth, predicted)
    assert [one.n_images for one in bins] == [20] * 15
    assert [one.accuracy for one in bins] == [0.5] * 15
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)
    scores = probabilities.scores(truth, predicted, ("happy", "sad"))
    assert scores.adaptive_calibration_error == pytest.approx(0.25, abs=1e-9)
    assert len(probabilities.reliability(truth[:4], predicted[:4])) == 4


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 9), st.booleans())
def test_intervals_are_ordered_and_hold_what_is_estimated(n, n_present, seed, coarse):
    truth, predicted = drawn(n, n_present, seed, coarse=coarse)
    scores = probabilities.scores(truth, predicted, CLASSES)
    for name, (low, high) in scores.intervals.items():
        assert 0 <= low <= high, name
    for name in ("top_2_accuracy", "balanced_accuracy"):
        assert scores.intervals[name][0] <= getattr(scores, name) + 1e-6
        assert scores.intervals[name][1] >= getattr(scores, name) - 1e-6


@pytest.mark.slow  # by what it computes
def test_intervals_hold_the_true_value_about_as_often_as_they_say():
    n_held = dict.fromkeys(("log_loss", "brier", "balanced_accuracy"), 0)
    truth, predicted = drawn(20_000, 4, 99, coarse=False)
    true = probabilities.scores(truth, predicted, CLASSES)
    for seed in range(40):
        scores = probabilities.scores(*drawn(400, 4, seed, coarse=False), CLASSES)
        for name in n_held:
            low, high = scores.intervals[name]
            n_held[name] += low <= getattr(true, name) <= high
    assert min(n_held.values()) >= 34


def test_bins_of_equal_width_leave_out_empty_ones_and_tell_their_edges():
    truth = np.array([0, 0, 0, 1])
    predicted = np.array([[0.95, 0.05], [0.97, 0.03], [0.55, 0.45], [0.55, 0.45]])
    bins = probabilities.equal_width(truth, predicted)
    assert [(one.n_images, round(one.low * 15), round(one.high * 15)) for one in bins] == [(2, 8, 9), (2, 14, 15)]
    assert [one.accuracy for one in bins] == [0.5, 1]
    assert bins[0].accuracy_interval[0] < 0.5 < bins[0].accuracy_interval[1]
