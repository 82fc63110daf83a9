import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.serving import tracking

FPS = 25
SIDE = 60


def box(x, y, side=SIDE):
    return (round(x), round(y), round(side), round(side))


def followed(path, tracker=None, fps=FPS):
    """The numbers of each frame's boxes, where `path` is the list of the boxes of each frame."""
    tracker = tracker or tracking.Tracker()
    return [tracker.update(boxes, index / fps) for index, boxes in enumerate(path)]


def test_a_face_that_trembles_keeps_its_number():
    draw = np.random.default_rng(0)
    path = [[box(*(100 + draw.normal(0, 4, 2)), SIDE + draw.normal(0, 3))] for _ in range(100)]
    assert followed(path) == [[1]] * 100


@pytest.mark.parametrize("px_per_frame", [10, 40, 70])
def test_a_face_that_moves_by_as_much_as_its_own_size_keeps_its_number(px_per_frame):
    assert followed([[box(px_per_frame * frame, 100)] for frame in range(20)]) == [[1]] * 20


def test_two_faces_that_pass_each_other_keep_their_numbers_whatever_their_order():
    path = [[box(8 * frame, 100), box(480 - 8 * frame, 130)] for frame in range(60)]
    assert followed(path) == [[1, 2]] * 60
    turned = [boxes[::-1] if frame % 2 else boxes for frame, boxes in enumerate(path)]
    assert followed(turned) == [[2, 1] if frame % 2 else [1, 2] for frame in range(60)]


def test_a_face_that_is_missed_for_a_moment_is_found_where_its_motion_took_it():
    path = [[] if 20 <= frame < 30 else [box(10 * frame, 50)] for frame in range(50)]
    assert followed(path) == [[] if 20 <= frame < 30 else [1] for frame in range(50)]


def test_a_face_that_was_away_for_longer_is_another_one():
    path = [[box(10, 10)] if not 10 <= frame < 10 + 2 * FPS else [] for frame in range(70)]
    numbers = followed(path)
    assert numbers[0] == [1]
    assert numbers[-1] == [2]


def test_a_face_of_quite_another_size_in_the_same_place_is_another_one():
    assert followed([[box(100, 100, 200)], [box(170, 170, 60)]]) == [[1], [2]]


def test_each_detected_box_goes_to_the_nearest_known_face_as_a_whole():
    """By the nearest first, the left box would take the middle face, and the right one none."""
    tracker = tracking.Tracker()
    assert tracker.update([box(0, 0), box(50, 0)], 0.0) == [1, 2]
    assert tracker.update([box(28, 0), box(78, 0)], 0.04) == [1, 2]


def test_numbers_of_forgotten_faces_are_not_given_again():
    tracker = tracking.Tracker(keep_s=0.1)
    for round_number in range(5):
        assert tracker.update([box(0, 0)], round_number) == [round_number + 1]
        assert tracker.numbers == {round_number + 1}


@pytest.mark.parametrize("fps", [5, 12, 60])
def test_a_slow_camera_needs_no_other_settings(fps):
    path = [[box(100 * frame / fps, 20), box(400, 300 + 60 * frame / fps)] for frame in range(3 * fps)]
    assert followed(path, fps=fps) == [[1, 2]] * (3 * fps)


boxes = st.lists(
    st.tuples(st.integers(-500, 5_000), st.integers(-500, 5_000), st.integers(0, 900), st.integers(0, 900)), max_size=6
)


@given(st.lists(boxes, max_size=8))
def test_each_box_of_a_frame_has_a_number_of_its_own_whatever_the_boxes_are(frames):
    tracker = tracking.Tracker()
    for index, frame in enumerate(frames):
        numbers = tracker.update(frame, index / FPS)
        assert len(numbers) == len(frame) == len(set(numbers))
        assert tracker.numbers >= set(numbers)
