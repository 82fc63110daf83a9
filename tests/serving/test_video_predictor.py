import cv2
import drawn_video
import numpy as np
import onnx_release
import pytest

from fer.images import faces
from fer.serving import video_predictor
from fer.serving.predictor import Predictor
from fer.serving.video_predictor import FaceFollower, VideoPredictor


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor.from_folder(onnx_release.write(tmp_path_factory.mktemp("release") / "demo", sets=True))


@pytest.fixture(scope="module")
def two_faces():
    return list(drawn_video.frames(20, labels=("happy", "sad")))


def seen_in(predictor, frames, **settings):
    watching = VideoPredictor(predictor, **settings)
    return [watching.predict(frame, number / drawn_video.FPS) for number, frame in enumerate(frames)]


def test_two_faces_keep_their_numbers_in_all_frames(predictor, two_faces):
    left_and_right = set()
    for seen in seen_in(predictor, two_faces):
        left_and_right.add(tuple(one.number for one in sorted(seen, key=lambda one: one.face.box[0])))
    assert left_and_right in ({(1, 2)}, {(2, 1)})


def test_without_averaging_each_frame_is_answered_as_a_picture(predictor, two_faces):
    watching = VideoPredictor(predictor, time_constant_s=0)
    seen = watching.predict(two_faces[0], 0.0)
    picture = predictor.predict(two_faces[0])
    assert [one.face for one in seen] == list(picture.faces)


def test_averaged_answers_move_less_than_those_of_single_frames(predictor):
    draw = np.random.default_rng(0)
    frames = [
        np.clip(frame + draw.normal(0, 25, frame.shape), 0, 255).astype(np.uint8) for frame in drawn_video.frames(15)
    ]
    steps = []
    for seconds in (0.0, 0.5):
        rows = [
            list(seen[0].face.probabilities.values()) for seen in seen_in(predictor, frames, time_constant_s=seconds)
        ]
        steps.append(np.abs(np.diff(rows[3:], axis=0)).mean())
    assert steps[1] < 0.5 * steps[0]


def test_sets_and_the_label_are_those_of_the_average(predictor, two_faces):
    for seen in seen_in(predictor, two_faces[:4])[-1]:
        assert seen.face.label == max(seen.face.probabilities, key=seen.face.probabilities.get)
        assert set(seen.face.set) == {"happy", seen.face.label}


def test_all_of_a_frame_can_be_taken_for_the_face(predictor, two_faces):
    for (seen,) in seen_in(predictor, two_faces[:3], whole=True):
        assert (seen.number, seen.face.taken, seen.face.box) == (1, "whole", None)


def test_a_frame_without_a_face_has_none(predictor):
    assert VideoPredictor(predictor).predict(np.zeros((120, 160, 3), np.uint8), 0.0) == []


def test_all_of_a_frame_is_searched_seldom(monkeypatch, two_faces):
    searched, find = [], faces.find
    monkeypatch.setattr(video_predictor.faces, "find", lambda image: searched.append(1) or find(image))
    follower = FaceFollower()
    for number, frame in enumerate(two_faces):
        assert len(follower.find(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), number / 10)) == 2
    assert len(searched) == 4  # in 1.9 s


def test_a_face_that_comes_is_found_within_half_a_second(two_faces):
    empty = np.full(two_faces[0].shape[:2], 90, np.uint8)
    shown = cv2.cvtColor(two_faces[0], cv2.COLOR_BGR2GRAY)
    follower = FaceFollower()
    found = [len(follower.find(empty if number < 3 else shown, number / 25)) for number in range(20)]
    assert found[:3] == [0, 0, 0]
    assert found[15] == 2
