"""What a model's file would take is refused before it is built, and what it would run before it is loaded."""

import hostile_models
import numpy as np
import pytest

from data_contracts import files
from fer import errors
from fer.models import model_file, saved_model, weights_file


def read(folder, data):
    path = folder / files.MODEL
    path.write_bytes(data)
    with saved_model.damage_as_error(path, "a whole Keras model", todo="x"):
        return model_file.read(path)


def test_a_whole_file_says_how_many_weights_it_has(tmp_path):
    contents = read(tmp_path, hostile_models.keras_file())
    assert contents.configuration == hostile_models.usual()
    assert contents.n_values == 64 * 3 + 3


@pytest.mark.parametrize(
    "model", [pytest.param(model, id=model.name) for model in hostile_models.MODELS if not model.lays_out]
)
def test_a_hostile_file_is_refused_before_keras_sees_it(tmp_path, model):
    with pytest.raises(errors.IntegrityError, match=model.message) as refusal:
        read(tmp_path, model.make())
    assert str(refusal.value).isprintable()
    assert str(tmp_path) in str(refusal.value)


def test_each_limit_is_heeded_and_named(tmp_path, limited):
    for name in ("model_bytes", "model_configuration_bytes"):
        limited(**{name: 100})
        with pytest.raises(errors.IntegrityError, match=f"at most 100 bytes.*FER_LIMIT_{name.upper()}"):
            read(tmp_path, hostile_models.keras_file())
        limited(**{name: 10**9})


def test_weights_to_start_from_are_bounded_by_the_same_headers(tmp_path, limited):
    path = tmp_path / "some.weights.h5"
    path.write_bytes(hostile_models.weights())
    assert weights_file.n_values(path, path) == 64 * 3 + 3
    limited(model_bytes=500)
    with pytest.raises(errors.IntegrityError, match=r"at most 500 bytes.*some\.weights\.h5"):
        weights_file.n_values(path, path)


def test_circles_in_a_file_of_weights_end(tmp_path):
    path = tmp_path / "some.weights.h5"
    path.write_bytes(hostile_models.weights(also=lambda file: file.__setitem__("layers/again", file["/"])))
    assert weights_file.n_values(path, path) == 64 * 3 + 3


def test_numbers_that_are_not_finite_are_refused():
    saved_model.require_finite([np.ones(3), np.array([1, 2])], "x")
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(errors.IntegrityError, match="1 of 3 that are not, in the layer 'x'"):
            saved_model.require_finite([np.ones(3), np.array([1, value, 2], np.float32)], "the layer 'x'")


class Model:
    """Says the same of each image."""

    def __init__(self, *scores):
        self.scores = np.array(scores, np.float32)
        self.output_shape = (None, len(scores))

    def predict_on_batch(self, pixels):
        return np.repeat(self.scores[None], len(pixels), axis=0)


def test_probabilities_that_are_not_finite_are_refused():
    pixels = np.zeros((5, 8, 8, 1), np.uint8)
    np.testing.assert_allclose(saved_model.probabilities(Model(0.25, 0.75), pixels, 2), [[0.25, 0.75]] * 5)
    with pytest.raises(errors.IntegrityError, match=r"finite numbers\. Received: others for 5 of 5 images"):
        saved_model.probabilities(Model(np.nan, 1), pixels, 2)
    assert np.isnan(saved_model.outputs(Model(np.nan, 1), pixels, 2)).any()


@pytest.mark.slow
class TestWithKeras:
    """Layers are laid out without values; what they need must be there."""

    def test_a_whole_model_is_loaded(self, tmp_path):
        (tmp_path / files.MODEL).write_bytes(hostile_models.keras_file())
        model = saved_model.load(tmp_path)
        assert model.count_params() == 64 * 3 + 3
        scores = saved_model.probabilities(model, np.zeros((2, 8, 8, 1), np.uint8), 2)
        np.testing.assert_allclose(scores, np.full((2, 3), 1 / 3), rtol=1e-6)

    @pytest.mark.parametrize(
        "model", [pytest.param(model, id=model.name) for model in hostile_models.MODELS if model.lays_out]
    )
    def test_a_model_that_needs_more_than_there_is_is_refused(self, tmp_path, model):
        (tmp_path / files.MODEL).write_bytes(model.make())
        with pytest.raises(errors.IntegrityError, match=model.message) as refusal:
            saved_model.load(tmp_path)
        assert str(refusal.value).isprintable()

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_weights_that_are_not_finite_are_refused(self, tmp_path, value):
        (tmp_path / files.MODEL).write_bytes(hostile_models.with_value(value))
        with pytest.raises(errors.IntegrityError, match=r"1 of 192 that are not, in the layer 'probabilities'"):
            saved_model.load(tmp_path)
