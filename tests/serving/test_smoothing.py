import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fer.serving import smoothing

FPS = 25


def smoothed(rows, time_constant_s=smoothing.TIME_CONSTANT_S, fps=FPS):
    smoother = smoothing.Smoother(time_constant_s)
    return np.stack([smoother.smoothed(1, row, index / fps) for index, row in enumerate(rows)])


def test_the_first_frame_is_taken_as_it_is():
    np.testing.assert_allclose(smoothed([[0.7, 0.2, 0.1]])[0], [0.7, 0.2, 0.1], rtol=1e-6)


def test_one_wrong_frame_does_not_turn_the_answer():
    rows = np.tile([0.8, 0.2], (20, 1))
    rows[10] = (0.2, 0.8)
    assert (smoothed(rows).argmax(axis=1) == 0).all()


def test_a_new_expression_is_seen_within_the_time_constant():
    rows = np.array([[0.8, 0.2]] * 50 + [[0.2, 0.8]] * 50)
    turned = int((smoothed(rows).argmax(axis=1) == 1).argmax())
    assert 50 < turned <= 50 + FPS * smoothing.TIME_CONSTANT_S


def test_a_time_constant_of_zero_leaves_each_frame_as_it_is():
    rows = np.array([[0.9, 0.1], [0.1, 0.9]])
    np.testing.assert_allclose(smoothed(rows, 0.0), rows, rtol=1e-6)


def test_what_was_long_ago_counts_no_more():
    smoother = smoothing.Smoother(0.3)
    smoother.smoothed(1, np.array([0.99, 0.01]), 0.0)
    np.testing.assert_allclose(smoother.smoothed(1, np.array([0.4, 0.6]), 10.0), [0.4, 0.6], rtol=1e-5)


def test_faces_do_not_mix_and_a_forgotten_one_begins_anew():
    smoother = smoothing.Smoother()
    smoother.smoothed(1, np.array([0.9, 0.1]), 0.0)
    np.testing.assert_allclose(smoother.smoothed(2, np.array([0.1, 0.9]), 0.0), [0.1, 0.9], rtol=1e-6)
    smoother.keep([2])
    np.testing.assert_allclose(smoother.smoothed(1, np.array([0.3, 0.7]), 0.04), [0.3, 0.7], rtol=1e-6)


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(2, 7)), elements=st.floats(0, 1)),
    st.floats(0.01, 5),
)
@settings(deadline=None)
def test_the_log_loss_is_at_most_the_mean_of_the_frames_log_losses(rows, time_constant_s):
    rows = (rows + 1e-6) / (rows + 1e-6).sum(axis=1, keepdims=True)
    ages = (len(rows) - 1 - np.arange(len(rows))) / FPS
    weights = np.exp(-ages / time_constant_s)
    means = (weights[:, np.newaxis] * -np.log(rows)).sum(axis=0) / weights.sum()
    last = smoothed(rows, time_constant_s)[-1]
    assert last.sum() == pytest.approx(1, abs=1e-5)
    assert (-np.log(last) <= means + 1e-3).all()
