import math
import shutil

import cv2
import numpy as np
import onnx_release
import onnxruntime
import pytest
from drawn_photos import drawn, photo
from onnx_release import CLASSES

from data_contracts import files
from fer import errors
from fer.evaluation import unlikeness
from fer.evaluation.calibration import calibrator
from fer.images import faces
from fer.serving.predictor import Predictor
from fer.shards import preprocessing


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return onnx_release.write(tmp_path_factory.mktemp("release") / "demo", sets=True)


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor.from_folder(folder)


def by_hand(folder, pixels):
    """The calibrated probabilities of (H, W) uint8 prepared pixels, by onnxruntime and the formula alone."""
    (raw,) = onnxruntime.InferenceSession(folder / "model.onnx").run(
        None, {"pixels": pixels[np.newaxis, ..., np.newaxis].astype(np.float32)}
    )[0]
    scaled = raw.astype(float) ** (1 / 3)
    return scaled / scaled.sum()


def test_a_crop_is_taken_whole_and_answered_by_the_export_and_the_calibration(folder, predictor):
    image = drawn(3)
    result = predictor.predict(image)
    (face,) = result.faces
    assert (result.width, result.height, result.n_found, result.finding) == (48, 48, 1, "one face")
    assert (face.taken, face.note) == ("whole", "all of it: a crop already")
    expected = by_hand(folder, preprocessing.prepare_pixels(image, predictor.config))
    np.testing.assert_allclose(list(face.probabilities.values()), expected, rtol=1e-5)
    assert list(face.probabilities) == list(CLASSES)
    assert face.label == CLASSES[expected.argmax()] == face.ranked[0][0]
    assert math.isclose(sum(face.probabilities.values()), 1, abs_tol=1e-5)


def test_sets_say_where_the_model_is_unsure(predictor):
    for face in (predictor.predict(drawn(seed)).faces[0] for seed in range(4)):
        assert set(face.set) == {"happy", face.label}
        assert (face.set[0], face.unsure, face.coverage) == (face.label, face.label != "happy", 0.9)


def test_a_release_without_a_calibration_gives_its_own_probabilities_and_no_sets(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "old")
    (tmp_path / "old" / calibrator.FILE).unlink()
    (face,) = Predictor.from_folder(tmp_path / "old").predict(drawn(0)).faces
    assert (face.set, face.coverage, face.unsure) == (None, None, None)


def test_the_one_face_of_a_photograph_is_what_the_model_sees(folder, predictor):
    image = photo((350, 120, 140))
    (face,) = predictor.predict(image).faces
    assert (face.taken, face.note) == ("face", "the face")
    x, y, width, height = face.box
    assert np.hypot(x + width / 2 - 420, y + height / 2 - 190) < 28
    assert 70 < width < 140
    assert 0.7 < face.face_score <= 1
    (left, right) = face.eyes
    assert x < left[0] < 420 < right[0] < x + width
    part = faces.crop(image, faces.find(image)[0], "crop", 0.0)
    expected = by_hand(folder, preprocessing.prepare_pixels(part, predictor.config))
    np.testing.assert_allclose(list(face.probabilities.values()), expected, rtol=1e-5)
    (whole,) = predictor.predict(image, whole=True).faces
    assert (whole.taken, whole.box, whole.face_score, whole.eyes) == ("whole", None, None, None)
    assert whole.probabilities != face.probabilities


def test_several_faces_are_answered_each_the_largest_first(predictor):
    result = predictor.predict(photo((40, 60, 160), (400, 200, 110)))
    assert (result.n_found, result.finding) == (2, "several faces")
    assert [face.note for face in result.faces] == ["face 1 of 2", "face 2 of 2"]
    assert result.faces[0].box[0] < 200 < 400 < result.faces[1].box[0]


def test_a_picture_without_a_face_has_no_answer(predictor):
    result = predictor.predict(photo())
    assert (result.faces, result.finding) == ((), "no face")
    assert predictor.predict(photo(), whole=True).finding == "not looked for"


def test_pictures_that_are_predicted_together_are_answered_as_each_alone(predictor):
    pictures = [photo((40, 60, 160), (400, 200, 110)), photo(), drawn(2)]
    together = predictor.predict_all(pictures)
    assert [len(result.faces) for result in together] == [2, 0, 1]
    for result, picture in zip(together, pictures, strict=True):
        for face, other in zip(result.faces, predictor.predict(picture).faces, strict=True):
            assert (face.box, face.note) == (other.box, other.note)
            assert face.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    assert predictor.predict_all([]) == []


def test_colour_is_made_grey_in_either_order_of_its_channels(predictor):
    grey = photo((350, 120, 140))
    colour = np.dstack([grey, grey, grey])
    assert predictor.predict(colour) == predictor.predict(grey)
    colour[..., 0] //= 2
    assert predictor.predict(colour[..., ::-1], channels="RGB") == predictor.predict(colour)


@pytest.mark.parametrize("mode", ["crop", "align"])
def test_a_model_of_cut_out_faces_sees_what_its_training_would(tmp_path, mode):
    predictor = Predictor.from_folder(onnx_release.write(tmp_path / "demo", face=mode, face_margin=0.2))
    for image in (photo((350, 120, 140)), drawn(3)):
        (shown,) = predictor.look(image).shown
        assert shown.taken == "face"
        encoded = cv2.imencode(".png", image)[1].tobytes()
        assert np.array_equal(shown.pixels, preprocessing.prepare_encoded(encoded, predictor.config))
    assert predictor.predict(photo()).finding == "no face"


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        [[1, 2], [3, 4]],
    ],
)
def test_what_is_no_picture_is_refused_with_its_form(predictor, image):
    with pytest.raises(errors.SourceError, match="Next: "):
        predictor.predict(image)


def test_a_picture_beyond_the_limit_is_refused(predictor):
    with pytest.raises(errors.SourceError, match="FER_LIMIT_IMAGE_SIDE_PX"):
        predictor.predict(np.zeros((2, 8_193), np.uint8))


@pytest.mark.parametrize("name", ["model.onnx", files.PREPROCESSING, calibrator.FILE])
def test_a_flipped_byte_is_found_before_the_file_is_used(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "demo")
    onnx_release.serving_json(tmp_path / "demo")
    Predictor.from_folder(tmp_path / "demo")
    data = bytearray((tmp_path / "demo" / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "demo" / name).write_bytes(data)
    with pytest.raises(errors.IntegrityError, match=f"{name} must be the one that was released"):
        Predictor.from_folder(tmp_path / "demo")


def test_a_model_of_another_form_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "demo")
    onnx_release.model_file(tmp_path / "demo" / "model.onnx", (16, 16), 4)
    with pytest.raises(errors.IntegrityError, match="3 probabilities of any number of images of 16x16"):
        Predictor.from_folder(tmp_path / "demo")
    (tmp_path / "demo" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(errors.IntegrityError, match="must be a model that onnxruntime runs"):
        Predictor.from_folder(tmp_path / "demo")


def test_a_model_beyond_the_limit_is_not_read(folder, limited):
    limited(model_bytes=1_000)
    with pytest.raises(errors.IntegrityError, match="FER_LIMIT_MODEL_BYTES"):
        Predictor.from_folder(folder)


def test_probabilities_that_are_no_numbers_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "demo")
    onnx_release.model_file(tmp_path / "demo" / "model.onnx", (16, 16), 3, scale=1e37)
    with pytest.raises(errors.IntegrityError, match="finite"):
        Predictor.from_folder(tmp_path / "demo").predict(drawn(0))


def test_a_folder_without_a_release_is_refused(tmp_path):
    with pytest.raises(errors.ConfigError, match="no such files in"):
        Predictor.from_folder(tmp_path)
    with pytest.raises(errors.ConfigError, match="no folder"):
        Predictor.from_folder(tmp_path / "nothing")


def test_a_model_of_a_newer_project_or_of_other_preprocessing_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "demo")
    record = preprocessing.load_record(folder)
    other = record.model_copy(update={"probe": tuple(255 - value for value in record.probe)})
    (tmp_path / "demo" / files.PREPROCESSING).write_text(other.model_dump_json())
    with pytest.raises(errors.IntegrityError, match="prepared"):
        Predictor.from_folder(tmp_path / "demo")
    newer = record.model_dump_json().replace('"height"', '"sharpened": true, "height"', 1)
    (tmp_path / "demo" / files.PREPROCESSING).write_text(newer)
    with pytest.raises(errors.IntegrityError, match=r"config sharpened: .* Next: use the version"):
        Predictor.from_folder(tmp_path / "demo")


def test_a_folder_of_exports_alone_predicts_the_same(folder, predictor, tmp_path):
    onnx_release.serving_json(shutil.copytree(folder, tmp_path / "all"))
    (tmp_path / "exports").mkdir()
    for name in ("model.onnx", "serving.json"):
        shutil.copy(tmp_path / "all" / name, tmp_path / "exports" / name)
    exported = Predictor.from_folder(tmp_path / "exports")
    for image in (photo((40, 60, 160), (400, 200, 110)), drawn(3), photo()):
        assert exported.predict(image) == predictor.predict(image)


def test_a_model_of_whole_photographs_is_shown_the_whole_and_answers_once(folder, tmp_path):
    onnx_release.serving_json(shutil.copytree(folder, tmp_path / "demo"), "photographs")
    predictor = Predictor.from_folder(tmp_path / "demo")
    image = photo((40, 60, 160), (400, 200, 110))
    result = predictor.predict(image)
    (face,) = result.faces
    assert (result.n_found, result.finding) == (2, "several faces")
    assert (face.taken, face.note) == ("whole", "all of it, as in training; 2 faces")
    assert face.box[0] < 200  # the largest one's
    expected = by_hand(folder, preprocessing.prepare_pixels(image, predictor.config))
    np.testing.assert_allclose(list(face.probabilities.values()), expected, rtol=1e-5)
    assert predictor.predict(photo()).finding == "no face"


def test_a_picture_unlike_the_training_is_said(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "release")
    config = preprocessing.load_record(folder).config
    faces_shown = np.stack([preprocessing.prepare_pixels(drawn(seed), config) for seed in range(150)])
    onnx_release.serving_json(tmp_path / "release", unlikeness=unlikeness.fit(faces_shown[:110], faces_shown[110:]))
    predictor = Predictor.from_folder(tmp_path / "release")
    noise = np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8)
    grey = np.full((60, 60), 90, np.uint8)
    said = [predictor.predict(image, whole=True).faces[0].unlike for image in (drawn(500), noise, grey)]
    assert said == [False, True, True]
    assert [face.unlike for face in predictor.predict(photo((350, 120, 140))).faces] == [False]


def test_a_release_that_does_not_know_its_training_images_says_nothing_of_others(predictor):
    assert predictor.predict(drawn(0)).faces[0].unlike is None
