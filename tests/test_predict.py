import json
import math
import shutil

import keras
import numpy as np
import pytest

from data_contracts import files
from fer import child, errors, images, models, predict, preprocess, trained
from fer.progress import silent

CLASSES = ("happy", "sad", "angry")


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Do the child's work in this process: starting TensorFlow anew takes ten seconds."""

    def run(function, arguments, *, progress, **_):
        return json.loads(json.dumps(function(**json.loads(json.dumps(arguments)), progress=progress)))

    monkeypatch.setattr(child, "run", run)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    keras.utils.set_random_seed(0)
    config = models.SequentialCnn(width=4, blocks=1, stem_filters=4, dense_units=8)
    model = models.build(config, height=16, width=16, n_classes=3, mean=128.0, std=70.0)
    model.save(folder / trained.MODEL)
    record = preprocess.Preprocessing(
        config=preprocess.PreprocessConfig(height=16, width=16),
        classes=CLASSES,
        height=16,
        width=16,
        mean=128.0,
        std=70.0,
        probe=preprocess.probe(preprocess.PreprocessConfig(height=16, width=16)),
    )
    (folder / files.PREPROCESSING).write_text(record.model_dump_json())
    return folder


def picture(path, seed):
    rng = np.random.default_rng(seed)
    path.write_bytes(images.encode_png(rng.integers(0, 256, (30, 20), dtype=np.uint8)))
    return path


def test_each_file_gets_a_label_and_probabilities_as_in_training(model_folder, tmp_path):
    paths = [picture(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    found = predict.predict(model_folder, paths)
    assert [each.path for each in found] == paths
    config = preprocess.load_record(model_folder).config
    pixels = np.stack([preprocess.prepare_encoded(path.read_bytes(), config) for path in paths])[..., np.newaxis]
    expected = trained.probabilities(trained.load(model_folder), pixels, 64)
    for each, row in zip(found, expected, strict=True):
        assert list(each.probabilities) == list(CLASSES)
        np.testing.assert_allclose(list(each.probabilities.values()), row, rtol=1e-6)
        assert each.label == CLASSES[row.argmax()]
        assert math.isclose(sum(each.probabilities.values()), 1, abs_tol=1e-5)


def test_a_file_that_cannot_be_read_says_why_and_the_others_are_predicted(model_folder, tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    paths = [tmp_path / "text.png", picture(tmp_path / "good.png", 0), tmp_path / "missing.png", tmp_path]
    found = predict.predict(model_folder, paths)
    assert [each.label is not None for each in found] == [False, True, False, False]
    assert found[0].error == "not an image of a format known here"
    assert found[2].error == "No such file or directory"
    assert found[1].error is None


def test_more_files_than_a_batch_keep_their_order(model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "_MOST_AT_ONCE", 2)
    paths = [picture(tmp_path / f"{seed}.png", seed) for seed in range(5)]
    together = predict.predict(model_folder, paths)
    alone = [predict.predict(model_folder, [path])[0] for path in paths]
    assert [each.path for each in together] == paths
    assert [each.label for each in together] == [each.label for each in alone]


@pytest.mark.parametrize("n_files", [1, 3])
def test_no_more_images_are_scored_than_there_are(model_folder, tmp_path, monkeypatch, n_files):
    sizes = []
    whole = keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda model, pixels: sizes.append(len(pixels)) or whole(model, pixels)
    )
    paths = [str(picture(tmp_path / f"{seed}.png", seed)) for seed in range(n_files)]
    predict.predict_files(str(model_folder), paths, progress=lambda *_: None)
    assert sizes == [n_files]


def test_a_folder_without_a_model_is_refused(model_folder, tmp_path):
    (tmp_path / files.PREPROCESSING).write_bytes((model_folder / files.PREPROCESSING).read_bytes())
    with pytest.raises(errors.IntegrityError, match="whole Keras model"):
        predict.predict(tmp_path, [])


def test_a_model_of_a_newer_project_is_refused_and_says_what_to_do(model_folder, tmp_path):
    record = json.loads((model_folder / files.PREPROCESSING).read_bytes())
    record["config"]["sharpened"] = True
    shutil.copytree(model_folder, tmp_path / "model")
    (tmp_path / "model" / files.PREPROCESSING).write_text(json.dumps(record))
    with pytest.raises(errors.IntegrityError, match=r"preprocessing\.json config sharpened: .* Next: use the version"):
        predict.predict_files(str(tmp_path / "model"), [], progress=silent)


def test_a_model_whose_preprocessing_the_code_no_longer_does_is_refused(model_folder, tmp_path):
    record = json.loads((model_folder / files.PREPROCESSING).read_bytes())
    record["probe"] = [255 - value for value in record["probe"]]
    shutil.copytree(model_folder, tmp_path / "model")
    (tmp_path / "model" / files.PREPROCESSING).write_text(json.dumps(record))
    with pytest.raises(errors.IntegrityError, match="prepared"):
        predict.predict_files(str(tmp_path / "model"), [], progress=silent)
