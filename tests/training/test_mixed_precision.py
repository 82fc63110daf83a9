import keras
import numpy as np
import pytest

from fer.models import zoo
from fer.models.networks import sequential_cnn
from fer.training import mixed_precision

pytestmark = pytest.mark.slow

PRECISIONS = ("float32", "mixed_bfloat16")


def build() -> keras.Model:
    config = sequential_cnn.Config(width=4, blocks=2, stem_filters=4, dense_units=8, dropout=0)
    keras.utils.set_random_seed(0)
    return zoo.build(config, height=16, width=16, n_classes=3, mean=128, std=60)


def batch(n_images: int = 12):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n_images, 16, 16, 1)).astype(np.uint8)
    return pixels, np.eye(3, dtype=np.float32)[np.arange(n_images) % 3]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_copy_has_the_models_weights_and_answers_but_for_rounding(precision):
    model = build()
    copy = mixed_precision.mixed_precision_copy(model, precision, fuse=True)
    for own, other in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
        assert other.dtype == np.float32
    pixels, _ = batch()
    atol = 0 if precision == "float32" else 0.05
    np.testing.assert_allclose(model.predict_on_batch(pixels), copy.predict_on_batch(pixels), atol=atol)
    assert copy.layers[-1].compute_dtype == "float32"


def test_fused_norms_change_the_weights_as_keras_own_do():
    model = build()
    copy = mixed_precision.mixed_precision_copy(model, "float32", fuse=True)
    kinds = {type(layer).__name__ for layer in copy.layers}
    assert "FusedBatchNormalization" in kinds
    pixels, truth = batch(64)
    for trained_model in (model, copy):
        trained_model.compile(keras.optimizers.SGD(0.05), "categorical_crossentropy")
        for _ in range(3):
            trained_model.train_on_batch(pixels, truth)
    # The variance that is kept for later is of n - 1, Keras' of n.
    for own, other in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=0.01, atol=5e-3)


def test_a_frozen_norm_keeps_its_statistics():
    copy = mixed_precision.mixed_precision_copy(build(), "float32", fuse=True)
    norms = [layer for layer in copy.layers if isinstance(layer, mixed_precision.FusedBatchNormalization)]
    for norm in norms:
        norm.trainable = False
    before = [weights for norm in norms for weights in norm.get_weights()]
    copy.compile(keras.optimizers.SGD(0.05), "categorical_crossentropy")
    copy.train_on_batch(*batch())
    for own, other in zip(before, [weights for norm in norms for weights in norm.get_weights()], strict=True):
        np.testing.assert_array_equal(own, other)


def test_without_fusing_the_layers_are_keras_own():
    kinds = {
        type(layer) for layer in mixed_precision.mixed_precision_copy(build(), "mixed_bfloat16", fuse=False).layers
    }
    assert keras.layers.BatchNormalization in kinds
    assert mixed_precision.FusedBatchNormalization not in kinds
