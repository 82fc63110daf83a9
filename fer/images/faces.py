"""The faces in a picture: found, cropped, and turned until the eyes are level. Images are (H, W) uint8 grey.

`blazeface` looks through windows of 128 px on the picture at several sizes, so that small faces in large pictures
are found too; every candidate is confirmed in the middle of a window of its own, as it is and mirrored. Beyond the
picture a window repeats the picture's edge: a crop without surroundings is found like a face with some.
The same picture gives the same faces, on one machine to the bit.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np

from fer.images import blazeface
from fer.images.blazeface import Face

cv2.setNumThreads(0)  # `decode` gives the reason

CropMode = Literal["whole", "crop", "align"]
DETECTOR = blazeface.NAME

# Of the longer side of a picture: with a border for crops, as it is, and tiles. BlazeFace finds a face that takes a
# fifth to two thirds of its window, so these reach down to a face of 1/25.
_WINDOWS = (1.6, 1.0, 0.45, 0.2)
_BORDERED = (1.3, 2.0)  # likewise, for looks at a whole picture that agree on faces more than on anything else
_N_LOOKS = 2 * len(_BORDERED)
_LEAST_OF_WINDOW = 0.2
_SMALLEST_PX = 96  # of a tile: faces of 20 px and less are no use
_STEP = 0.6  # of a tile, from one to the next: a face of up to 0.4 of it lies whole in one of them
_CANDIDATE = 0.3  # the score from which on a candidate is confirmed; a tile's is higher, since there are many of them
_CANDIDATE_IN_TILE = 0.5
_OWN_WINDOW = 1.9  # times the box: what a crop with a border is to its face
# The mean score of both looks. Of 1,200 crops of FER2013 97 % have the first. A part of a picture needs more, as there
# are many: in 21 photographs and textures without a face the best scores were 0.71 (cells under a microscope) and
# 0.68, in pictures of people the worst 0.82.
_ACCEPTED_CROP = 0.5
_ACCEPTED = 0.7
_SAME = 0.5  # two boxes that share more of the smaller one are one face

# FER2013's framing, by the medians of 800 of its crops, in sides of the box: the square's side, and how far its middle
# lies above the box's.
FRAME_SIDE = 1.17
FRAME_RAISED = 0.08
_IS_CROP = 0.4  # a face's square that covers this much of a picture: 1 % of FER2013's crops have less


class _Box(NamedTuple):
    """A square in pixels: its left upper corner, its side."""

    x: float
    y: float
    side: float

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.side / 2, self.y + self.side / 2


def find(image: np.ndarray, *, largest_only: bool = False, min_share: float = 0.0) -> list[Face]:
    """The faces in grey (H, W) uint8, in its pixels, the largest first, of equals the upper, then the left one.

    With `largest_only`, small ones are not looked for once there is a large one; nor are those that take less than
    `min_share` of the image's longer side, which is what takes longest.
    """
    confirmed: list[Face] = []
    longer = max(image.shape)
    for share in _WINDOWS:
        if share * _LEAST_OF_WINDOW < min_share:
            break
        if share < 1 and (share * longer < _SMALLEST_PX or (largest_only and any(map(_is_sure, confirmed)))):
            break
        candidates = _candidates(image, share * longer, _CANDIDATE if share >= 1 else _CANDIDATE_IN_TILE)
        best_first = sorted(candidates, key=lambda face: -face.score)
        seen_twice = (_confirmed(image, face) for face in _distinct(best_first))
        confirmed = _distinct(
            confirmed + [face for face in seen_twice if face is not None and _is_accepted(image, face)]
        )
    return sorted(confirmed, key=_largest_first)


def follow(image: np.ndarray, known: Sequence[Face]) -> list[Face]:
    """Those of the `known` faces that grey (H, W) uint8, a moment later, still shows near where they were, as `find`.

    In 3 ms for each, however large the image is. A face that has moved by half its side or more is not among them. As
    it was found before, it may be as unsure as a crop may be.
    """
    seen = (_confirmed(image, face) for face in known)
    kept = _distinct([face for face in seen if face is not None and face.score >= _ACCEPTED_CROP])
    return sorted(kept, key=_largest_first)


def score(image: np.ndarray) -> float:
    """How sure the detector is that all of grey (H, W) uint8 shows a face, 0-1; 1.7 ms, seldom twice that.

    The picture is looked at as a crop is, with a border; where that finds hardly a face, its mirror image too, and the
    better of both looks counts. At least 0.3 on 99.5 % of FER2013's crops.
    """
    window, *_ = _bordered(image, _WINDOWS[0] * max(image.shape))
    first = blazeface.best_score(window)
    return first if first >= _ACCEPTED_CROP else max(first, blazeface.best_score(window[:, ::-1]))


def mean_score(image: np.ndarray) -> float:
    """The mean score, 0-1, of four looks at all of grey (H, W) uint8: with less and more border, and mirrored; 6 ms.

    It tells crops of faces from other pictures better than `score`, which is lenient: what one look takes for a face
    others seldom do.
    """
    return sum(blazeface.best_score(look) for look in _looks(image)) / _N_LOOKS


def has_mean_score(image: np.ndarray, least: float) -> bool:
    """Whether `mean_score` is at least that; of most faces two looks tell."""
    total = 0.0
    for look in _looks(image):
        total += blazeface.best_score(look)
        if total >= least * _N_LOOKS:
            return True
    return False


def _looks(image: np.ndarray) -> Iterator[np.ndarray]:
    for share in _BORDERED:
        window, *_ = _bordered(image, share * max(image.shape))
        yield window
        yield window[:, ::-1]


def crop_largest(image: np.ndarray, mode: CropMode, margin: float) -> np.ndarray:
    """The largest face of grey (H, W) uint8 as a square (S, S) uint8; all of the image if none is found.

    "whole": the image as it is; else as `crop` does.
    """
    largest = [] if mode == "whole" else find(image, largest_only=True)[:1]
    return crop(image, largest[0], mode, margin) if largest else image


def crop(image: np.ndarray, face: Face, mode: CropMode, margin: float) -> np.ndarray:
    """A face of the image as a square (S, S) uint8.

    The square frames the face as FER2013 frames its own, `margin` (from 0) of its side wider on each side, and is moved
    or made smaller where it would leave the image. "align": it is turned about its middle until the eyes are level, in
    one affine resampling; a corner beyond the image shows its edge. In a profile, whose eyes tell little, it is not.
    """
    square = _widened(_framed(face), margin, image.shape)
    angle = _angle_of_eyes(face) if mode == "align" else 0.0
    if angle:
        return _turned(image, square, angle)
    x, y, side = map(int, square)
    return image[y : y + side, x : x + side].copy()


def is_crop(image: np.ndarray, face: Face) -> bool:
    """Whether the image is a face with as little around it as FER2013's crops have."""
    x, y, side = _framed(face)
    height, width = image.shape
    covered = max(0.0, min(width, x + side) - max(0.0, x)) * max(0.0, min(height, y + side) - max(0.0, y))
    return covered >= _IS_CROP * height * width


def _largest_first(face: Face) -> tuple[float, ...]:
    return (-face.side, *face.points[0, ::-1].tolist())


def _is_sure(face: Face) -> bool:
    return face.score >= _ACCEPTED


def _is_accepted(image: np.ndarray, face: Face) -> bool:
    return face.score >= (_ACCEPTED_CROP if is_crop(image, face) else _ACCEPTED)


def _candidates(image: np.ndarray, side: float, at_least: float) -> Iterator[Face]:
    """The faces in windows that show `side` pixels of the image in either direction."""
    small, scale, top, left = _bordered(image, side)
    for y in _starts(small.shape[0]):
        for x in _starts(small.shape[1]):
            window = small[y : y + blazeface.SIDE_PX, x : x + blazeface.SIDE_PX]
            for face in blazeface.detect(window, at_least):
                yield face.placed(1.0, x - left, y - top).placed(1 / scale, 0.0, 0.0)


def _bordered(image: np.ndarray, side: float) -> tuple[np.ndarray, float, int, int]:
    """The image so that `side` of its pixels are the detector's 128, and at least these in either direction.

    Its edge is repeated beyond it. With it come the scale, and how much of that is above and on its left.
    """
    height, width = image.shape
    scale = blazeface.SIDE_PX / side
    small = _resized(image, max(1, round(width * scale)), max(1, round(height * scale)))
    below, right = (max(0, blazeface.SIDE_PX - length) for length in small.shape)
    top, left = below // 2, right // 2
    return cv2.copyMakeBorder(small, top, below - top, left, right - left, cv2.BORDER_REPLICATE), scale, top, left


def _starts(length: int) -> list[int]:
    """Where windows begin that cover `length` pixels and overlap evenly."""
    rest = length - blazeface.SIDE_PX
    n = math.ceil(rest / (_STEP * blazeface.SIDE_PX))
    return [round(rest * number / n) for number in range(n + 1)] if n else [0]


def _confirmed(image: np.ndarray, face: Face) -> Face | None:
    """The mean of the face in a window of its own and in the mirrored window; None if either shows none."""
    side = max(1, round(face.side * _OWN_WINDOW))
    x, y = (math.floor(middle - side / 2) for middle in face.points[0])
    height, width = image.shape
    inside = image[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)]
    if not inside.size:
        return None
    beyond = (max(0, -y), max(0, y + side - height), max(0, -x), max(0, x + side - width))
    window = cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE)
    window = _resized(window, blazeface.SIDE_PX, blazeface.SIDE_PX)
    scale = side / blazeface.SIDE_PX
    mirrored = blazeface.detect(window[:, ::-1], _CANDIDATE)
    best = []
    for look in (
        blazeface.detect(window, _CANDIDATE),
        [candidate.mirrored(blazeface.SIDE_PX) for candidate in mirrored],
    ):
        in_image = (candidate.placed(scale, x, y) for candidate in look)
        same = [candidate for candidate in in_image if _shared(candidate, face) > _SAME]
        if not same:
            return None
        best.append(max(same, key=lambda candidate: candidate.score))
    one, other = best
    return Face((one.score + other.score) / 2, (one.points + other.points) / 2)


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _distinct(faces: list[Face]) -> list[Face]:
    """Of faces that overlap the first sure one, or else the best: a smaller window adds to those of a larger one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -1.0 if _is_sure(face) else -face.score):
        if all(_shared(face, other) <= _SAME for other in kept):
            kept.append(face)
    return kept


def _shared(one: Face, other: Face) -> float:
    """The share of the smaller box that lies in the other."""
    low = np.maximum(one.points[0] - one.points[1] / 2, other.points[0] - other.points[1] / 2)
    high = np.minimum(one.points[0] + one.points[1] / 2, other.points[0] + other.points[1] / 2)
    smaller = min(one.points[1].prod(), other.points[1].prod())
    return float(np.clip(high - low, 0, None).prod() / smaller) if smaller > 0 else 0.0


def _framed(face: Face) -> _Box:
    side = face.side * FRAME_SIDE
    x, y = face.points[0]
    return _Box(float(x) - side / 2, float(y) - FRAME_RAISED * face.side - side / 2, side)


def _widened(face: _Box, margin: float, shape: tuple[int, ...]) -> _Box:
    """The square of whole pixels around `face` within an image of this (height, width)."""
    height, width = shape
    side = max(1, min(round(face.side * (1 + 2 * margin)), height, width))
    x, y = (round(middle - side / 2) for middle in face.centre)
    return _Box(min(max(x, 0), width - side), min(max(y, 0), height - side), side)


_APART = 0.2  # of the box: half of what the eyes of a frontal face are
_TILTED = 45.0  # degrees


def _angle_of_eyes(face: Face) -> float:
    """How far the line from the left to the right eye of the image falls, in degrees; 0 without two plausible eyes."""
    x, y = face.points[3] - face.points[2]
    angle = math.degrees(math.atan2(y, x))
    return angle if math.hypot(x, y) >= _APART * face.side and abs(angle) <= _TILTED else 0.0


def _turned(image: np.ndarray, square: _Box, angle: float) -> np.ndarray:
    """The square of `image` after it was turned about the square's centre by `angle` degrees, counter-clockwise."""
    x, y = (middle - 0.5 for middle in square.centre)  # pixels' coordinates are those of their centres
    turn = cv2.getRotationMatrix2D((x, y), angle, 1.0)
    turn[:, 2] -= np.array((square.x, square.y))
    size = (int(square.side), int(square.side))
    return cv2.warpAffine(image, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
