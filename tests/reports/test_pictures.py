"""Charts as files of their own."""

import xml.etree.ElementTree as ET

import pytest

from fer.reports import pictures

HISTORY = {
    "loss": [1.9, 1.5, 1.4],
    "accuracy": [0.3, 0.5, 0.6],
    "validation_loss": [1.8, 1.6, 1.7],
    "validation_accuracy": [0.35, 0.45, 0.45],
}
BEFORE, AFTER = {"angry": 5, "happy": 9}, {"angry": 9, "dis<gust": 9, "happy": 9}


def texts(svg: bytes) -> list[str]:
    return [part.text for part in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - our own


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pictures.learning(HISTORY, 2)["Loss"],
        lambda: pictures.class_bars({"before": BEFORE, "after": AFTER}, title="t"),
    ],
)
def test_a_picture_is_whole_and_the_same_for_the_same_numbers(draw):
    root = ET.fromstring(draw())  # noqa: S314 - our own
    assert int(root.get("width")) > 300
    assert int(root.get("height")) > 100
    assert draw() == draw()


def test_the_curves_name_the_best_epoch():
    drawn = pictures.learning(HISTORY, pictures.best_epoch_of(HISTORY))
    assert list(drawn) == ["Accuracy", "Loss"]
    assert all("best epoch (2)" in texts(svg) for svg in drawn.values())


def test_the_bars_say_how_many_images_each_class_had_and_has():
    said = texts(pictures.class_bars({"before": BEFORE, "after": AFTER}, title="Images"))
    assert said[:3] == ["Images", "before", "after"]
    assert said[3:] == ["angry", "5", "9", "dis<gust", "0", "9", "happy", "9", "9"]


def test_without_images_there_are_no_bars():
    assert texts(pictures.class_bars({"train": {"happy": 0}}, title="Images"))[-1] == "0"
