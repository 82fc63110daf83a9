"""`fer predict`: the table, the JSON and the exit code."""

import contextlib
import json
from types import SimpleNamespace

import pytest
from rich.console import Console
from shell import fer
from typer.testing import CliRunner

from fer import errors
from fer.evaluation import predict
from fer.registry import releases
from flows.cli import app as cli
from flows.cli import console


def test_a_missing_file_is_told_before_the_store_is_asked(tmp_path):
    (tmp_path / "fer").mkdir()
    (tmp_path / "there.png").write_bytes(b"")
    run = fer("predict", "there.png", "missing.jpg", home=tmp_path, FER_STORE_ENDPOINT="http://127.0.0.1:1")
    assert run.returncode == errors.SourceError.exit_code
    assert "no file missing.jpg" in run.stderr
    assert "Next: " in run.stderr
    assert "there.png" not in run.stderr


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Call `fer predict` with these arguments in a folder of some files; what is predicted, or the error."""
    for name in (
        "a.jpg",
        "B.JPG",
        "sub/c.png",
        "sub/d.heic",
        "notes.txt",
        ".hidden.jpg",
        "@eaDir/a.jpg",
        "empty/x.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    manifest = SimpleNamespace(name="demo", version=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(releases, "local_copy", lambda model: contextlib.nullcontext((manifest, tmp_path)))
    monkeypatch.setattr(releases, "withdrawal", lambda manifest: None)
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    seen = []

    def predictions(folder, paths, *, whole):
        seen.extend(str(path) for path in paths)
        return []

    monkeypatch.setattr(predict, "predict", predictions)

    def run(*arguments):
        seen.clear()
        run = CliRunner().invoke(cli.app, ["predict", *arguments])
        return seen if run.exit_code == 0 else str(run.exception)

    return run


def test_a_folder_stands_for_its_images_and_a_pattern_for_the_files_that_fit(asked):
    assert asked(".") == ["B.JPG", "a.jpg", "sub/c.png", "sub/d.heic"]
    assert asked("sub", "a.jpg", "sub/c.png") == ["sub/c.png", "sub/d.heic", "a.jpg"]
    assert asked("*.jpg") == ["a.jpg"]
    assert asked("**/*.png") == ["sub/c.png"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("*.webp", "no file *.webp"),
        ("empty", "no image in the folder empty"),
        ("https://example.org/face.jpg", "download it"),
        ("s3://bucket/face.jpg", "download it"),
    ],
)
def test_what_stands_for_no_file_is_told_with_what_to_do(asked, argument, message):
    assert message in asked("a.jpg", argument)
    assert argument in asked("a.jpg", argument)


@pytest.fixture
def predicted(monkeypatch, tmp_path):
    """`fer predict` of files of these names in a folder of a long name, as the child would answer."""

    def run(answers, *options, folder=tmp_path / ("holiday-photographs-" * 4), width=80):
        folder.mkdir(exist_ok=True)
        for name in answers:
            (folder / name).write_bytes(b"")
        paths = [folder / name for name in answers]
        predictions = [
            predict.Prediction(path=path, **answer) for path, name in zip(paths, answers, strict=True)
            for answer in answers[name]
        ]  # fmt: skip
        manifest = SimpleNamespace(name="demo", version=1)
        monkeypatch.setattr(releases, "local_copy", lambda model: contextlib.nullcontext((manifest, tmp_path)))
        monkeypatch.setattr(predict, "predict", lambda folder, paths, *, whole: predictions)
        monkeypatch.setenv("FER_HOME", str(tmp_path))
        monkeypatch.setattr(console, "out", Console(width=width))
        return CliRunner().invoke(cli.app, ["predict", *options, *map(str, paths)])

    return run


HAPPY = {"label": "happy", "probabilities": {"happy": 0.9, "disgust": 0.06, "surprise": 0.04}}


def test_files_can_be_told_apart_in_80_columns(predicted):
    names = [f"IMG_20260801_1530{number:02}_and_what_was_added.jpg" for number in range(3)]
    run = predicted({name: [{**HAPPY, "taken": "face", "note": "the face"}] for name in names})
    assert run.exit_code == 0
    columns = [[cell.strip() for cell in line.split("│")[1:-1]] for line in run.stdout.splitlines() if "│" in line]
    assert "".join(row[0] for row in columns) == "".join(names)
    assert all(len(line) <= 80 for line in run.stdout.splitlines() if not line.startswith("images in"))
    assert "happy 0.90" in run.stdout


def test_where_there_is_no_terminal_no_name_is_cut(predicted):
    names = [f"IMG_20260801_1530{number:02}_{'and_what_was_added' * 5}.jpg" for number in range(3)]
    answers = {name: [{**HAPPY, "taken": "face", "note": "the face"}] for name in names}
    run = predicted(answers, width=console.UNBOUNDED)
    assert all(any(name in line and "happy 0.90" in line for line in run.stdout.splitlines()) for name in names)


def test_each_face_has_its_row_and_a_picture_without_one_ends_in_an_exit_code(predicted):
    several = [{**HAPPY, "taken": "face", "note": f"face {number} of 2"} for number in (1, 2)]
    assert predicted({"a.jpg": several}).exit_code == 0
    run = predicted({"a.jpg": several, "b.jpg": [{"error": predict.NO_FACE}]})
    assert run.exit_code == errors.SourceError.exit_code
    assert "face 2 of 2" in run.stdout
    assert "no face" in run.stdout
    assert "--whole" in run.stdout


def test_json_says_where_the_face_is_and_what_was_taken(predicted):
    answer = {**HAPPY, "taken": "face", "note": "the face", "box": (10, 20, 30, 30), "score": 0.9}
    run = predicted({"a.jpg": [answer]}, "--json")
    (prediction,) = json.loads(run.stdout)
    assert {name: prediction[name] for name in ("taken", "note", "box", "score", "label")} == {
        "taken": "face", "note": "the face", "box": [10, 20, 30, 30], "score": 0.9, "label": "happy",
    }  # fmt: skip


def test_a_prediction_that_needs_several_classes_is_unsure_at_the_stated_coverage(predicted):
    sure = {**HAPPY, "set": ("happy",), "coverage": 0.9, "unsure": False, "note": "the face"}
    unsure = {**HAPPY, "set": ("happy", "disgust"), "coverage": 0.9, "unsure": True, "note": "the face"}
    answers = {"a.jpg": [sure], "b.jpg": [unsure], "c.jpg": [{"error": predict.NO_FACE}]}
    shown = predicted(answers, width=200).stdout
    assert "at 90% coverage" in shown
    rows = {name: next(line for line in shown.splitlines() if name in line) for name in answers}
    assert "unsure" not in rows["a.jpg"]
    assert "unsure: happy, disgust" in rows["b.jpg"]
    first, second, third = json.loads(predicted(answers, "--json").stdout)
    assert (first["set"], first["unsure"]) == (["happy"], False)
    assert (second["set"], second["coverage"], second["unsure"]) == (["happy", "disgust"], 0.9, True)
    assert third["set"] is None


def test_without_sets_there_is_no_column_for_them(predicted):
    assert "coverage" not in predicted({"a.jpg": [{**HAPPY, "note": "the face"}]}).stdout
