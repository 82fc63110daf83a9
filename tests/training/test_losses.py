import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from fer.training import config as train_config
from fer.training import losses

pytestmark = pytest.mark.slow

UNIFORM = np.full(3, 1 / 3, np.float32)


def config(**changes) -> train_config.TrainConfig:
    return train_config.TrainConfig(**changes)


def value(settings: train_config.TrainConfig, truth, probabilities, priors=UNIFORM) -> float:
    loss = losses.loss(settings, np.array(priors, np.float32))
    return float(loss(np.array([truth], np.float32), np.array([probabilities], np.float32)))


def test_focal_loss_counts_what_is_right_already_less():
    focal, plain = config(loss="focal", label_smoothing=0), config(label_smoothing=0)
    sure, unsure = (0.9, 0.05, 0.05), (0.4, 0.3, 0.3)
    truth = (1, 0, 0)
    assert value(plain, truth, sure) == pytest.approx(-np.log(0.9), rel=1e-4)
    assert value(focal, truth, sure) == pytest.approx(0.1**2 * -np.log(0.9), rel=1e-3)
    assert value(focal, truth, unsure) == pytest.approx(0.6**2 * -np.log(0.4), rel=1e-3)
    without = config(loss="focal", focal_gamma=0, label_smoothing=0)
    assert value(without, truth, unsure) == pytest.approx(value(plain, truth, unsure), rel=1e-4)


def test_the_logit_adjusted_loss_is_that_of_logits_shifted_by_the_log_priors():
    logits, priors, tau = np.array([0.2, 1.0, -0.5]), np.array([0.7, 0.2, 0.1]), 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum()
    shifted = logits + tau * np.log(priors)
    expected = -(shifted[2] - np.log(np.exp(shifted).sum()))
    settings = config(loss="logit-adjusted", logit_tau=tau, label_smoothing=0)
    assert value(settings, (0, 0, 1), probabilities, priors) == pytest.approx(expected, rel=1e-4)
    plain = config(label_smoothing=0)
    assert value(settings, (0, 0, 1), probabilities) == pytest.approx(value(plain, (0, 0, 1), probabilities), rel=1e-4)


@pytest.mark.parametrize("kind", ["focal", "logit-adjusted"])
def test_what_is_far_off_is_learned_from_too(kind):
    loss = losses.loss(config(loss=kind, logit_tau=8), np.array([0.98, 0.01, 0.01], np.float32))
    truth = tf.constant([[0.0, 0.0, 1.0]])
    logits = tf.Variable([[30.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        value = loss(truth, tf.nn.softmax(logits))
    assert float(value) > 26
    assert float(tape.gradient(value, logits)[0, 2]) < -0.9


@given(st.lists(st.floats(-8, 8), min_size=3, max_size=3), st.integers(0, 2), st.floats(0, 0.9))
def test_where_nothing_is_far_off_the_losses_are_keras_own(logits, truth, smoothing):
    probabilities, target = keras.ops.softmax(np.array([logits], np.float32)), np.eye(3, dtype=np.float32)[[truth]]
    plain = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    focal = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, label_smoothing=smoothing)
    for kind, known in (("logit-adjusted", plain), ("focal", focal)):  # of equal classes, which need no margins
        loss = losses.loss(config(loss=kind, label_smoothing=smoothing), UNIFORM)
        assert float(loss(target, probabilities)) == pytest.approx(
            float(known(target, probabilities)), rel=1e-3, abs=1e-5
        )
