import dataclasses
import json

import numpy as np
import onnx_release
import pytest
from drawn_photos import drawn, photo

from fer.images import encode
from fer.serving import predicting
from fer.serving.pictures import Picture
from fer.serving.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor.from_folder(onnx_release.write(tmp_path_factory.mktemp("release") / "demo", sets=True))


def pictures():
    yield Picture("two.png", encode.png(photo((40, 60, 160), (400, 200, 110))))
    yield Picture("text.png", b"a text, not an image")
    yield Picture("none.png", encode.png(photo()))
    yield Picture("gone.png", b"", "No such file or directory")
    for seed in range(9):
        yield Picture(f"{seed}.png", encode.png(drawn(seed)))


def test_answers_come_in_order_and_a_picture_that_cannot_be_read_says_why(predictor):
    rows = [row for answer in predicting.answers(predictor, pictures()) for row in answer.rows]
    assert [row.path for row in rows] == [
        "two.png", "two.png", "text.png", "none.png", "gone.png", *(f"{seed}.png" for seed in range(9))
    ]  # fmt: skip
    first, second, text, none, gone, *crops = rows
    assert [(row.face, row.finding) for row in (first, second)] == [(1, "several faces"), (2, "several faces")]
    assert text.error == "not an image of a format known here: a text"
    assert (none.finding, none.error) == ("no face", predicting.NO_FACE)
    assert gone.error == "No such file or directory"
    assert all(row.error is None and row.label and row.unsure is not None for row in (first, second, *crops))
    for row in rows:
        json.dumps(row.as_dict())


def test_many_pictures_are_answered_as_few_are_and_not_all_are_held_at_once(predictor, monkeypatch):
    alone = [row for answer in predicting.answers(predictor, pictures()) for row in answer.rows]
    monkeypatch.setattr(predicting, "_AT_ONCE", 2)
    held, read = [], []

    def counted():
        for picture in pictures():
            read.append(picture)
            yield picture

    together = []
    for answer in predicting.answers(predictor, counted()):
        held.append(len(read) - len(held))
        together += answer.rows
    assert max(held) < 13
    for one, other in zip(alone, together, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
        assert dataclasses.replace(one, probabilities={}) == dataclasses.replace(other, probabilities={})


def test_all_of_a_picture_can_be_taken(predictor):
    picture = Picture("none.png", encode.png(photo()))
    (answer,) = predicting.answers(predictor, [picture], whole=True)
    (row,) = answer.rows
    assert (row.taken, row.finding, row.error, row.box) == ("whole", "not looked for", None, None)
    assert np.isclose(sum(row.probabilities.values()), 1)
