import cv2
import numpy as np
import pytest

from fer.images import augment

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 24, 32
ALL = augment.AugmentConfig(contrast=0.3, brightness=20, erasing=0.5)
CONFIGS = {
    "affine": augment.AugmentConfig(),
    "far": augment.AugmentConfig(rotation_deg=180, shift=0.5, shear_deg=40, zoom=0.5),
    "all": ALL,
    "erasing alone": augment.AugmentConfig(
        rotation_deg=0, shift=0, shear_deg=0, zoom=0, horizontal_flip=False, erasing=1
    ),
}


@pytest.fixture(scope="module")
def augment_layer():
    from fer.training import augment_layer

    return augment_layer


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(40, 24, 32) uint8, smooth: where greys jump, a 32nd of a pixel, which OpenCV rounds to, is many levels."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 4, 4)).astype(np.float32)
    smooth = [cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for grid in coarse]
    return np.clip(smooth, 0, 255).astype(np.uint8)


def draw(images, config, epoch=3):
    ids = [f"id{row}" for row in range(len(images))]
    return augment.draw(1, ids, epoch, config, HEIGHT, WIDTH)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_given_the_draws_it_makes_the_copies_that_opencv_makes(augment_layer, images, config):
    draws = draw(images, config)
    layer = augment_layer.Augmentation(config)
    augmented = np.asarray(layer(images[..., np.newaxis], augment_layer.packed(draws), training=True))[..., 0]
    expected = augment.apply(images, draws)
    assert augmented.dtype == np.float32
    difference = np.abs(augmented - expected)
    assert difference.mean() < 0.5  # rounding to whole levels is 0.25
    assert np.quantile(difference, 0.999) < 5
    assert np.abs(expected - images.astype(float)).mean() > 5


def test_what_it_draws_itself_is_what_the_host_draws_of_the_same_numbers(augment_layer, images, monkeypatch):
    import keras

    config = augment.AugmentConfig(
        rotation_deg=50, shift=0.2, shear_deg=20, zoom=0.3, contrast=0.3, brightness=9, erasing=0.5
    )
    numbers = np.random.default_rng(5).integers(0, 2**32, (40, 16), dtype=np.uint32)
    even = (numbers * 2.0**-32).astype(np.float32)
    digests = iter([row.astype("<u4").tobytes() for row in numbers])

    class ScriptedDigest:
        def digest(self):
            return next(digests)

    monkeypatch.setattr(augment.hashlib, "blake2b", lambda *_, **__: ScriptedDigest())
    monkeypatch.setattr(keras.random, "uniform", lambda *_, **__: keras.ops.convert_to_tensor(even))
    packed = augment_layer.packed(draw(images, config))
    layer = augment_layer.Augmentation(config)
    pixels = images[..., np.newaxis]
    own = np.asarray(layer(pixels, training=True))
    # A number within a float32's rounding of a box's edge may fall to its other side.
    difference = np.abs(own - np.asarray(layer(pixels, packed, training=True)))
    assert (difference > 0.05).mean() < 0.001


def test_it_draws_anew_each_time_and_alike_from_the_same_seed(augment_layer, images):
    pixels = images[..., np.newaxis]
    one, other = (augment_layer.Augmentation(ALL, seed=7) for _ in range(2))
    first = np.asarray(one(pixels, training=True))
    np.testing.assert_array_equal(first, np.asarray(other(pixels, training=True)))
    assert np.abs(first - np.asarray(one(pixels, training=True))).mean() > 5


def test_outside_training_images_stay_as_they_are(augment_layer, images):
    layer = augment_layer.Augmentation(ALL)
    np.testing.assert_array_equal(np.asarray(layer(images[..., np.newaxis]))[..., 0], images)


def test_a_model_with_it_loads_in_safe_mode(augment_layer, images, tmp_path):
    import keras

    inputs = [keras.Input((HEIGHT, WIDTH, 1)), keras.Input((augment_layer.PACKED,))]
    model = keras.Model(inputs, augment_layer.Augmentation(ALL, seed=2)(*inputs))
    model.save(tmp_path / "model.keras")
    layer = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True).layers[-1]
    assert (layer.config, layer.seed) == (ALL, 2)
