import json
import math
import shutil

import cv2
import keras
import numpy as np
import pytest

from data_contracts import files
from fer import errors
from fer.evaluation import predict
from fer.evaluation.calibration import calibrator
from fer.images import decode, encode, faces
from fer.ingest.demo import faces as demo_faces
from fer.models import model_file, saved_model, zoo
from fer.models.networks import sequential_cnn
from fer.progress import silent
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


def drawn(seed):
    return demo_faces.draw(demo_faces.CLASSES[seed % 7], np.random.default_rng(seed))


def picture(path, seed):
    """Write a crop of a face, like those of FER2013, and return its path."""
    path.write_bytes(encode.png(drawn(seed)))
    return path


def photo(path, *faces_at):
    """Write an image of 640 × 480 with a drawn face of `side` pixels at each (x, y, side), and return its path."""
    pixels = (np.arange(480)[:, None] // 6 + np.arange(640) // 6 + 30).astype(np.uint8)
    for seed, (x, y, side) in enumerate(faces_at):
        pixels[y : y + side, x : x + side] = cv2.resize(drawn(seed), (side, side), interpolation=cv2.INTER_CUBIC)
    path.write_bytes(encode.png(pixels))
    return path


def test_each_file_gets_a_label_and_probabilities_as_in_training(model_folder, tmp_path):
    paths = [picture(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    results = predict.predict(model_folder, paths)
    assert [result.path for result in results] == paths
    config = preprocessing.load_record(model_folder).config
    pixels = np.stack([preprocessing.prepare_encoded(path.read_bytes(), config) for path in paths])[..., np.newaxis]
    expected = saved_model.probabilities(saved_model.load(model_folder), pixels, 64)
    for result, row in zip(results, expected, strict=True):
        assert list(result.probabilities) == list(CLASSES)
        np.testing.assert_allclose(list(result.probabilities.values()), row, rtol=1e-6)
        assert result.label == CLASSES[row.argmax()]
        assert math.isclose(sum(result.probabilities.values()), 1, abs_tol=1e-5)


def test_probabilities_are_calibrated_and_sets_are_told(model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    thresholds = {"happy": None, "sad": 0.0, "angry": 0.0}
    known = calibrator.Calibration(
        classes=CLASSES, temperature=3.0, coverage=0.9, by_class=True, n_images=100, images_by_class={},
        sets=(calibrator.SetLevel(coverage=0.9, thresholds=thresholds),),
    )  # fmt: skip
    (folder / calibrator.FILE).write_text(known.model_dump_json())
    paths = [picture(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    for own, result in zip(predict.predict(model_folder, paths), predict.predict(folder, paths), strict=True):
        expected = known.probabilities(np.array([list(own.probabilities.values())]))[0]
        np.testing.assert_allclose(list(result.probabilities.values()), expected, rtol=1e-5)
        assert (result.label, own.set, own.unsure) == (own.label, None, None)
        assert set(result.set) == {"happy", result.label}
        assert (result.set[0], result.unsure) == (result.label, result.label != "happy")
        assert result.coverage == 0.9


def test_a_file_that_cannot_be_read_says_why_and_the_others_are_predicted(model_folder, tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    paths = [tmp_path / "text.png", picture(tmp_path / "good.png", 0), tmp_path / "missing.png", tmp_path]
    results = predict.predict(model_folder, paths)
    assert [result.label is not None for result in results] == [False, True, False, False]
    assert results[0].error == "not an image of a format known here: a text"
    assert results[2].error == "No such file or directory"
    assert results[1].error is None


def test_more_files_than_a_batch_keep_their_order(model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "_MOST_AT_ONCE", 2)
    paths = [picture(tmp_path / f"{seed}.png", seed) for seed in range(5)]
    together = predict.predict(model_folder, paths)
    alone = [predict.predict(model_folder, [path])[0] for path in paths]
    assert [result.path for result in together] == paths
    assert [result.label for result in together] == [result.label for result in alone]


@pytest.mark.parametrize("n_files", [1, 3])
def test_no_more_images_are_scored_than_there_are(model_folder, tmp_path, monkeypatch, n_files):
    sizes = []
    whole = keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda model, pixels: sizes.append(len(pixels)) or whole(model, pixels)
    )
    paths = [str(picture(tmp_path / f"{seed}.png", seed)) for seed in range(n_files)]
    predict.predict_files(str(model_folder), paths, whole=False, progress=lambda *_: None)
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
        predict.predict_files(str(tmp_path / "model"), [], whole=False, progress=silent)


def test_a_model_whose_preprocessing_the_code_no_longer_does_is_refused(model_folder, tmp_path):
    record = json.loads((model_folder / files.PREPROCESSING).read_bytes())
    record["probe"] = [255 - value for value in record["probe"]]
    shutil.copytree(model_folder, tmp_path / "model")
    (tmp_path / "model" / files.PREPROCESSING).write_text(json.dumps(record))
    with pytest.raises(errors.IntegrityError, match="prepared"):
        predict.predict_files(str(tmp_path / "model"), [], whole=False, progress=silent)


def test_the_one_face_of_a_photograph_is_what_the_model_sees(model_folder, tmp_path):
    path = photo(tmp_path / "a.png", (350, 120, 140))
    (result,) = predict.predict(model_folder, [path])
    assert (result.taken, result.note, result.error) == ("face", "the face", None)
    x, y, width, height = result.box
    assert np.hypot(x + width / 2 - 420, y + height / 2 - 190) < 28
    assert 70 < width < 140
    assert 0.7 < result.score <= 1
    (whole,) = predict.predict(model_folder, [path], whole=True)
    assert whole.probabilities != result.probabilities
    (face,) = predict.read_inputs(path, preprocessing.load_record(model_folder).config, whole=False)
    image = decode.decode(path.read_bytes())
    expected = faces.crop(image, faces.find(image)[0], "crop", 0.0)
    config = preprocessing.load_record(model_folder).config
    assert np.array_equal(face.pixels, preprocessing.prepare_pixels(expected, config))


def test_each_of_several_faces_gets_a_prediction_that_says_which(model_folder, tmp_path):
    path = photo(tmp_path / "a.png", (40, 60, 160), (400, 200, 110))
    alone = predict.predict(model_folder, [photo(tmp_path / "b.png", (40, 60, 160))])
    results = predict.predict(model_folder, [picture(tmp_path / "c.png", 1), path])
    assert [result.path.name for result in results] == ["c.png", "a.png", "a.png"]
    assert [result.note for result in results[1:]] == ["face 1 of 2", "face 2 of 2"]
    assert results[1].box[0] < 200 < 400 < results[2].box[0]
    assert results[1].probabilities == pytest.approx(alone[0].probabilities, abs=0.02)


@pytest.mark.parametrize("face", ["whole", "crop", "align"])
def test_a_picture_without_a_face_gets_no_emotion_and_says_how_to_have_one(tmp_path, face):
    config = preprocessing.PreprocessConfig(height=16, width=16, face=face)
    path = photo(tmp_path / "empty.png")
    (refused,) = predict.read_inputs(path, config, whole=False)
    assert refused.label is None
    assert "no face" in refused.error
    assert "--whole" in refused.error
    (whole,) = predict.read_inputs(path, config, whole=True)
    assert (whole.known.taken, whole.known.note) == ("whole", "all of it, as asked")
    assert np.array_equal(whole.pixels, preprocessing.prepare_pixels(decode.decode(path.read_bytes()), config))


def test_a_crop_is_taken_whole_by_a_model_of_crops_and_its_note_says_so(model_folder, tmp_path):
    (result,) = predict.predict(model_folder, [picture(tmp_path / "a.png", 3)])
    assert (result.taken, result.note) == ("whole", "all of it: a crop already")
    assert result.box is not None


@pytest.mark.parametrize("face", ["crop", "align"])
def test_a_model_of_cut_out_faces_sees_what_its_training_would(tmp_path, face):
    config = preprocessing.PreprocessConfig(height=16, width=16, face=face, face_margin=0.2)
    for path in (photo(tmp_path / "a.png", (350, 120, 140)), picture(tmp_path / "b.png", 3)):
        (prepared,) = predict.read_inputs(path, config, whole=False)
        assert prepared.known.taken == "face"
        assert np.array_equal(prepared.pixels, preprocessing.prepare_encoded(path.read_bytes(), config))
