"""Video in and out: the frames of a file or a camera, and a file with other frames.

What a file is, its first bytes say, not its name. Only containers that hold their own pictures are opened: a playlist
or a description of a stream would make FFmpeg, which decodes, ask other machines. No frame is written anywhere but by
`Writer`.
"""

import contextlib
import math
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np

from fer import errors, limits, plain_text
from fer.images import limits as image_limits

# FFmpeg and OpenCV would write on the terminal what an error of ours says. FFmpeg reads its level at its first use.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.setNumThreads(0)  # as `fer.images.decode`, whose pixels these are
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
FORMATS = "MP4, MOV, AVI, Matroska or WebM"
_HEAD_BYTES = 12
_DEFAULT_FPS = 25.0
_LOWEST_FPS, _HIGHEST_FPS = 1.0, 240.0
_MISSING = 0.05  # of the frames that a file says it has: the number is an estimate, of lengths in time
_MISSING_FRAMES = 2
_FIRST_PICTURE_S = 5.0  # that a camera may take to wake up


class Frame(NamedTuple):
    """One picture: its number from 0, the second at which it is shown or was taken, `pixels` BGR (H, W, 3) uint8."""

    number: int
    time_s: float
    pixels: np.ndarray


class Video:
    """An opened file or camera; of a file `n_frames` says how many frames it claims to have, else None."""

    def __init__(self, capture: "cv2.VideoCapture", name: str, *, is_file: bool) -> None:
        self._capture, self._name, self._is_file = capture, name, is_file
        self.width, self.height = (
            int(capture.get(prop)) for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.fps = rate if _LOWEST_FPS <= rate <= _HIGHEST_FPS else _DEFAULT_FPS
        claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT) if is_file else 0.0
        self.n_frames = int(claimed) if math.isfinite(claimed) and claimed > 0 else None

    def frames(self) -> Iterator[Frame]:
        """The frames in order; of a camera until the caller stops.

        Raises SourceError after the last whole frame if the file is cut short, has other frames than it says, or is
        beyond `FER_LIMIT_VIDEO_FRAMES` or `FER_LIMIT_VIDEO_SECONDS`; or if the camera gives no more.
        """
        began, shown_s, number = time.monotonic(), 0.0, 0
        while True:
            is_read, pixels = self._capture.read()
            if not is_read or pixels is None:
                break
            if self._is_file:
                _require_at_most(number + 1, "video_frames", "frames", self._name)
                _require_at_most(int(time.monotonic() - began), "video_seconds", "seconds of work", self._name)
            _require_side(pixels.shape[1], pixels.shape[0], self._name)
            shown_s = self._time_s(began, number, shown_s)
            yield Frame(number, shown_s, pixels)
            number += 1
        self._require_end(number)

    def _time_s(self, began: float, number: int, before_s: float) -> float:
        """When the frame that was read last is shown: a file's own word, unless that goes back."""
        if not self._is_file:
            return time.monotonic() - began
        said_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1_000
        if number == 0:
            return said_s if math.isfinite(said_s) and said_s >= 0 else 0.0
        return said_s if math.isfinite(said_s) and said_s > before_s else before_s + 1 / self.fps

    def _require_end(self, n_read: int) -> None:
        if not self._is_file:
            raise errors.SourceError(
                f"The {self._name} must give pictures.",
                received=f"none after {n_read:,}",
                todo="see that it is connected and that no other program uses it",
            )
        if n_read == 0:
            raise _not_a_video(self._name, "no frame that can be decoded")
        missing = (self.n_frames or 0) - n_read
        if missing > max(_MISSING_FRAMES, _MISSING * (self.n_frames or 0)):
            raise errors.SourceError(
                "A video must be whole.",
                received=f"{n_read:,} of {self.n_frames:,} frames of {self._name}: damaged or cut short",
                todo="copy or record it again; the results of the frames before are kept",
            )


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[Video]:
    """The video in a file. Raises SourceError for what is none, or is beyond `FER_LIMIT_VIDEO_BYTES`; OSError as ours.

    Only the file's container and codec are looked at here; a damaged end is found when its frames are read.
    """
    name = plain_text.visible(str(path))
    _require_container(path, name)
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise _not_a_video(name, "damaged, or of a codec that is not known here")
        video = Video(capture, name, is_file=True)
        _require_side(video.width, video.height, name)
        if video.n_frames is not None:
            _require_at_most(video.n_frames, "video_frames", "frames", name)
        yield video
    finally:
        capture.release()


@contextlib.contextmanager
def open_camera(number: int) -> Iterator[Video]:
    """A camera of this machine, from 0. Raises SourceError if there is none, or another program has it."""
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            raise errors.SourceError(
                "A camera must be connected, and free.",
                received=f"no camera {number}",
                todo="list them (on Linux: ls /dev/video*), and give the number of one: --camera 0",
            )
        until = time.monotonic() + _FIRST_PICTURE_S
        while not capture.grab() and time.monotonic() < until:
            time.sleep(0.05)
        yield Video(capture, f"camera {number}", is_file=False)
    finally:
        capture.release()


def is_video(head: bytes) -> bool:
    """Whether a file that begins so is a video's container that is opened here; 12 bytes are enough."""
    return (
        head[4:8] == b"ftyp"
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head[:4] == b"\x1aE\xdf\xa3"
        or head[4:8] in (b"moov", b"mdat", b"wide")  # QuickTime before there was `ftyp`
    )


class Writer:
    """An MP4 file (MPEG-4 part 2) that is made whole or not at all; a context manager. Without a path there is none."""

    def __init__(self, path: Path | None, fps: float) -> None:
        self._path, self._fps = path or Path(), fps
        self._partial = self._path.parent / f".{self._path.stem}.partial-{os.getpid()}.mp4"
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Put the file in place, also of a source that ended early: what was written is whole."""
        if self._writer is not None:
            self._writer.release()
            if kind is None or issubclass(kind, errors.SourceError):
                self._commit()
            else:
                self._partial.unlink(missing_ok=True)

    def write(self, pixels: np.ndarray) -> None:
        """Append a frame, BGR (H, W, 3) uint8; one of another size than the first is resized to it.

        Raises WorkspaceError if the file can't be written.
        """
        if self._writer is None:
            self._size = (pixels.shape[1], pixels.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._partial.absolute()), cv2.CAP_FFMPEG, code, self._fps, self._size)
            if not self._writer.isOpened():
                raise self._unwritable("a folder or a size that can't be written")
        if (pixels.shape[1], pixels.shape[0]) != self._size:
            pixels = cv2.resize(pixels, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(pixels)

    def _commit(self) -> None:
        try:
            self._partial.replace(self._path)
        except OSError as error:
            raise self._unwritable(error.strerror or str(error)) from error

    def _unwritable(self, why: str) -> errors.WorkspaceError:
        return errors.WorkspaceError(
            "The annotated video must be a file that can be written.",
            received=f"{why}: {plain_text.visible(str(self._path))}",
            todo="give a file in a folder that exists and has room: --annotated out.mp4",
        )


def _require_container(path: Path, name: str) -> None:
    """Raise SourceError unless the file is a regular one, within the limit, and begins as a video does."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _not_a_video(name, "no file but a pipe, a device or a folder")
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise _not_a_video(name, error.strerror or str(error)) from error
    _require_at_most(status.st_size, "video_bytes", "bytes", name)
    if not is_video(head):
        raise _not_a_video(name, "an empty file" if not head else "another kind of file")


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe would be waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _not_a_video(name: str, why: str) -> errors.SourceError:
    return errors.SourceError(
        f"A video must be a file such as {FORMATS}.", received=f"{why}: {name}", todo="give another file"
    )


def _require_at_most(value: int, limit: str, unit: str, name: str) -> None:
    most = getattr(limits.current(), limit)
    if value > most:
        raise errors.SourceError(
            f"A video must have at most {most:,} {unit}.",
            received=f"{value:,} of {name}",
            todo=f"cut it, or {limits.to_raise(limit)}",
        )


def _require_side(width: int, height: int, name: str) -> None:
    most = image_limits.current().side_px
    if max(width, height) > most:
        raise errors.SourceError(
            f"A video's sides must be at most {most:,} pixels.",
            received=f"{width:,} × {height:,} of {name}",
            todo="make it smaller, or set FER_LIMIT_IMAGE_SIDE_PX higher if you trust it",
        )
