"""Releases from before there were exports: scored by Keras."""

import keras
import numpy as np
import pytest
from drawn_photos import drawn, photo

from data_contracts import files
from fer import errors
from fer.models import model_file, saved_model, zoo
from fer.models.networks import sequential_cnn
from fer.serving.predictor import Predictor
from fer.shards import preprocessing

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_this_process")]

CLASSES = ("happy", "sad", "angry")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    keras.utils.set_random_seed(0)
    config = sequential_cnn.Config(width=4, blocks=1, stem_filters=4, dense_units=8)
    model = zoo.build(config, height=16, width=16, n_classes=3, mean=128.0, std=70.0)
    model.save(folder / files.MODEL)
    record = preprocessing.Preprocessing(
        config=preprocessing.PreprocessConfig(height=16, width=16),
        classes=CLASSES,
        height=16,
        width=16,
        mean=128.0,
        std=70.0,
        probe=preprocessing.probe(preprocessing.PreprocessConfig(height=16, width=16)),
    )
    (folder / files.PREPROCESSING).write_text(record.model_dump_json())
    return folder


def test_without_an_export_keras_gives_the_probabilities(model_folder):
    predictor = Predictor.from_folder(model_folder)
    pictures = [drawn(seed) for seed in range(3)]
    pixels = np.stack([preprocessing.prepare_pixels(picture, predictor.config) for picture in pictures])
    expected = saved_model.probabilities(saved_model.load(model_folder), pixels[..., np.newaxis], 64)
    for result, row in zip(predictor.predict_all([*pictures, photo()]), expected, strict=False):
        (face,) = result.faces
        np.testing.assert_allclose(list(face.probabilities.values()), row, rtol=1e-6)
        assert face.label == CLASSES[row.argmax()]


def test_no_more_images_are_scored_than_there_are_and_many_in_batches(model_folder, monkeypatch):
    monkeypatch.setattr(model_file, "_MOST_AT_ONCE", 2)
    sizes = []
    whole = keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda model, pixels: sizes.append(len(pixels)) or whole(model, pixels)
    )
    predictor = Predictor.from_folder(model_folder)
    predictor.predict(drawn(0))
    assert sizes == [1]
    predictor.predict_all([drawn(seed) for seed in range(3)])
    assert sizes == [1, 2, 2]


def test_a_model_that_keras_cannot_load_is_refused(model_folder, tmp_path):
    (tmp_path / files.PREPROCESSING).write_bytes((model_folder / files.PREPROCESSING).read_bytes())
    (tmp_path / files.MODEL).write_bytes(b"no model")
    with pytest.raises(errors.IntegrityError, match="whole Keras model"):
        Predictor.from_folder(tmp_path).predict(drawn(0))
