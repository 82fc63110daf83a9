import keras
import numpy as np
import pytest

from fer import errors
from fer.models import freezing, zoo
from fer.models.networks import mini_xception, se_resnet
from fer.training import mixed_precision

pytestmark = pytest.mark.slow

BACKBONE = se_resnet.Config(stem_filters=4, widths=(4, 8), blocks=(1, 1))


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return zoo.build(BACKBONE, height=16, width=16, n_classes=3, mean=128, std=60)


def changed_by_training(model: keras.Model, fuse: bool = True) -> set[str]:
    """The names of the layers whose weights some steps change."""
    copy = mixed_precision.mixed_precision_copy(model, "float32", fuse=fuse)
    for layer in copy.layers:
        layer.trainable = model.get_layer(layer.name).trainable
    before = {layer.name: layer.get_weights() for layer in copy.layers}
    copy.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 16, 16, 1)).astype(np.uint8)
    for _ in range(3):
        copy.train_on_batch(pixels, np.eye(3, dtype=np.float32)[rng.integers(0, 3, 12)])
    return {
        layer.name
        for layer in copy.layers
        if any((old != new).any() for old, new in zip(before[layer.name], layer.get_weights(), strict=True))
    }


def with_weights(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if layer.weights]


@pytest.mark.parametrize("fuse", [True, False])
def test_the_head_alone_leaves_the_backbone_as_it_is_to_the_bit(model, fuse):
    freezing.set_trainable(model, "head", "trained")
    assert changed_by_training(model, fuse) == {"probabilities"}


def test_the_head_of_a_model_that_classifies_before_it_pools_is_what_classifies():
    small = mini_xception.Config(stem_filters=4, widths=(4, 8))
    model = zoo.build(small, height=16, width=16, n_classes=3, mean=128, std=60)
    freezing.set_trainable(model, "head", "frozen")
    assert changed_by_training(model) == {"class_maps"}


def test_a_phase_that_would_train_nothing_is_refused():
    small = mini_xception.Config(stem_filters=4, widths=(4, 8))
    model = zoo.build(small, height=16, width=16, n_classes=3, mean=128, std=60)
    with pytest.raises(errors.ConfigError, match="probabilities, from which on no layer has"):
        freezing.set_trainable(model, "probabilities", "trained")


def test_from_a_layer_on_what_comes_before_it_stays(model):
    freezing.set_trainable(model, "stage2_block1a_conv", "trained")
    names = with_weights(model)
    changed = changed_by_training(model)
    assert changed <= set(names[names.index("stage2_block1a_conv") :])
    assert {"stage2_block1a_conv", "stage2_block1a_norm", "probabilities"} <= changed


@pytest.mark.parametrize("fuse", [True, False])
def test_frozen_batch_norms_keep_statistics_scale_and_shift(model, fuse):
    freezing.set_trainable(model, "start", "frozen")
    changed = changed_by_training(model, fuse)
    assert not {name for name in changed if name.endswith("_norm")}
    assert "stem_conv" in changed


def test_all_again_after_the_head_alone(model):
    freezing.set_trainable(model, "head", "frozen")
    freezing.set_trainable(model, "start", "trained")
    assert changed_by_training(model) == set(with_weights(model))


def test_an_unknown_layer_is_refused_with_some_that_are_like_it(model):
    with pytest.raises(errors.ConfigError, match=r"'stage3_block1a_conv'.*stage2_block1a_conv"):
        freezing.set_trainable(model, "stage3_block1a_conv", "trained")
