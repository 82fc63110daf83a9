import csv
import json
from pathlib import Path

import cv2
import numpy as np
import onnx_release
import pyarrow.parquet as pq
import pytest
from drawn_photos import photo

from fer import errors
from fer.images import encode
from fer.serving import predicting, writing
from fer.serving.pictures import Picture
from fer.serving.predictor import Predictor

CLASSES = ("happy", "sad")
FACE = predicting.Prediction(
    path="a.jpg", finding="one face", face=1, label="happy", probabilities={"happy": 0.75, "sad": 0.25},
    taken="face", note="the face", box=(1, 2, 30, 40), face_score=0.5, eyes=((10.0, 11.0), (20.0, 11.5)),
    set=("happy", "sad"), coverage=0.9, unsure=True,
)  # fmt: skip
FAULT = predicting.Prediction(path="ü\udcff,\n.jpg", error="the file is empty")
FLAT = {
    "path": "a.jpg", "finding": "one face", "face": 1, "label": "happy", "confidence": 0.75,
    "frame": None, "time_s": None, "set": ["happy", "sad"], "coverage": 0.9,
    "unsure": True, "unlike": None, "taken": "face", "note": "the face", "left": 1, "upper": 2, "width": 30,
    "height": 40, "face_score": 0.5, "left_eye_x": 10.0, "left_eye_y": 11.0, "right_eye_x": 20.0, "right_eye_y": 11.5,
    "p_happy": 0.75, "p_sad": 0.25, "error": None,
}  # fmt: skip


@pytest.mark.parametrize("name", ["out.json", "out.jsonl", "out.csv", "out.parquet"])
def test_each_format_holds_every_face_and_every_fault(tmp_path, name):
    path = tmp_path / name
    assert writing.write(iter([FACE, FAULT]), writing.format_of(path, None), CLASSES, path) == 2
    if name == "out.parquet":
        first, second = pq.read_table(path).to_pylist()
        assert first == FLAT
        assert second == {**dict.fromkeys(FLAT), "path": "ü\\xff,\n.jpg", "error": "the file is empty"}
    elif name == "out.csv":
        with path.open(newline="") as file:
            first, second = csv.DictReader(file)
        flat = FLAT | {"set": "happy sad"}
        assert first == {key: "" if value is None else str(value) for key, value in flat.items()}
        assert (second["path"], second["label"], second["error"]) == ("ü\\xff,\n.jpg", "", "the file is empty")
    else:
        text = path.read_text()
        first, second = json.loads(text) if name == "out.json" else map(json.loads, text.splitlines())
        assert (first["box"], first["probabilities"], first["unsure"]) == ([1, 2, 30, 40], FACE.probabilities, True)
        assert (second["path"], second["label"]) == (FAULT.path, None)


def test_lines_come_as_the_predictions_do(capsys):
    def predictions():
        yield FACE
        assert json.loads(capsys.readouterr().out)["label"] == "happy"

    assert writing.write(predictions(), "jsonl", CLASSES) == 1


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path):
    def failing():
        yield FACE
        raise errors.SourceError("The archive must be whole.")

    for name in ("out.csv", "out.parquet"):
        with pytest.raises(errors.SourceError):
            writing.write(failing(), writing.format_of(Path(name), None), CLASSES, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_format_is_told_by_name_or_suffix(tmp_path):
    assert writing.format_of(None, None) == "table"
    assert writing.format_of(Path("a.NDJSON"), None) == "jsonl"
    assert writing.format_of(Path("a.txt"), "csv") == "csv"
    with pytest.raises(errors.ConfigError, match="by a suffix"):
        writing.format_of(Path("a.txt"), None)
    with pytest.raises(errors.ConfigError, match="table, json, jsonl, csv, parquet"):
        writing.format_of(None, "yaml")
    with pytest.raises(errors.ConfigError, match="--output FILE"):
        writing.write([], "parquet", CLASSES)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor.from_folder(onnx_release.write(tmp_path_factory.mktemp("release") / "demo"))


def annotated(predictor, folder, common, *pictures):
    return list(writing.annotate(predicting.answers(predictor, pictures), folder, common))


def test_pictures_are_drawn_in_colour_at_their_places(predictor, tmp_path):
    grey = photo((350, 120, 140))
    colour = np.dstack([grey, grey, np.full_like(grey, 200)])
    album = tmp_path / "album"
    pictures = [
        Picture(str(album / "sub/a.jpg"), cv2.imencode(".jpg", colour)[1].tobytes()),
        Picture(str(album / "b.webp"), cv2.imencode(".webp", grey)[1].tobytes()),
        Picture(str(album / "c.zip/x/d.png"), encode.png(photo())),
        Picture(str(album / "text.png"), b"no image"),
    ]
    answers = annotated(predictor, tmp_path / "out", album, *pictures)
    assert len(answers) == 4
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*g"))
    assert written == ["b.webp.png", "c.zip/x/d.png", "sub/a.jpg"]
    drawn = cv2.imread(str(tmp_path / "out/sub/a.jpg"))
    assert drawn.shape == colour.shape
    assert np.abs(drawn[300:, :300].astype(int) - colour[300:, :300]).mean() < 8  # where no face is
    assert (cv2.imread(str(tmp_path / "out/b.webp.png")) != np.dstack([grey] * 3)).any()


def test_no_picture_is_written_over(predictor, tmp_path):
    data = encode.png(photo((350, 120, 140)))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(errors.ConfigError, match="another folder"):
        annotated(predictor, tmp_path, tmp_path, Picture(str(path), data))
    assert path.read_bytes() == data
    twice = [Picture("../one/a.png", data), Picture("../two/a.png", data)]
    with pytest.raises(errors.ConfigError, match="a place of its own"):
        annotated(predictor, tmp_path / "out", None, *twice)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.png"]
