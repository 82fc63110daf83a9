import dataclasses

import numpy as np

from fer.serving import drawing
from fer.serving.results import FaceResult

FACE = FaceResult(
    label="happy", probabilities={"happy": 0.9, "sad": 0.1}, taken="face", note="the face",
    box=(100, 80, 60, 60), face_score=0.9, eyes=((115.0, 100.0), (145.0, 100.0)),
)  # fmt: skip


def with_(face, **changes):
    return dataclasses.replace(face, **changes)


def test_a_face_gets_its_box_and_its_label_and_the_picture_stays_as_it_was():
    grey = np.full((240, 320), 90, np.uint8)
    drawn = drawing.annotated(grey, [FACE])
    assert drawn.shape == (240, 320, 3)
    assert (grey == 90).all()
    changed = (drawn != 90).any(axis=2)
    assert changed[80, 100:160].all()  # the upper edge
    assert changed[60:80, 100:160].mean() > 0.5  # the label's bar
    assert not changed[98:103, 120:140].any()  # between the eyes the face is seen
    assert not changed[:, 200:].any()


def test_an_unsure_face_has_another_colour_and_names_its_set():
    unsure = with_(FACE, set=("happy", "sad"), coverage=0.9, unsure=True)
    colours = [tuple(drawing.annotated(np.zeros((240, 320, 3), np.uint8), [face])[110, 100]) for face in (FACE, unsure)]
    assert len(set(colours)) == 2
    assert drawing.words(unsure) == "happy 0.90? sad"
    assert drawing.words(with_(FACE, unlike=True)) == "unlike the training: happy 0.90"


def test_what_reaches_beyond_the_edge_is_drawn_as_far_as_it_is_there():
    for box in ((-40, -30, 90, 90), (290, 200, 90, 90), (-500, -500, 20, 20)):
        assert drawing.annotated(np.zeros((240, 320), np.uint8), [with_(FACE, box=box)]).shape == (240, 320, 3)


def test_a_label_of_letters_that_the_font_lacks_is_drawn():
    named = with_(FACE, label="fröhlich\n", probabilities={"fröhlich\n": 1.0})
    assert drawing.annotated(np.zeros((240, 320), np.uint8), [named]).any()
