import os

import drawn_video
import numpy as np
import pytest

from fer import errors
from fer.serving import video


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A whole video of 40 frames."""
    return drawn_video.write(tmp_path_factory.mktemp("video") / "moving.mp4", drawn_video.frames(40))


def read(path):
    with video.open_file(path) as opened:
        return list(opened.frames())


@pytest.mark.parametrize(("name", "code"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v"), ("a.mov", "mp4v")])
def test_frames_come_with_their_numbers_and_times(tmp_path, name, code):
    pictures = list(drawn_video.frames(12))
    frames = read(drawn_video.write(tmp_path / name, pictures, code=code))
    assert [frame.number for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / drawn_video.FPS, atol=1e-3)
    assert np.abs(frames[5].pixels.astype(int) - pictures[5]).mean() < 6  # it is compressed


def test_what_a_file_is_its_first_bytes_say_not_its_name(moving, tmp_path):
    renamed = tmp_path / "holiday.txt"
    renamed.write_bytes(moving.read_bytes())
    assert len(read(renamed)) == 40


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n", "another kind of file"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n", "another kind of file"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "another kind of file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "another kind of file"),
        (bytes(4) + b"ftypisom" + bytes(400), "damaged"),
        (b"\x1aE\xdf\xa3" + bytes(range(256)) * 8, "damaged"),
        (b"RIFF\xff\xff\xff\x7fAVI LIST" + bytes(300), "damaged"),
    ],
    ids=["empty", "playlist", "stream description", "list of files", "image", "MP4", "Matroska", "AVI"],
)
def test_what_is_no_video_is_refused(tmp_path, content, said, capfd):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(errors.SourceError, match=said):
        read(path)
    assert capfd.readouterr() == ("", "")


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "no such file", "."):
        with pytest.raises(errors.SourceError, match="A video must be a file"):
            read(tmp_path / name)


def test_a_video_without_its_index_is_refused(moving, tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(moving.read_bytes()[:-2_000])
    with pytest.raises(errors.SourceError, match="A video must be"):
        read(path)


def test_of_a_video_cut_short_all_whole_frames_come_and_then_an_error(tmp_path, capfd):
    whole = drawn_video.write(tmp_path / "whole.avi", drawn_video.frames(40), code="MJPG")
    path = tmp_path / "cut.avi"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = []
    with video.open_file(path) as opened, pytest.raises(errors.SourceError, match=r"of 40 frames .*cut short"):
        frames += opened.frames()
    assert 10 < len(frames) < 25
    assert capfd.readouterr() == ("", "")


def test_flipped_bytes_end_in_frames_or_in_an_error_of_ours(moving, tmp_path):
    content = moving.read_bytes()
    draw = np.random.default_rng(0)
    path = tmp_path / "damaged.mp4"
    for _ in range(12):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = draw.integers(12, len(damaged), 40)
        damaged[places] = draw.integers(0, 256, 40)
        path.write_bytes(damaged.tobytes())
        try:
            read(path)
        except errors.SourceError:
            continue


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"video_bytes": 1_000}, "at most 1,000 bytes"),
        ({"video_frames": 39}, "at most 39 frames"),
        ({"image_side_px": 300}, "at most 300 pixels"),
    ],
)
def test_a_video_beyond_a_limit_is_refused(moving, limited, limit, said):
    limited(**limit)
    with pytest.raises(errors.SourceError, match=said):
        read(moving)


def test_a_video_that_takes_longer_than_the_limit_is_left(moving, limited, monkeypatch):
    limited(video_seconds=10)
    seconds = iter(range(100))
    monkeypatch.setattr(video.time, "monotonic", lambda: next(seconds))
    frames = []
    with video.open_file(moving) as opened, pytest.raises(errors.SourceError, match="at most 10 seconds of work"):
        frames += opened.frames()
    assert len(frames) == 10


def test_a_camera_that_is_not_there_is_said(capfd):
    with pytest.raises(errors.SourceError, match="no camera 63"), video.open_camera(63):
        pass
    assert capfd.readouterr() == ("", "")


def test_a_written_video_has_the_frames_that_were_given(tmp_path):
    pictures = list(drawn_video.frames(10))
    path = tmp_path / "out.mp4"
    with video.Writer(path, 12.5) as writer:
        for picture in pictures:
            writer.write(picture)
        assert not path.exists()
    with video.open_file(path) as opened:
        assert (opened.fps, opened.width, opened.height) == (12.5, 320, 240)
        frames = list(opened.frames())
    assert len(frames) == 10
    assert np.abs(frames[3].pixels.astype(int) - pictures[3]).mean() < 6
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_failure_no_video_stays_and_an_older_one_is_kept(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")

    def fail():
        with video.Writer(path, 25) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_said(tmp_path, capfd):
    with pytest.raises(errors.WorkspaceError, match="annotated"), video.Writer(tmp_path / "no" / "a.mp4", 25) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    assert capfd.readouterr() == ("", "")
