import contextlib
import functools
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from data_contracts import files
from fer import errors
from fer.models import saved_model, zoo
from fer.models.networks import mini_xception, mobilenet_v2, resnet50, se_resnet, sequential_cnn, vgg

pytestmark = pytest.mark.slow


def tiny(**changes) -> zoo.ModelConfig:
    return sequential_cnn.Config(**{"width": 4, "blocks": 2, "stem_filters": 4, "dense_units": 8, **changes})


def build(config: zoo.ModelConfig, height=16, width=16, mean=128.0, std=64.0):
    return zoo.build(config, height=height, width=width, n_classes=3, mean=mean, std=std)


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(1)
    return build(tiny())


def test_a_model_says_probabilities_of_uint8_and_float_pixels_alike(model):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8)
    probabilities = saved_model.probabilities(model, pixels, batch_size=4)
    assert probabilities.shape == (5, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(
        probabilities, saved_model.probabilities(model, pixels.astype(np.float32), batch_size=4)
    )


def test_the_model_normalises_pixels_itself(model):
    normalise = model.get_layer("normalise")
    np.testing.assert_allclose(normalise(np.array([64.0, 128.0, 192.0])), [-1, 0, 1], atol=1e-6)


def test_a_saved_model_loads_in_safe_mode_and_says_the_same(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), dtype=np.uint8)
    model.save(tmp_path / files.MODEL)
    loaded = saved_model.load(tmp_path)
    np.testing.assert_array_equal(
        saved_model.probabilities(loaded, pixels, batch_size=4), saved_model.probabilities(model, pixels, batch_size=4)
    )
    assert saved_model.digest(loaded, b"{}") == saved_model.digest(model, b"{}")


def test_the_digest_follows_the_weights_and_the_preprocessing(model):
    before = saved_model.digest(model, b"{}")
    assert saved_model.digest(model, b"{1}") != before
    weights = model.get_weights()
    model.set_weights([weights[0] + 1e-6, *weights[1:]])
    assert saved_model.digest(model, b"{}") != before
    model.set_weights(weights)
    assert saved_model.digest(model, b"{}") == before


def test_a_model_with_code_in_it_is_refused(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / files.MODEL)
    with pytest.raises(errors.IntegrityError, match="layers of Keras's own"):
        saved_model.load(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"no model at all"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / files.MODEL).write_bytes(content)
    with pytest.raises(errors.IntegrityError, match="whole Keras model"):
        saved_model.load(tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / files.MODEL
    build(tiny()).save(path)
    return path


@settings(max_examples=25)
@given(data=st.data())
def test_a_damaged_file_loads_or_is_refused(saved, data):
    damaged = bytearray(saved.read_bytes())
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    else:
        for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
            damaged[at] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, files.MODEL).write_bytes(damaged)
        with contextlib.suppress(errors.IntegrityError):
            saved_model.load(Path(folder))


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_a_bit_turned_over_in_a_model_is_seen(saved, tmp_path, member):
    damaged = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        entry = archive.getinfo(member)
    damaged[entry.header_offset + 30 + len(member) + entry.compress_size // 2] ^= 1
    (tmp_path / files.MODEL).write_bytes(damaged)
    with pytest.raises(errors.IntegrityError, match="whole Keras model"):
        saved_model.load(tmp_path)


def test_the_defaults_suit_48_by_48_and_a_larger_stride_224_by_224():
    assert build(sequential_cnn.Config(), 48, 48).count_params() < 1_500_000
    large = build(sequential_cnn.Config(stem_stride=4), 224, 224)
    assert large.get_layer("stem_conv").output.shape == (None, 56, 56, 32)


def test_a_size_that_no_pooling_divides_still_works():
    model = build(tiny(blocks=4), 18, 13)
    assert model.output_shape == (None, 3)


ZOO = {
    "sequential-cnn": sequential_cnn.Config(width=4, blocks=2, stem_filters=4, dense_units=8),
    "plain sequential-cnn": sequential_cnn.Config(width=4, blocks=2, stem_filters=4, dense_units=8, regularised=False),
    "mini-xception": mini_xception.Config(widths=(4, 8)),
    "se-resnet": se_resnet.Config(stem_filters=4, widths=(4, 8), blocks=(1, 2)),
    "vgg": vgg.Config(stem_filters=4, widths=(4, 8), convolutions=2, squeeze=0),
    "resnet50": resnet50.Config(),
    "mobilenet-v2": mobilenet_v2.Config(alpha=0.35),
}


@pytest.fixture(scope="module")
def built():
    """The models of the zoo for 32x40 pixels, each built once: the deep ones take a second. Leave them as they are."""
    return functools.cache(lambda name: build(ZOO[name], 32, 40))


@pytest.mark.parametrize("name", ZOO)
def test_every_model_of_the_zoo_takes_grey_bytes_and_loads_in_safe_mode(name, built, tmp_path):
    model = built(name)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 40, 1), dtype=np.uint8)
    probabilities = saved_model.probabilities(model, pixels, batch_size=2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(
        probabilities, saved_model.probabilities(model, pixels.astype(np.float32), batch_size=2)
    )
    model.save(tmp_path / files.MODEL)
    np.testing.assert_array_equal(
        probabilities, saved_model.probabilities(saved_model.load(tmp_path), pixels, batch_size=2)
    )


@pytest.mark.parametrize("name", ZOO)
def test_every_model_of_the_zoo_trains_in_mixed_precision(name, built):
    import keras

    from fer.training import mixed_precision

    model = mixed_precision.mixed_precision_copy(built(name), "mixed_bfloat16", fuse=True)
    is_deep = isinstance(ZOO[name], resnet50.Config | mobilenet_v2.Config)  # its graph takes longer than its step
    model.compile(keras.optimizers.SGD(0.01), "categorical_crossentropy", run_eagerly=is_deep)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 40, 1), dtype=np.uint8)
    before = model.get_weights()[0]
    loss = model.train_on_batch(pixels, np.eye(3, dtype=np.float32)[[0, 1, 2, 0]])
    assert np.isfinite(loss)
    assert not np.array_equal(model.get_weights()[0], before)
    assert model.layers[-1].compute_dtype == "float32"


def test_published_models_have_their_published_sizes(built):
    mini = zoo.build(mini_xception.Config(), height=48, width=48, n_classes=7, mean=128, std=64)
    assert mini.count_params() == pytest.approx(58_000, rel=0.02)  # the authors' figure
    assert built("resnet50").count_params() == 23_587_712 + 3 * 2_049
    assert build(mobilenet_v2.Config(), 48, 48).count_params() == 2_257_984 + 3 * 1_281


def test_a_backbone_sees_the_grey_channel_as_its_weights_expect_it(built):
    grey = np.full((1, 32, 40, 1), 100, np.uint8)
    for name, expected in (
        ("resnet50", 100 - np.array([103.939, 116.779, 123.68])),
        ("mobilenet-v2", -0.2157),
    ):
        model = built(name)
        normalised = model.get_layer("normalise")(model.get_layer("three_channels")([grey] * 3))
        np.testing.assert_allclose(np.asarray(normalised)[0, 0, 0], np.broadcast_to(expected, 3), atol=1e-3)


@pytest.mark.parametrize("config", [resnet50.Config(), mobilenet_v2.Config()])
def test_a_backbone_refuses_images_that_are_too_small(config):
    with pytest.raises(errors.ConfigError, match=r"32x32 at least.*Received: 16x16.*preprocess\.height"):
        build(config)


@pytest.mark.parametrize("name", ["mini-xception", "se-resnet", "vgg"])
@pytest.mark.parametrize("filters", [0, -1, 100_000])
def test_filters_that_no_layer_can_have_are_refused(name, filters):
    with pytest.raises(ValidationError, match="widths"):
        TypeAdapter(zoo.AnyModelConfig).validate_python({"name": name, "widths": [8, filters, 8]})


def test_stages_and_blocks_must_be_as_many():
    with pytest.raises(ValidationError, match="each of the 3 widths"):
        se_resnet.Config(blocks=(1, 2))


def test_a_model_that_is_not_in_the_zoo_is_refused():
    with pytest.raises(ValidationError, match="mobilenet-v2"):
        TypeAdapter(zoo.AnyModelConfig).validate_python({"name": "resnet-152"})


def test_every_network_goes_by_the_name_of_its_module():
    for name, kind in zoo.KINDS.items():
        assert kind.model_fields["name"].default == name
    assert {kind.__module__ for kind in zoo.KINDS.values()} >= {vgg.__name__, se_resnet.__name__}
    assert zoo.default() == sequential_cnn.Config()


def test_a_model_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(errors.ConfigError, match=r"'nix'.*mini-xception, mobilenet-v2, .*vgg"):
        zoo.config("nix")


def faulty(fault: str):
    """A model that breaks one of the rules of the zoo."""
    import keras

    class Own(keras.layers.Layer):
        def compute_output_shape(self, shape):
            return shape

        def call(self, inputs):
            return inputs

    def activation(x):
        return x

    pixels = keras.Input((16, 16, 1 if fault != "channels" else 3), name="pixels")
    x = keras.layers.Conv2D(4, 3, activation=activation if fault == "function" else "relu")(pixels)
    if fault == "lambda":
        x = keras.layers.Lambda(lambda x: x + 1)(x)
    elif fault == "layer":
        x = Own()(x)
    elif fault == "nested":
        x = keras.layers.TimeDistributed(Own())(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool" if fault != "pool" else "mean")(x)
    x = keras.layers.Dense(4 if fault == "classes" else 3, name="probabilities" if fault != "name" else "scores")(x)
    return keras.Model(pixels, x)


@pytest.mark.parametrize(
    ("fault", "received"),
    [
        ("lambda", "Lambda"),
        ("layer", "Own"),
        ("nested", "Own"),
        ("function", "function|activation"),
        ("channels", r"16, 16, 3"),
        ("classes", r"None, 4"),
        ("name", "scores"),
        ("pool", "mean"),
    ],
)
def test_a_model_that_could_not_be_loaded_or_scored_is_refused_before_it_is_trained(fault, received, monkeypatch):
    monkeypatch.setattr(vgg, "build", lambda *_, **__: faulty(fault))
    with pytest.raises(errors.ConfigError, match=rf"Keras's own layers.*Received: vgg with .*({received})"):
        build(vgg.Config())
