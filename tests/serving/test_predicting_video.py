import runpy
import sys
import threading
from pathlib import Path

import drawn_video
import numpy as np
import onnx_release
import pytest

from fer import errors
from fer.serving import local_releases, predicting_video, video
from fer.serving.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor.from_folder(onnx_release.write(tmp_path_factory.mktemp("release") / "demo", sets=True))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return drawn_video.write(tmp_path_factory.mktemp("film") / "film.mp4", drawn_video.frames(10))


def test_each_face_of_each_frame_has_a_row(predictor, film):
    rows = list(predicting_video.of_files(predictor, [film]))
    assert [row.frame for row in rows] == list(range(10))
    np.testing.assert_allclose([row.time_s for row in rows], np.arange(10) / drawn_video.FPS, atol=1e-3)
    assert {(row.path, row.face, row.finding, row.error) for row in rows} == {(str(film), 1, "one face", None)}


def test_the_annotated_video_shows_boxes_and_has_all_frames(predictor, film, tmp_path):
    out = tmp_path / "out.mp4"
    list(predicting_video.of_files(predictor, [film], annotated=out))
    with video.open_file(film) as before, video.open_file(out) as after:
        assert before.fps == after.fps
        pairs = list(zip(before.frames(), after.frames(), strict=True))
    assert len(pairs) == 10
    for one, other in pairs:
        assert np.abs(one.pixels.astype(int) - other.pixels).max() > 100


def test_a_video_without_a_face_or_damaged_has_a_row_that_says_so(predictor, film, tmp_path):
    empty = drawn_video.write(tmp_path / "empty.mp4", [np.full((96, 128, 3), 90, np.uint8)] * 5)
    cut = drawn_video.write(tmp_path / "whole.avi", drawn_video.frames(30), code="MJPG")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    rows = list(predicting_video.of_files(predictor, [empty, cut, film], annotated=tmp_path / "drawn"))
    faults = [(row.path, row.error) for row in rows if row.error]
    assert faults[0] == (str(empty), predicting_video.NO_FACE)
    assert faults[1][0] == str(cut)
    assert "cut short" in faults[1][1]
    assert len([row for row in rows if row.path == str(cut)]) > 5
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["empty.mp4", "film.mp4", "whole.avi.mp4"]


def test_a_video_is_never_written_over_itself(predictor, film):
    before = film.read_bytes()
    with pytest.raises(errors.ConfigError, match="place of its own"):
        list(predicting_video.of_files(predictor, [film], annotated=film))
    with pytest.raises(errors.ConfigError, match="place of its own"):
        list(predicting_video.of_files(predictor, [film], annotated=film.parent))
    assert film.read_bytes() == before


def test_it_ends_when_it_is_told_to_and_what_was_drawn_is_kept(predictor, film, tmp_path):
    stop = threading.Event()
    rows = []
    with video.open_file(film) as opened:
        for row in predicting_video.of_video(predictor, opened, "f", annotated=tmp_path / "out.mp4", stop=stop):
            rows.append(row)
            if len(rows) == 4:
                stop.set()
    assert len(rows) == 4
    with video.open_file(tmp_path / "out.mp4") as written:
        assert len(list(written.frames())) == 4


def test_the_documented_program_writes_an_annotated_video(film, tmp_path, monkeypatch, capsys):
    folder = onnx_release.write(tmp_path / "release")
    monkeypatch.setattr(local_releases, "local", lambda spec: local_releases.LocalRelease("demo@1", folder))
    monkeypatch.setattr(sys, "argv", ["annotate_video.py", str(film), str(tmp_path / "drawn.mp4")])
    runpy.run_path(str(Path(__file__).parents[2] / "docs" / "how-to" / "annotate_video.py"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("0.00 s 1: ")
    assert drawn_video.n_frames(tmp_path / "drawn.mp4") == 10
