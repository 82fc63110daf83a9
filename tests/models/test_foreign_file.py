"""Models that were trained elsewhere: what their files may hold, and what they must be given beside."""

import json

import h5py
import hostile_models
import keras
import numpy as np
import pytest

from fer import errors
from fer.models import foreign_file
from fer.models.foreign_file import InputFormat

pytestmark = pytest.mark.slow

FORM = InputFormat(classes=("happy", "sad", "angry"), scale="0..1")


def network(shape=(8, 8, 1), *, activation="softmax", n_outputs=3, first=()):
    return keras.Sequential(
        [
            keras.Input(shape),
            *first,
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(n_outputs, activation=activation),
        ]
    )


def saved(folder, model, suffix=".keras"):
    path = folder / f"model{suffix}"
    model.save(path)
    return path


def load(path, form=FORM):
    return foreign_file.load(path, form, path.name)


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)


@pytest.mark.parametrize(
    ("suffix", "scale", "scaled"),
    [
        (".keras", "0..1", lambda x: x / 255),
        (".keras", "0..255", lambda x: x),
        (".keras", "128/64", lambda x: (x - 128) / 64),
        (".hdf5", "-1..1", lambda x: x / 127.5 - 1),
        (".h5", "-1..1", lambda x: x / 127.5 - 1),
    ],
)
def test_a_wrapped_model_says_of_grey_pixels_what_the_model_says_of_scaled_ones(tmp_path, suffix, scale, scaled):
    model = network()
    wrapped = load(saved(tmp_path, model, suffix), FORM.model_copy(update={"scale": scale}))
    expected = model.predict(scaled(PIXELS.astype(np.float32)), verbose=0)
    np.testing.assert_allclose(wrapped.predict(PIXELS, verbose=0), expected, atol=1e-5)


def test_a_model_of_colours_is_given_the_grey_in_each_channel_scaled_by_its_own(tmp_path):
    model = network((8, 8, 3))
    wrapped = load(saved(tmp_path, model), FORM.model_copy(update={"scale": "120,110,100/60,50,40"}))
    colours = (np.repeat(PIXELS, 3, axis=-1).astype(np.float32) - [120, 110, 100]) / [60, 50, 40]
    np.testing.assert_allclose(wrapped.predict(PIXELS, verbose=0), model.predict(colours, verbose=0), atol=1e-5)


def test_a_size_that_the_file_leaves_open_must_be_given(tmp_path):
    path = saved(tmp_path, network((None, None, 1)), ".h5")
    with pytest.raises(errors.ConfigError, match="--size"):
        load(path)
    wrapped = load(path, FORM.model_copy(update={"height": 8, "width": 10}))
    assert wrapped.input_shape == (None, 8, 10, 1)
    with pytest.raises(errors.ConfigError, match="where the file says 8x8"):
        load(saved(tmp_path, network()), FORM.model_copy(update={"height": 9, "width": 9}))


def test_a_model_of_keras_2_is_read(tmp_path):
    """Of the form that Keras 2.0 wrote: without modules, the input's shape as `batch_input_shape`, layers as a list."""
    model = network()
    path = saved(tmp_path, model, ".h5")
    spread = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}
    convolution = {
        "name": "conv",
        "filters": 4,
        "kernel_size": [3, 3],
        "activation": "relu",
        "batch_input_shape": [None, 8, 8, 1],
        "kernel_initializer": {"class_name": "VarianceScaling", "config": spread},
    }
    layers = [
        {"class_name": "Conv2D", "config": convolution},
        {"class_name": "GlobalAveragePooling2D", "config": {"name": "pool"}},
        {"class_name": "Dense", "config": {"name": "dense", "units": 3, "activation": "softmax"}},
    ]
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers})
    wrapped = load(path)
    expected = model.predict(PIXELS / np.float32(255), verbose=0)
    np.testing.assert_allclose(wrapped.predict(PIXELS, verbose=0), expected, atol=1e-5)


def test_how_pixels_are_scaled_must_be_said_unless_the_model_does_it_itself(tmp_path):
    unsaid = FORM.model_copy(update={"scale": None})
    with pytest.raises(errors.ConfigError, match=r"--scale 0\.\.1"):
        load(saved(tmp_path, network()), unsaid)
    model = network(first=[keras.layers.Rescaling(1 / 255)])
    wrapped = load(saved(tmp_path, model), unsaid)
    np.testing.assert_allclose(wrapped.predict(PIXELS, verbose=0), model.predict(PIXELS, verbose=0), atol=1e-6)


def test_logits_become_probabilities_only_if_they_are_called_so(tmp_path):
    path = saved(tmp_path, network(activation=None))
    with pytest.raises(errors.ConfigError, match="--logits"):
        load(path)
    sums = load(path, FORM.model_copy(update={"outputs": "logits"})).predict(PIXELS, verbose=0).sum(axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_there_must_be_a_class_for_each_output(tmp_path):
    with pytest.raises(errors.ConfigError, match="4 outputs, 3 classes: happy, sad, angry"):
        load(saved(tmp_path, network(n_outputs=4)))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_is_never_loaded(tmp_path, suffix):
    ran = []
    model = network(first=[keras.layers.Lambda(lambda x: ran.append(1) or x, output_shape=(8, 8, 1))])
    path = saved(tmp_path, model, suffix)
    ran.clear()
    with pytest.raises(errors.IntegrityError, match="Lambda"):
        load(path)
    assert not ran


def test_a_class_that_is_none_of_keras_is_refused_though_it_is_registered(tmp_path):
    path = saved(tmp_path, network(), ".h5")
    with h5py.File(path, "r+") as file:
        layers = [{"class_name": "Conv2D", "config": {"name": "a"}}, {"class_name": "Evil\x1b", "config": {}}]
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers})
    with pytest.raises(errors.IntegrityError, match=r"Evil\\u001b"):
        load(path)


def test_weights_without_their_layers_are_no_model(tmp_path):
    model = network()
    path = tmp_path / "only.weights.h5"
    model.save_weights(path)
    with pytest.raises(errors.IntegrityError, match="not its weights alone"):
        load(path)


def test_layers_that_need_other_weights_than_are_there_are_not_built(tmp_path):
    path = saved(tmp_path, network(), ".h5")
    with h5py.File(path, "r+") as file:
        text = file.attrs["model_config"]
        file.attrs["model_config"] = text.replace('"units": 3', '"units": 30000000')
    with pytest.raises(errors.IntegrityError, match="as many numbers as its layers need"):
        load(path)


def test_damaged_and_cut_files_are_refused(tmp_path):
    path = saved(tmp_path, network(), ".h5")
    path.write_bytes(path.read_bytes()[:-3_000])
    with pytest.raises(errors.IntegrityError):
        load(path)
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(errors.IntegrityError, match=r"text\.keras"):
        load(tmp_path / "text.keras")


def test_a_hostile_file_is_refused_as_any_model_is(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(hostile_models.keras_file())
    assert load(path, InputFormat(classes=hostile_models.CLASSES, scale="0..1")).output_shape == (None, 3)
    for hostile in hostile_models.MODELS:
        path.write_bytes(hostile.make())
        with pytest.raises(errors.FerError):
            load(path, InputFormat(classes=hostile_models.CLASSES, scale="0..1"))
