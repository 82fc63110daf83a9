"""`fer predict`: the table, the files, the JSON and the exit code."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import drawn_video
import onnx_release
import pyarrow.parquet as pq
import pytest
from drawn_photos import drawn, photo
from rich.console import Console
from shell import FER, bare, fer
from typer.testing import CliRunner

from fer import errors, settings
from fer.engine import disk
from fer.images import encode
from fer.serving import local_releases, predicting, video
from fer.serving.predicting import Prediction
from flows.cli import app as cli
from flows.cli import console
from flows.cli import predict as command


@pytest.mark.slow
def test_a_missing_file_is_told_before_the_store_is_asked(tmp_path):
    (tmp_path / "fer").mkdir()
    (tmp_path / "there.png").write_bytes(b"")
    run = fer("predict", "there.png", "missing.jpg", home=tmp_path, FER_STORE_ENDPOINT="http://127.0.0.1:1")
    assert run.returncode == errors.SourceError.exit_code
    assert "no file missing.jpg" in run.stderr
    assert "Next: " in run.stderr
    assert "there.png" not in run.stderr


@pytest.fixture
def release(monkeypatch, tmp_path):
    """The release demo@1, for `fer predict` in a folder of its own."""
    folder = onnx_release.write(tmp_path / "release", sets=True)
    known = local_releases.LocalRelease("demo@1", folder)
    monkeypatch.setattr(local_releases, "local", lambda spec: known)
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return known


def run(*arguments, width=200):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "out", Console(width=width))
        return CliRunner().invoke(cli.app, ["predict", *map(str, arguments)])


def album(*names):
    """Pictures of these names in a folder of a long name: `two…` shows two faces, `none…` none."""
    folder = Path("holiday-photographs-" * 4)
    folder.mkdir()
    for seed, name in enumerate(names):
        image = photo((40, 60, 160), (400, 200, 110)) if name.startswith("two") else drawn(seed)
        (folder / name).write_bytes(encode.png(photo() if name.startswith("none") else image))
    return folder


def test_each_face_has_its_row_and_a_picture_without_one_ends_in_an_exit_code(release):
    folder = album("two.png", "one.png")
    shown = run(folder)
    assert shown.exit_code == 0, shown.output
    assert all(words in shown.stdout for words in ("face 1 of 2", "face 2 of 2", "by demo@1", "at 90% coverage"))
    (folder / "none.png").write_bytes(encode.png(photo()))
    shown = run(folder)
    assert shown.exit_code == errors.SourceError.exit_code
    assert "no face" in shown.stdout
    assert "--whole" in shown.stdout
    assert run(folder, "--whole").exit_code == 0


def test_files_can_be_told_apart_in_80_columns(release):
    names = [f"IMG_20260801_1530{number:02}_and_what_was_added.png" for number in range(3)]
    shown = run(album(*names), width=80)
    columns = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.stdout.splitlines() if "│" in line]
    assert "".join(row[0] for row in columns) == "".join(names)
    assert all(len(line) <= 80 for line in shown.stdout.splitlines() if not line.startswith("images in"))


def test_where_there_is_no_terminal_no_name_is_cut(release):
    names = [f"IMG_20260801_1530{number:02}_{'and_what_was_added' * 5}.png" for number in range(3)]
    lines = run(album(*names), width=console.UNBOUNDED).stdout.splitlines()
    assert all(any(name in line for line in lines) for name in names)


def test_what_a_file_is_called_shapes_nothing_on_the_terminal(release):
    folder = album("[bold]a\x1b[31m.png")
    assert "[bold]a\\u001b[31m.png" in run(folder).stdout


def test_json_has_every_face_with_its_box_set_and_fault(release):
    shown = run("--json", album("two.png", "none.png"))
    none, first, second = json.loads(shown.stdout)
    assert shown.exit_code == errors.SourceError.exit_code
    assert {"finding": "no face", "label": None, "error": predicting.NO_FACE}.items() <= none.items()
    assert (first["face"], second["face"], first["note"], first["taken"]) == (1, 2, "face 1 of 2", "face")
    assert first["box"][2] > second["box"][2]
    assert set(first) == {"confidence", *(field.name for field in dataclasses.fields(Prediction))}
    assert first["confidence"] == first["probabilities"][first["label"]]
    assert first["unsure"] == (len(first["set"]) > 1)


def test_other_formats_go_to_a_file_or_to_standard_output(release):
    folder = album("two.png", "one.png")
    lines = run(folder, "--format", "jsonl").stdout.splitlines()
    assert [Path(json.loads(line)["path"]).name for line in lines] == ["one.png", "two.png", "two.png"]
    assert run(folder, "--format", "csv").stdout.splitlines()[0].startswith("path,finding,face,label")
    shown = run(folder, "-o", "out.parquet")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "3 rows by demo@1 in out.parquet" in shown.stderr
    assert pq.read_table("out.parquet")["label"].null_count == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "yaml"), "jsonl"),
        (("--output", "a.txt"), "--format"),
        (("--format", "parquet"), "--output FILE"),
        (("--format", "table", "--output", "a.csv"), "for the terminal"),
    ],
)
def test_a_format_that_cannot_be_is_refused(release, options, message):
    shown = run(album("one.png"), *options)
    assert isinstance(shown.exception, errors.ConfigError)
    assert message in str(shown.exception)


def test_annotated_pictures_are_written_beside_the_answers(release):
    folder = album("two.png", "none.png")
    assert run(folder, "--annotated", "drawn", "--format", "jsonl").exit_code == errors.SourceError.exit_code
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["none.png", "two.png"]
    assert cv2.imread("drawn/two.png").std(axis=2).any()  # colours
    assert isinstance(run(folder, "--annotated", folder).exception, errors.ConfigError)


def test_a_withdrawn_release_is_told(release, monkeypatch):
    withdrawn = dataclasses.replace(release, withdrawn="version 1 was withdrawn by ann")
    monkeypatch.setattr(local_releases, "local", lambda spec: withdrawn)
    assert "version 1 was withdrawn by ann" in run(album("one.png")).stderr


def test_a_release_without_sets_has_no_column_for_them(release):
    (release.folder / "calibration.json").unlink()
    assert "coverage" not in run(album("one.png")).stdout


def test_the_common_folder_is_named_once():
    assert command._common_folder([Path("a/b/c.png"), Path("a/d.png")]) == Path("a")
    assert command._common_folder([Path("a/b.png")]) is None
    assert command._common_folder([Path("/a/b.png"), Path("b.png")]) is None


@pytest.mark.slow
def test_a_confirmed_release_predicts_without_its_store_and_loads_nothing_heavy(tmp_path, monkeypatch):
    environment = bare(tmp_path) | {"FER_STORE_ENDPOINT": "http://127.0.0.1:1"}
    for name in [name for name in os.environ if name.startswith("FER_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    home = settings.Settings.load().home
    folder = onnx_release.write(home / "models" / "demo" / "1", sets=True)
    known = local_releases.Confirmation(
        name="demo", version=1, digests={path.name: disk.sha256(path) for path in folder.iterdir()}, withdrawn="",
        only=True, alias="a", entry=1, under=local_releases._digest(settings.Settings.load()), at=time.time(), use=None,
    )  # fmt: skip
    local_releases._write(home / "models" / "confirmed.json", {"": known})
    (tmp_path / "one.png").write_bytes(encode.png(photo((350, 120, 140))))
    told = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    command = [sys.executable, "-c", told + FER[-1], "predict", str(tmp_path / "one.png"), "--format", "csv"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "one face" in shown.stdout
    loaded = set(shown.stderr.split())
    assert {"onnxruntime", "fer.serving.predictor"} <= loaded
    heavy = {"tensorflow", "keras", "prefect", "great_expectations", "pandas", "pyarrow", "boto3", "scipy", "sklearn"}
    assert heavy.isdisjoint(loaded)


def test_a_video_has_a_row_for_each_face_and_pictures_one_beside_it(release):
    film = drawn_video.write(Path("film.mp4"), drawn_video.frames(8, labels=("happy", "sad")))
    shown = run(film, "--annotated", "drawn.mp4")
    assert shown.exit_code == 0, shown.output
    assert all(words in shown.stdout for words in ("film.mp4", "0.0–0.3 s", " 8 ", "100%", "by demo@1"))
    assert drawn_video.n_frames(Path("drawn.mp4")) == 8
    Path("a.png").write_bytes(encode.png(drawn(0)))
    assert run(film, "a.png", "--output", "rows.csv", "--annotated", "drawn").exit_code == 0
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["a.png", "film.mp4"]
    lines = [json.loads(line) for line in run(film, "a.png", "--format", "jsonl").stdout.splitlines()]
    assert [(line["path"], line["frame"], line["time_s"]) for line in lines[:2]] == [
        ("a.png", None, None),
        ("film.mp4", 0, 0.0),
    ]
    assert len(lines) == 17


def test_a_damaged_video_is_said_and_its_exit_code_is_that_of_an_unreadable_image(release):
    film = drawn_video.write(Path("film.mp4"), drawn_video.frames(8))
    Path("cut.mp4").write_bytes(film.read_bytes()[:500])
    shown = run("cut.mp4", film)
    assert shown.exit_code == errors.SourceError.exit_code
    assert "damaged" in shown.stdout
    assert "film.mp4" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "neither"),
        (("a.png", "--camera", "0"), "both"),
        (("--camera", "63"), "no camera 63"),
        (("--camera", "63", "--annotated", "folder"), "FILE.mp4"),
        (("a.png", "b.png", "--annotated", "b.mp4"), "give a folder"),
    ],
)
def test_what_cannot_be_asked_of_a_camera_or_a_video_is_refused(release, arguments, message):
    for name in ("a.png", "b.png"):
        Path(name).write_bytes(encode.png(drawn(0)))
    shown = run(*arguments)
    assert isinstance(shown.exception, errors.FerError)
    assert message in str(shown.exception)
    assert not Path("b.mp4").exists()


def test_a_camera_prints_what_changes_until_it_is_interrupted(release, monkeypatch):
    film = drawn_video.write(Path("film.avi"), drawn_video.frames(8), code="MJPG")

    @contextlib.contextmanager
    def camera(number):
        with video.open_file(film) as opened:
            yield opened

    monkeypatch.setattr(video, "open_camera", camera)
    shown = run("--camera", "0", "--annotated", "seen.mp4")
    assert shown.exit_code == 0, shown.output
    assert "0.00 s  face 1: " in shown.stdout
    assert drawn_video.n_frames(Path("seen.mp4")) == 8
