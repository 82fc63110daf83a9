"""Videos of drawn faces that move, written by OpenCV: for tests of what reads them."""

from pathlib import Path

import cv2
import numpy as np

from fer.ingest.demo import faces as demo_faces

FPS = 25


def frames(n_frames, *, labels=("happy",), width=320, height=240, side=96):
    """Yield BGR frames: one face for each of `labels`, side by side, each moving to the right and back."""
    drawn = [demo_faces.draw(label, np.random.default_rng(number)) for number, label in enumerate(labels)]
    large = [cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC) for face in drawn]
    ground = (np.arange(height)[:, None] // 4 + np.arange(width) // 5 + 40).astype(np.uint8)
    for number in range(n_frames):
        picture = ground.copy()
        for place, face in enumerate(large):
            left = 10 + place * (width // len(large)) + round(15 * (1 + np.sin(number / 12)))
            top = (height - side) // 2 + round(8 * np.cos(number / 9 + place))
            picture[top : top + side, left : left + side] = face
        yield cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)


def write(path: Path, pictures, *, fps=FPS, code="mp4v"):
    """Write BGR pictures to `path`, and return it."""
    pictures = list(pictures)
    size = pictures[0].shape[1::-1]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), fps, size)
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def n_frames(path: Path) -> int:
    """How many frames of a video can be decoded."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count
