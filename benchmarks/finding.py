"""Which faces are found in photographs of 12 million pixels: how small, how turned, how many, how far cut off.

Drawn faces on textures with a photograph's spectrum, encoded as JPEG; a face is found if one is told at its place.
"""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from benchmarks import Row
from fer.images import decode, faces
from fer.ingest.demo import faces as demo_faces

_WIDTH, _HEIGHT = 4_000, 3_000
_PICTURES = 10
_ORIENTATION = 0x0112  # the EXIF tag
_NEAR = 0.35  # of a face's side: how far its middle may be from where it was drawn


class _Drawn(NamedTuple):
    """A square face: its left upper corner and side in pixels; a corner may lie beyond the picture."""

    x: int
    y: int
    side: int


def run() -> Iterator[Row]:
    draw = np.random.default_rng(0)
    for side in (60, 90, 120, 150, 200, 300, 600, 1_200, 2_400):
        found, others = _found([[_anywhere(draw, side)] for _ in range(_PICTURES)])
        yield Row(f"a face of {side} px in 4000x3000: found", found, "%")
        yield Row(f"a face of {side} px in 4000x3000: others told, per picture", others, "faces")
    found, _ = _found([[_anywhere(draw, 500)] for _ in range(8)], orientations=range(1, 9))
    yield Row("a face of 500 px, turned by EXIF in its eight ways: found", found, "%")
    found, others = _found([_several(draw) for _ in range(_PICTURES)])
    yield Row("six faces of 250 to 700 px: found", found, "%")
    yield Row("six faces of 250 to 700 px: others told, per picture", others, "faces")
    _, others = _found([[] for _ in range(_PICTURES)])
    yield Row("no face: told, per picture", others, "faces")
    for share in (0.1, 0.2, 0.3, 0.4, 0.5):
        cut = [_Drawn(-round(share * 600), int(draw.integers(0, _HEIGHT - 600)), 600) for _ in range(_PICTURES)]
        found, _ = _found([[face] for face in cut])
        yield Row(f"a face of 600 px, {share:.0%} of it beyond the edge: found", found, "%")


def _found(pictures: Sequence[Sequence[_Drawn]], orientations: Sequence[int] = (1,)) -> tuple[float, float]:
    """The percentage of the faces that are found, and how many others are told of a picture, on average."""
    n_faces = n_found = n_others = 0
    for seed, drawn in enumerate(pictures):
        data = _encoded(_picture(seed, drawn), orientations[seed % len(orientations)])
        told = faces.find(decode.decode(data))
        here = [any(_is_at(face, one) for one in told) for face in drawn]
        n_faces, n_found = n_faces + len(drawn), n_found + sum(here)
        n_others += sum(not any(_is_at(face, one) for face in drawn) for one in told)
    return 100 * n_found / max(1, n_faces), n_others / len(pictures)


def _is_at(drawn: _Drawn, told: faces.Face) -> bool:
    middle = np.array((drawn.x, drawn.y)) + drawn.side / 2
    return float(np.hypot(*(told.points[0] - middle))) < _NEAR * drawn.side


def _anywhere(draw: np.random.Generator, side: int) -> _Drawn:
    return _Drawn(int(draw.integers(0, _WIDTH - side)), int(draw.integers(0, _HEIGHT - side)), side)


def _several(draw: np.random.Generator) -> list[_Drawn]:
    """One in each sixth of the picture."""
    sides = draw.integers(250, 701, 6).tolist()
    corners = [(1_333 * column, 1_500 * row) for row in range(2) for column in range(3)]
    return [
        _Drawn(left + int(draw.integers(0, 1_333 - side)), top + int(draw.integers(0, 1_500 - side)), side)
        for (left, top), side in zip(corners, sides, strict=True)
    ]


def _picture(seed: int, drawn: Sequence[_Drawn]) -> np.ndarray:
    """(3000, 4000) uint8 with these faces, cut off at its edge."""
    picture = _texture(seed)
    for number, (x, y, side) in enumerate(drawn):
        crop = demo_faces.draw(demo_faces.CLASSES[(seed + number) % 7], np.random.default_rng(100 * seed + number))
        face = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
        left, top = max(0, x), max(0, y)
        inside = face[top - y : _HEIGHT - y, left - x : _WIDTH - x]
        picture[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return picture


def _texture(seed: int) -> np.ndarray:
    """A random picture whose amplitudes fall with the frequency as a photograph's do."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(1_000), np.fft.fftfreq(750)))
    frequency[0, 0] = np.inf
    waves = draw.normal(size=frequency.shape) + 1j * draw.normal(size=frequency.shape)
    small = np.fft.ifft2(waves / frequency**1.3).real
    small = np.clip(128 + 50 * (small - small.mean()) / small.std(), 0, 255).astype(np.uint8)
    large = cv2.resize(small, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(large + draw.integers(-6, 7, large.shape, np.int16), 0, 255).astype(np.uint8)


def _encoded(picture: np.ndarray, orientation: int) -> bytes:
    """As a JPEG that a camera held in this way writes: its pixels are turned, and its EXIF says how."""
    turned = Image.fromarray(picture)
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)  # fmt: skip
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    file = io.BytesIO()
    (turned if back is None else turned.transpose(back)).save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()
