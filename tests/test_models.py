import numpy as np
import pytest
from pydantic import ValidationError

from fer import errors, models, trained


def tiny(**changes) -> models.ModelConfig:
    return models.ModelConfig(**{"width": 4, "blocks": 2, "stem_filters": 4, "dense_units": 8, **changes})


def build(config: models.ModelConfig, height=16, width=16, mean=128.0, std=64.0):
    return models.build(config, height=height, width=width, n_classes=3, mean=mean, std=std)


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(1)
    return build(tiny())


def test_a_model_says_probabilities_of_uint8_and_float_pixels_alike(model):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8)
    found = trained.probabilities(model, pixels, batch_size=4)
    assert found.shape == (5, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(found, trained.probabilities(model, pixels.astype(np.float32), batch_size=4))


def test_the_model_normalises_pixels_itself(model):
    normalise = model.get_layer("normalise")
    np.testing.assert_allclose(normalise(np.array([64.0, 128.0, 192.0])), [-1, 0, 1], atol=1e-6)


def test_a_saved_model_loads_in_safe_mode_and_says_the_same(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), dtype=np.uint8)
    model.save(tmp_path / trained.MODEL)
    loaded = trained.load(tmp_path)
    np.testing.assert_array_equal(
        trained.probabilities(loaded, pixels, batch_size=4), trained.probabilities(model, pixels, batch_size=4)
    )
    assert trained.digest(loaded, b"{}") == trained.digest(model, b"{}")


def test_the_digest_follows_the_weights_and_the_preprocessing(model):
    before = trained.digest(model, b"{}")
    assert trained.digest(model, b"{1}") != before
    weights = model.get_weights()
    model.set_weights([weights[0] + 1e-6, *weights[1:]])
    assert trained.digest(model, b"{}") != before
    model.set_weights(weights)
    assert trained.digest(model, b"{}") == before


def test_a_model_with_code_in_it_is_refused(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / trained.MODEL)
    with pytest.raises(errors.IntegrityError, match="Keras's own layers"):
        trained.load(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"no model at all"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / trained.MODEL).write_bytes(content)
    with pytest.raises(errors.IntegrityError, match="whole Keras model"):
        trained.load(tmp_path)


def test_the_defaults_suit_48_by_48_and_a_larger_stride_224_by_224():
    assert build(models.ModelConfig(), 48, 48).count_params() < 1_500_000
    large = build(models.ModelConfig(stem_stride=4), 224, 224)
    assert large.get_layer("stem_conv").output.shape == (None, 56, 56, 32)


def test_a_size_that_no_pooling_divides_still_works():
    model = build(tiny(blocks=4), 18, 13)
    assert model.output_shape == (None, 3)


def test_a_model_that_is_not_in_the_zoo_is_refused():
    with pytest.raises(ValidationError, match="sequential-cnn"):
        models.ModelConfig(name="resnet-152")
