import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import linear_model

from fer.ingest.demo import faces as demo_faces
from fer.serving import smoothing

FPS = 25


def smoothed(rows, time_constant_s=smoothing.TIME_CONSTANT_S, fps=FPS):
    smoother = smoothing.Smoother(time_constant_s)
    return np.stack([smoother.smoothed(1, row, index / fps) for index, row in enumerate(rows)])


def test_the_first_frame_is_taken_as_it_is():
    np.testing.assert_allclose(smoothed([[0.7, 0.2, 0.1]])[0], [0.7, 0.2, 0.1], rtol=1e-6)


def test_one_doubtful_frame_does_not_turn_the_answer():
    rows = np.tile([0.8, 0.2], (20, 1))
    rows[10] = (0.3, 0.7)
    assert (smoothed(rows).argmax(axis=1) == 0).all()


@pytest.mark.parametrize("sure", [0.7, 0.9, 0.999999])
def test_a_new_expression_is_seen_within_a_fifth_of_a_second(sure):
    rows = np.array([[sure, 1 - sure]] * 100 + [[1 - sure, sure]] * 50)
    turned = int((smoothed(rows).argmax(axis=1) == 1).argmax())
    assert 100 <= turned <= 105


@pytest.mark.slow  # by what it computes
def test_answers_about_jittered_faces_are_no_worse_than_those_about_single_frames():
    """By a linear model of drawn faces; the release of the demo is asked by `benchmarks/smoothing.py`."""
    draw = np.random.default_rng(0)
    names = demo_faces.CLASSES[3:]
    drawn = [demo_faces.draw(name, draw)[6:42:2, 6:42:2].ravel() / 255 for name in names for _ in range(60)]
    model = linear_model.LogisticRegression(C=0.02, max_iter=300).fit(drawn, np.repeat(names, 60))
    figures = []
    for film in range(40):
        name = names[film % len(names)]
        face = demo_faces.draw(name, draw)
        moved = [
            face[6 + down : 42 + down : 2, 6 + right : 42 + right : 2] for right, down in draw.integers(-2, 3, (25, 2))
        ]
        frames = np.clip(
            np.reshape(moved, (25, -1)) * draw.uniform(0.85, 1.15, (25, 1)) + draw.normal(0, 8, (25, 324)), 0, 255
        )
        single = model.predict_proba(frames / 255)
        truth = list(model.classes_).index(name)
        for rows in (single, smoothed(single)):
            figures.append((np.mean(rows.argmax(axis=1) == truth), -np.log(rows[:, truth]).mean()))
    (accuracy, log_loss), (own_accuracy, own_log_loss) = np.mean(figures[1::2], axis=0), np.mean(figures[::2], axis=0)
    assert accuracy >= own_accuracy
    assert log_loss <= own_log_loss


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
    losses, weight = -np.log(rows[0]), 1.0
    averaged = smoothed(rows, time_constant_s)
    for row, before in zip(rows[1:], averaged, strict=False):
        kept = np.exp(-1 / FPS / time_constant_s) * np.sqrt(row * before).sum() ** 4
        losses, weight = kept * losses - np.log(row), kept * weight + 1
    assert averaged[-1].sum() == pytest.approx(1, abs=1e-5)
    assert (-np.log(averaged[-1]) <= losses / weight + 1e-2).all()
