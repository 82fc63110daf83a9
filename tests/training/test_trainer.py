import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from fer.training import config as train_config
from fer.training import input_pipeline, losses, soft_labels
from fer.training import trainer as trainers

pytestmark = pytest.mark.slow

UNIFORM = np.full(3, 1 / 3, np.float32)


def config(**changes) -> train_config.TrainConfig:
    return train_config.TrainConfig(**changes)


def batch(n_images: int = 8, seed: int = 0) -> input_pipeline.Batch:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n_images, 6, 6, 1)).astype(np.uint8)
    class_indexes = rng.integers(0, 3, n_images).astype(np.int32)
    return input_pipeline.Batch(np.array([str(row) for row in range(n_images)], object), class_indexes, pixels)


def examples(
    found: input_pipeline.Batch, settings: train_config.TrainConfig, weights=(1, 1, 1), epoch=1, at=0
) -> trainers.Examples:
    return trainers.examples(found, settings, np.array(weights, np.float32), epoch=epoch, step=at)


def value(settings: train_config.TrainConfig, truth, said, priors=UNIFORM) -> float:
    found = losses.loss(settings, np.array(priors, np.float32))
    return float(found(np.array([truth], np.float32), np.array([said], np.float32)))


def test_plain_targets_are_one_hot_and_weigh_as_their_class():
    found = batch()
    inputs, targets, weights = examples(found, config(), weights=(0.5, 1, 2))
    assert inputs is found.pixels
    np.testing.assert_array_equal(targets.argmax(axis=1), found.class_indexes)
    np.testing.assert_array_equal(targets.sum(axis=1), 1)
    np.testing.assert_array_equal(weights, np.array([0.5, 1, 2], np.float32)[found.class_indexes])


@given(mixup=st.sampled_from([0.0, 0.2, 1.0]), cutmix=st.sampled_from([0.0, 0.2, 1.0]), at=st.integers(0, 50))
def test_blended_targets_are_shares_and_blended_pixels_stay_in_range(mixup, cutmix, at):
    inputs, targets, weights = examples(batch(), config(mixup=mixup, cutmix=cutmix), weights=(1, 2, 3), at=at)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert targets.min() >= 0
    assert 0 <= inputs.min() <= inputs.max() <= 255.001  # float32 rounds
    assert weights.min() >= 1
    assert weights.max() <= 3.00001


def test_blending_is_drawn_by_seed_epoch_and_step():
    settings = config(mixup=1.0)
    first, same = examples(batch(), settings, at=3), examples(batch(), settings, at=3)
    np.testing.assert_array_equal(first.inputs, same.inputs)
    for other in (examples(batch(), settings, at=4), examples(batch(), settings, epoch=2, at=3)):
        assert not np.array_equal(first.inputs, other.inputs)


def test_mixup_blends_pixels_and_targets_by_one_share():
    found = batch()
    inputs, targets, _ = examples(found, config(mixup=1.0))
    own = np.eye(3)[found.class_indexes]
    one_row = next(row for row in range(8) if targets[row].max() < 0.999)
    share = targets[one_row][found.class_indexes[one_row]]
    other = int(np.flatnonzero((targets[one_row] > 0) & (own[one_row] == 0))[0])
    candidates = found.pixels[found.class_indexes == other].astype(np.float32)
    blended = share * found.pixels[one_row] + (1 - share) * candidates
    assert np.abs(blended - inputs[one_row]).max(axis=(1, 2, 3)).min() < 0.01


def test_cutmix_takes_each_pixel_from_one_of_the_two_in_the_targets_shares():
    found = batch(seed=4)
    for at in range(10):
        inputs, targets, _ = examples(found, config(cutmix=1.0), at=at)
        is_own = (inputs == found.pixels).mean(axis=(1, 2, 3))
        foreign = [row for row in range(8) if 0 < targets[row][found.class_indexes[row]] < 1]
        for row in foreign:
            assert is_own[row] == pytest.approx(targets[row][found.class_indexes[row]], abs=0.06)


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
    said = np.exp(logits) / np.exp(logits).sum()
    shifted = logits + tau * np.log(priors)
    expected = -(shifted[2] - np.log(np.exp(shifted).sum()))
    settings = config(loss="logit-adjusted", logit_tau=tau, label_smoothing=0)
    assert value(settings, (0, 0, 1), said, priors) == pytest.approx(expected, rel=1e-4)
    plain = config(label_smoothing=0)
    assert value(settings, (0, 0, 1), said) == pytest.approx(value(plain, (0, 0, 1), said), rel=1e-4)


@pytest.mark.parametrize("kind", ["focal", "logit-adjusted"])
def test_what_is_far_off_is_learned_from_too(kind):
    found = losses.loss(config(loss=kind, logit_tau=8), np.array([0.98, 0.01, 0.01], np.float32))
    truth = tf.constant([[0.0, 0.0, 1.0]])
    logits = tf.Variable([[30.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        value = found(truth, tf.nn.softmax(logits))
    assert float(value) > 26
    assert float(tape.gradient(value, logits)[0, 2]) < -0.9


@given(st.lists(st.floats(-8, 8), min_size=3, max_size=3), st.integers(0, 2), st.floats(0, 0.9))
def test_where_nothing_is_far_off_the_losses_are_keras_own(logits, truth, smoothing):
    said, target = keras.ops.softmax(np.array([logits], np.float32)), np.eye(3, dtype=np.float32)[[truth]]
    plain = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    focal = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, label_smoothing=smoothing)
    for kind, known in (("logit-adjusted", plain), ("focal", focal)):  # of equal classes, which need no margins
        found = losses.loss(config(loss=kind, label_smoothing=smoothing), UNIFORM)
        assert float(found(target, said)) == pytest.approx(float(known(target, said)), rel=1e-3, abs=1e-5)


def test_the_plain_loss_of_a_trained_model_is_of_its_logits():
    pixels = keras.Input((1,))
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax", use_bias=False)(pixels))
    model.layers[-1].set_weights([np.array([[0.0, 0.0, -40.0]], np.float32)])
    trainer = trainers.LocalTrainer(model, config(label_smoothing=0), UNIFORM, batch_size=1, micro_batch=1)
    ones = np.ones((1, 1), np.float32)
    found = trainer.step(ones, np.array([[0, 0, 1]], np.float32), ones[0], 1e-3)
    assert found.loss == pytest.approx(40.7, abs=0.1)


def test_votes_take_the_place_of_the_label_and_weigh_as_their_classes():
    votes = soft_labels.SoftLabels(["3"], np.array([[1, 1, 2]]))
    found = batch()
    _, targets, weights = trainers.examples(found, config(), np.array([1, 2, 4], np.float32), votes, epoch=1, step=0)
    np.testing.assert_allclose(targets[3], [0.25, 0.25, 0.5])
    assert weights[3] == pytest.approx(0.25 + 0.5 + 2)
    np.testing.assert_array_equal(np.delete(targets, 3, axis=0), np.eye(3)[np.delete(found.class_indexes, 3)])


def test_a_step_on_jax_is_always_compiled(monkeypatch):
    # Keras would run one operation after another there, at a third of the speed. What it is asked for is seen, as the
    # backend here is TensorFlow, whose deterministic operations XLA does not have.
    asked = {}
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    monkeypatch.setattr(keras.Model, "compile", lambda model, **arguments: asked.update(arguments))
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    trainers.LocalTrainer(model, config(), UNIFORM, batch_size=8, micro_batch=8)
    assert asked["jit_compile"] is True


def test_a_batch_of_which_a_micro_batch_overflowed_is_left_out_and_the_next_one_is_whole():
    settings = config(precision="mixed-float16", weight_decay=0.0)

    def trainer(micro_batch):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
        model = keras.Sequential([keras.Input((6, 6, 1)), *layers])
        made = trainers.LocalTrainer(model, settings, UNIFORM, batch_size=8, micro_batch=micro_batch)
        made.optimizer.build(made.model.trainable_variables)
        return made

    draw = np.random.default_rng(0)
    pixels = draw.normal(size=(3, 8, 6, 6, 1)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[draw.integers(0, 3, (3, 8))]
    weights = np.ones(8, np.float32)
    overflowing = weights.copy()
    overflowing[2] = np.inf
    by_micro, whole = trainer(2), trainer(8)
    for at in range(3):
        for each in (by_micro, whole):
            each.step(pixels[at], targets[at], overflowing if at == 1 else weights, 1e-2)
    for one, other in zip(by_micro.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert int(by_micro.optimizer.iterations) == int(whole.optimizer.iterations) == 2
