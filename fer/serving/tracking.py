"""Which face of a video's frame is which of the frames before: numbers that last as long as a face is in sight.

A face is expected where its motion takes it, at a constant velocity. Expected and detected boxes are matched so that
the sum of their overlaps is the largest (Bewley et al., Simple online and realtime tracking, ICIP 2016,
doi:10.1109/ICIP.2016.7533003). Boxes are widened before, so that a small face that moves by more than its own size is
matched too (Yang et al., Hard to track objects with irregular motions and similar appearances?, WACV 2023,
arXiv:2211.14317). Time is in seconds, so that a slow or uneven camera needs no other settings. Nothing is kept of a
face but where it is: nobody is recognised, and who leaves and comes back has a new number.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fer.serving.results import Box

_WIDENED = 0.3  # of its side, beyond each side of a box
_LEAST_OVERLAP = 0.15  # of widened boxes, intersection over union: two of one size that are 1.2 sides apart
_SIZES = 2.5  # a box that is so many times as large as before is another face
_TRUST = 0.5  # in the velocity that was last seen, against those before; detected boxes tremble


@dataclasses.dataclass
class _Track:
    """A face: its `number`, and where it was `seen_s`; (4,) centre and size, and what these change by in a second."""

    number: int
    place: np.ndarray
    velocity: np.ndarray
    seen_s: float
    times_seen: int = 1

    def expected(self, time_s: float) -> np.ndarray:
        """(4,) centre and size at a time."""
        gone_s = time_s - self.seen_s
        expected = self.place + self.velocity * gone_s
        expected[2:] = self.place[2:]
        return expected

    def move(self, place: np.ndarray, time_s: float) -> None:
        gone_s = time_s - self.seen_s
        if gone_s > 0:
            trust = 1.0 if self.times_seen == 1 else _TRUST
            self.velocity = trust * (place - self.place) / gone_s + (1 - trust) * self.velocity
        self.place, self.seen_s, self.times_seen = place, time_s, self.times_seen + 1


class Tracker:
    """Numbers faces from 1. One that is out of sight for more than `keep_s` seconds is forgotten."""

    def __init__(self, keep_s: float = 1.0) -> None:
        self._keep_s = keep_s
        self._tracks: list[_Track] = []
        self._n_tracks = 0

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of the faces that are not forgotten."""
        return frozenset(track.number for track in self._tracks)

    def update(self, boxes: Sequence[Box], time_s: float) -> list[int]:
        """The number of each box of the frame at `time_s`, which is not before that of the last call."""
        self._tracks = [track for track in self._tracks if time_s - track.seen_s <= self._keep_s]
        places = np.array(boxes, np.float64).reshape(len(boxes), 4)
        places[:, :2] += places[:, 2:] / 2
        expected = np.array([track.expected(time_s) for track in self._tracks]).reshape(-1, 4)
        known = {box: self._tracks[track] for track, box in _matches(expected, places)}
        numbers = []
        for index, place in enumerate(places):
            track = known.get(index)
            if track is None:
                self._n_tracks += 1
                track = _Track(self._n_tracks, place, np.zeros(4), time_s)
                self._tracks.append(track)
            else:
                track.move(place, time_s)
            numbers.append(track.number)
        return numbers


def _matches(expected: np.ndarray, detected: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows of (N, 4) and (M, 4) centres and sizes that are the same face."""
    if not len(expected) or not len(detected):
        return []
    from scipy import optimize

    overlaps = _overlaps(expected, detected)
    pairs = zip(*optimize.linear_sum_assignment(overlaps, maximize=True), strict=True)
    return [(int(row), int(column)) for row, column in pairs if overlaps[row, column] > 0]


def _overlaps(expected: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of the widened boxes; 0 for pairs that can't be the same face."""
    halves = [boxes[:, 2:] * (0.5 + _WIDENED) for boxes in (expected, detected)]
    low = np.maximum((expected[:, :2] - halves[0])[:, np.newaxis], (detected[:, :2] - halves[1])[np.newaxis])
    high = np.minimum((expected[:, :2] + halves[0])[:, np.newaxis], (detected[:, :2] + halves[1])[np.newaxis])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [4 * half.prod(axis=1) for half in halves]
    overlaps = shared / np.maximum(areas[0][:, np.newaxis] + areas[1] - shared, np.finfo(np.float64).tiny)
    ratios = np.sqrt(np.maximum(areas[0][:, np.newaxis], 1) / np.maximum(areas[1], 1))
    is_same_size = (ratios <= _SIZES) & (ratios >= 1 / _SIZES)
    return np.where(is_same_size & (overlaps >= _LEAST_OVERLAP), overlaps, 0.0)
