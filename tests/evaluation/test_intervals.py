import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.evaluation import intervals, metrics


def test_wilsons_interval_is_that_of_the_textbook():
    # Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8<857), table I, method 3: 81 of 263, and 0 of 20.
    assert intervals.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert intervals.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


@given(st.integers(1, 500), st.data())
def test_wilsons_interval_holds_the_share_and_stays_between_0_and_1(n, data):
    n_right = data.draw(st.integers(0, n))
    low, high = intervals.wilson(n_right, n)
    assert 0 <= low <= n_right / n <= high <= 1


def test_the_interval_of_a_matrix_is_repeatable_and_narrows_with_more_images():
    matrix = np.array([[8, 2], [3, 7]])
    low, high = intervals.of_matrix(matrix, metrics.macro_f1)
    assert (low, high) == intervals.of_matrix(matrix, metrics.macro_f1)
    assert low < metrics.macro_f1(matrix) < high
    narrow = intervals.of_matrix(matrix * 100, metrics.macro_f1)
    assert (narrow[1] - narrow[0]) * 5 < high - low


def test_each_class_is_drawn_as_often_as_it_is_there():
    supports = []

    def note(matrices):
        supports.append(matrices.sum(axis=-1))
        return matrices[:, 0, 0]

    intervals.of_matrix(np.array([[1, 1, 0], [0, 0, 0], [3, 0, 4]]), note)
    assert np.unique(supports[0], axis=0).tolist() == [[2, 0, 7]]


def test_draws_of_means_are_stratified_repeatable_and_no_others_for_all_at_once(monkeypatch):
    values, classes = np.array([[1.0, 0.0], [3.0, 0.0], [10.0, 7.0]]), np.array([0, 0, 1])
    draws = intervals.mean_draws(values, classes, samples=400)
    assert draws.shape == (400, 2)
    assert set(draws[:, 0].round(6)) == {round(total / 3, 6) for total in (12, 14, 16)}
    assert set(draws[:, 1].round(6)) == {round(7 / 3, 6)}
    np.testing.assert_array_equal(draws, intervals.mean_draws(values, classes, samples=400))


def test_the_spread_of_means_is_that_of_theory():
    draw = np.random.default_rng(0)
    classes = draw.integers(0, 3, 900)
    values = draw.normal(size=(900, 1)) + 5.0 * classes[:, np.newaxis]
    within = sum((classes == one).sum() * values[classes == one].var() for one in range(3))
    spread = intervals.mean_draws(values, classes).std()
    assert spread == pytest.approx(np.sqrt(within) / 900, rel=0.06)  # what lies between the classes does not count
