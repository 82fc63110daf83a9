import keras
import numpy as np
import pytest
from training_batches import batch, config, examples

from fer.training import soft_labels
from fer.training import trainer as trainers

pytestmark = pytest.mark.slow

UNIFORM = np.full(3, 1 / 3, np.float32)


def test_plain_targets_are_one_hot_and_weigh_as_their_class():
    originals = batch()
    inputs, targets, weights = examples(originals, config(), weights=(0.5, 1, 2))
    assert inputs is originals.pixels
    np.testing.assert_array_equal(targets.argmax(axis=1), originals.class_indexes)
    np.testing.assert_array_equal(targets.sum(axis=1), 1)
    np.testing.assert_array_equal(weights, np.array([0.5, 1, 2], np.float32)[originals.class_indexes])


def test_the_plain_loss_of_a_trained_model_is_of_its_logits():
    pixels = keras.Input((1,))
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax", use_bias=False)(pixels))
    model.layers[-1].set_weights([np.array([[0.0, 0.0, -40.0]], np.float32)])
    trainer = trainers.LocalTrainer(model, config(label_smoothing=0), UNIFORM, batch_size=1, micro_batch=1)
    ones = np.ones((1, 1), np.float32)
    step_result = trainer.step(ones, np.array([[0, 0, 1]], np.float32), ones[0], 1e-3)
    assert step_result.loss == pytest.approx(40.7, abs=0.1)


def test_votes_take_the_place_of_the_label_and_weigh_as_their_classes():
    votes = soft_labels.SoftLabels(["3"], np.array([[1, 1, 2]]))
    originals = batch()
    _, targets, weights = trainers.examples(
        originals, config(), np.array([1, 2, 4], np.float32), votes, epoch=1, step=0
    )
    np.testing.assert_allclose(targets[3], [0.25, 0.25, 0.5])
    assert weights[3] == pytest.approx(0.25 + 0.5 + 2)
    np.testing.assert_array_equal(np.delete(targets, 3, axis=0), np.eye(3)[np.delete(originals.class_indexes, 3)])


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
        local_trainer = trainers.LocalTrainer(model, settings, UNIFORM, batch_size=8, micro_batch=micro_batch)
        local_trainer.optimizer.build(local_trainer.model.trainable_variables)
        return local_trainer

    draw = np.random.default_rng(0)
    pixels = draw.normal(size=(3, 8, 6, 6, 1)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[draw.integers(0, 3, (3, 8))]
    weights = np.ones(8, np.float32)
    overflowing = weights.copy()
    overflowing[2] = np.inf
    by_micro, whole = trainer(2), trainer(8)
    for at in range(3):
        for stepped in (by_micro, whole):
            stepped.step(pixels[at], targets[at], overflowing if at == 1 else weights, 1e-2)
    for one, other in zip(by_micro.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert int(by_micro.optimizer.iterations) == int(whole.optimizer.iterations) == 2
