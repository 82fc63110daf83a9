import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.evaluation.calibration import conformal


def drawn(n: int, n_present: int = 3, seed: int = 0, *, coarse: bool = False):
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, n_present, n)
    logits = draw.normal(size=(n, 3)) + 1.2 * np.eye(3)[truth]
    values = np.exp(np.round(logits) if coarse else logits)
    return truth, (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(1, 60), st.integers(0, 9), st.booleans(), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_sets_are_those_of_crepes(n, seed, coarse, coverage):
    import crepes  # not in each process that collects this test

    truth, values = drawn(n, seed=seed, coarse=coarse)
    _, others = drawn(20, seed=seed + 100, coarse=coarse)
    highest = conformal.thresholds(truth, values, [coverage], by_class=False)[0]
    scores = (1 - values.astype(np.float64))[np.arange(n), truth]
    expected = (
        crepes.ConformalClassifier()
        .fit(scores)
        .predict_set(1 - others.astype(np.float64), confidence=coverage, smoothing=False)
    )
    expected[np.arange(len(others)), others.argmax(axis=1)] = 1
    np.testing.assert_array_equal(conformal.sets(others, highest), expected == 1)


@pytest.mark.parametrize("by_class", [False, True])
def test_the_true_class_is_in_as_many_sets_as_stated(by_class):
    truth, values = drawn(2_000, seed=1)
    (highest,) = conformal.thresholds(truth, values, [0.9], by_class=by_class)
    truth, values = drawn(4_000, seed=2)
    sets = conformal.sets(values, highest)
    covered = sets[np.arange(len(truth)), truth]
    assert covered.mean() == pytest.approx(0.9, abs=0.025)
    if by_class:
        assert [covered[truth == index].mean() for index in range(3)] == pytest.approx([0.9] * 3, abs=0.04)


def test_more_coverage_takes_larger_sets():
    truth, values = drawn(500)
    highest = conformal.thresholds(truth, values, [0.6, 0.8, 0.95], by_class=False)
    sizes = [conformal.sets(values, row).sum() for row in highest]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("n", [0, 1, 8])
def test_with_too_few_images_every_class_is_in_every_set(n):
    truth, values = drawn(n)
    highest = conformal.thresholds(truth, values, [0.9], by_class=False)
    assert np.isinf(highest).all()
    assert conformal.sets(drawn(5)[1], highest[0]).all()


def test_a_class_without_images_is_in_every_set_if_each_class_is_by_itself():
    truth, values = drawn(300, n_present=2)
    (highest,) = conformal.thresholds(truth, values, [0.9], by_class=True)
    assert np.isfinite(highest).tolist() == [True, True, False]


def test_the_most_probable_class_is_always_in_the_set():
    sets = conformal.sets(np.array([[0.4, 0.3, 0.3]]), np.array([0.1, 0.1, 0.1]))
    assert sets.tolist() == [[True, False, False]]
