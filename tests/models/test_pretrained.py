import contextlib
import tempfile
from pathlib import Path

import h5py
import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies as st

from data_contracts import files
from fer import errors
from fer.models import pretrained, zoo
from fer.models.networks import mini_xception, mobilenet_v2, resnet50, se_resnet

pytestmark = pytest.mark.slow

SMALL = se_resnet.Config(stem_filters=4, widths=(4, 8), blocks=(1, 1))


def build(config: zoo.ModelConfig, n_classes: int = 3, size: int = 32) -> keras.Model:
    return zoo.build(config, height=size, width=size, n_classes=n_classes, mean=128, std=60)


def published(application, folder, suffix: str):
    """A file such as keras.applications publishes, of random weights."""
    keras.utils.set_random_seed(5)
    source = application(include_top=False, weights=None)
    path = folder / f"some{suffix}"
    source.save_weights(path)
    return source, path


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
@pytest.mark.parametrize(
    ("config", "application", "n_layers"),
    [
        (resnet50.Config(), keras.applications.ResNet50, 106),
        (mobilenet_v2.Config(), keras.applications.MobileNetV2, 104),
    ],
)
def test_a_published_file_fills_the_whole_backbone_and_not_the_head(tmp_path, suffix, config, application, n_layers):
    if suffix == ".h5":
        source, path = legacy(application, tmp_path)
    else:
        source, path = published(application, tmp_path, suffix)
    model = build(config)
    loaded = pretrained.load_into(model, config, path)
    assert loaded == (n_layers, ("probabilities",))
    for layer in source.layers:
        for source_weights, model_weights in zip(
            layer.get_weights(), model.get_layer(layer.name).get_weights() if layer.weights else [], strict=True
        ):
            np.testing.assert_array_equal(source_weights, model_weights)


def legacy(application, folder):
    """The older form of keras.applications' files: a group a layer, whose attribute names its weights."""
    keras.utils.set_random_seed(5)
    source = application(include_top=False, weights=None)
    path = folder / "some.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in source.layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.2.4"
        for layer in source.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0".encode() for weight in layer.weights]
            group.attrs["weight_names"] = names
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name.decode()] = value
    return source, path


def test_our_own_model_gives_what_fits_by_name_and_shape(tmp_path):
    keras.utils.set_random_seed(1)
    source = build(SMALL, n_classes=7)
    source.save(tmp_path / files.MODEL)
    model = build(SMALL, n_classes=3)
    loaded = pretrained.load_into(model, SMALL, tmp_path / files.MODEL)
    assert loaded.not_loaded == ("probabilities",)
    np.testing.assert_array_equal(
        model.get_layer("stem_conv").get_weights()[0], source.get_layer("stem_conv").get_weights()[0]
    )


@pytest.mark.parametrize("smallest", [-1e-6, -5e-4, -9.9e-4])
def test_negative_variances_become_nothing_and_the_norm_answers_as_before(tmp_path, smallest):
    source = build(SMALL)
    norm = source.get_layer("stem_norm")
    norm.set_weights(
        [np.array(values, np.float32) for values in ([1, 2, 3, 4], [0, 1, 2, 3], [3, 2, 1, 0])]
        + [np.array([smallest, 1, 2, 3], np.float32)]
    )
    source.save_weights(tmp_path / "model.weights.h5")
    model = build(SMALL)
    pretrained.load_into(model, SMALL, tmp_path / "model.weights.h5")
    loaded = model.get_layer("stem_norm")
    np.testing.assert_array_equal(loaded.get_weights()[-1], [0, 1, 2, 3])
    some = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(loaded(some, training=False), norm(some, training=False), rtol=1e-4)


def test_a_variance_that_no_norm_could_take_the_root_of_becomes_nothing(tmp_path):
    source = build(SMALL)
    norm = source.get_layer("stem_norm")
    *gamma_beta_mean, _ = norm.get_weights()
    norm.set_weights([*gamma_beta_mean, np.array([-1, 1, 2, 3], np.float32)])
    source.save_weights(tmp_path / "model.weights.h5")
    model = build(SMALL)
    pretrained.load_into(model, SMALL, tmp_path / "model.weights.h5")
    for loaded, expected in zip(
        model.get_layer("stem_norm").get_weights(), [*gamma_beta_mean, [0, 1, 2, 3]], strict=True
    ):
        np.testing.assert_array_equal(loaded, expected)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.weights.h5"
    build(SMALL).save_weights(path)
    return path


@pytest.fixture(scope="module")
def small():
    """A model that gets other weights again and again."""
    return build(SMALL)


@hypothesis.settings(max_examples=25)
@hypothesis.given(data=st.data())
def test_a_damaged_file_loads_or_is_refused(saved, small, data):
    damaged = bytearray(saved.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=3, max_size=3)):
        damaged[at] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, saved.name)
        path.write_bytes(damaged)
        with contextlib.suppress(errors.IntegrityError):
            pretrained.load_into(small, SMALL, path)


def test_what_hdf5_raises_in_the_middle_of_a_file_is_damage(saved, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("Unable to synchronously check link existence")

    model = build(SMALL)
    monkeypatch.setattr(keras.Model, "load_weights", broken)
    with pytest.raises(errors.IntegrityError, match=r"those of se-resnet.*RuntimeError.*train\.weights"):
        pretrained.load_into(model, SMALL, saved)


def test_a_lack_of_memory_is_no_damage(saved, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")

    model = build(SMALL)
    monkeypatch.setattr(keras.Model, "load_weights", full)
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        pretrained.load_into(model, SMALL, saved)


def test_weights_of_another_model_are_refused(tmp_path):
    build(mini_xception.Config(widths=(4,))).save(tmp_path / files.MODEL)
    with pytest.raises(errors.IntegrityError, match=r"fit some layers.*se-resnet"):
        pretrained.load_into(build(se_resnet.Config()), se_resnet.Config(), tmp_path / files.MODEL)


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all"])
@pytest.mark.parametrize("name", ["weights.h5", "model.weights.h5"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(errors.IntegrityError, match=r"those of se-resnet.*train\.weights"):
        pretrained.load_into(build(SMALL), SMALL, tmp_path / name)
