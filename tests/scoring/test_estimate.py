"""The estimate of the accuracy without labels."""

import numpy as np
import pytest

from fer.scoring import estimate


def drawn(n=2_000, low=0.5, seed=0):
    """Confidence of N answers, and whether each is right: as often as its confidence says."""
    draw = np.random.default_rng(seed)
    confidence = draw.uniform(low, 1, n)
    return confidence, draw.random(n) < confidence


def test_on_faces_like_the_tests_it_is_as_good_as_it_says():
    confidence, right = drawn()
    others, others_right = drawn(seed=1)
    made = estimate.estimate(confidence, right, others)
    assert made.accuracy == pytest.approx(others_right.mean(), abs=3 * made.error_on_test)
    assert 0 < made.error_on_test < 0.05
    assert made.accuracy_on_test == pytest.approx(right.mean())


def test_less_confidence_is_less_accuracy():
    confidence, right = drawn()
    assert estimate.estimate(confidence, right, confidence * 0.8).accuracy < right.mean() - 0.1


@pytest.mark.parametrize("right", [np.ones(100, bool), np.zeros(100, bool)])
def test_a_model_that_is_always_right_or_wrong_has_an_estimate(right):
    made = estimate.estimate(np.linspace(0.5, 1, 100), right, np.linspace(0.5, 1, 100))
    assert made.accuracy == pytest.approx(right.mean(), abs=0.02)


def test_of_a_small_test_or_no_face_there_is_none():
    confidence, right = drawn(29)
    assert estimate.estimate(confidence, right, confidence) is None
    confidence, right = drawn(100)
    assert estimate.estimate(confidence, right, np.empty(0)) is None
