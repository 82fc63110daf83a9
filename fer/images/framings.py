"""What an image shows in 24 numbers, as it is and under other framings: moved, zoomed, turned or mirrored.

An image is described by the lowest frequencies (DCT-II) of its middle 36x36 pixels, relative to the average face
and in units of the change that a small move makes in each: whole numbers of length 127, a byte each. They hold about as
much as a mosaic of 5x5 pixels: enough to find other framings of a picture, too little to show whom it shows.
Other framings are described likewise, under 59 *probes*: two zooms and none, each with 19 shifts on a hexagonal
lattice, and a turn each way. Mirroring an image turns the signs of its odd frequencies.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from data_contracts import manifest as contract

SIDE = contract.THUMBNAIL_SIDE
_COARSE = SIDE // 2  # sums of 2x2 pixels hold all that these frequencies need
_WINDOW = 36  # pixels: what is left of a border or a line of text lies outside
LENGTH = 127  # of a description, of whole numbers: sums of 24 products are exact in float32
_DESCRIBED_AT_ONCE = 4_096  # images

# Of FER2013's 34,034 distinct images, by horizontal and vertical frequency: the average description of unit length
# (0 where mirroring turns the sign), and the standard deviation that shifts up to 1.5 pixels, zooms up to 5 %, turns up
# to 4 degrees and noise make. The frequencies are the lowest, by the length of their vector.
_AVERAGE_AND_CHANGE = {
    (0, 1): (0.026, 0.036), (1, 0): (0, 0.055), (1, 1): (0, 0.042), (0, 2): (-0.153, 0.037), (2, 0): (-0.168, 0.042),
    (1, 2): (0, 0.038), (2, 1): (-0.133, 0.039), (2, 2): (-0.041, 0.034), (0, 3): (0.187, 0.041), (3, 0): (0, 0.045),
    (1, 3): (0, 0.036), (3, 1): (0, 0.042), (2, 3): (-0.023, 0.033), (3, 2): (0, 0.035), (0, 4): (0.105, 0.053),
    (4, 0): (-0.017, 0.041), (1, 4): (0, 0.034), (4, 1): (0.063, 0.039), (3, 3): (0, 0.036), (2, 4): (-0.026, 0.033),
    (4, 2): (-0.038, 0.037), (0, 5): (-0.047, 0.05), (3, 4): (0, 0.03), (4, 3): (-0.092, 0.033),
}  # fmt: skip


FREQUENCIES = tuple(_AVERAGE_AND_CHANGE)  # of a description, horizontal and vertical


@dataclasses.dataclass(frozen=True)
class View:
    """Another framing: each point of the window shows the image's point that lies `zoom` times as far from the centre,
    turned by `turn` radians, and moved by `right` and `down` pixels.
    """

    right: float = 0.0
    down: float = 0.0
    zoom: float = 1.0
    turn: float = 0.0

    def source(self, side: int) -> np.ndarray:
        """Where the points of the middle `side` x `side` pixels come from, (side * side, 2) x and y, in pixels."""
        offsets = np.arange(side) - (side - 1) / 2
        y, x = np.meshgrid(offsets, offsets, indexing="ij")
        cos, sin = self.zoom * np.cos(self.turn), self.zoom * np.sin(self.turn)
        points = np.stack([cos * x - sin * y + self.right, sin * x + cos * y + self.down], axis=-1)
        return points.reshape(-1, 2) + (SIDE - 1) / 2


def _lattice(spacing: float) -> list[tuple[float, float]]:
    """19 points of a hexagonal lattice, the middle and the two rings about it."""
    turns = np.arange(6) * np.pi / 3
    rings = ((spacing, turns), (2 * spacing, turns), (np.sqrt(3) * spacing, turns + np.pi / 6))
    return [(0.0, 0.0), *((radius * np.cos(a), radius * np.sin(a)) for radius, ring in rings for a in ring)]


# The first is the image as it is. The inverse of a probe is about another one, so that each pair is compared one way.
PROBES = (
    *(View(right, down) for right, down in _lattice(3.0)),
    *(View(right, down, zoom) for zoom in (0.88, 1.14) for right, down in _lattice(3.2 * zoom)),
    *(View(turn=np.radians(degrees)) for degrees in (-8, 8)),
)


def coarse(thumbnails: np.ndarray) -> np.ndarray:
    """(n, pixels) uint8 -> sums of 2x2 pixels, (n, pixels / 4) uint16."""
    squares = thumbnails.reshape(len(thumbnails), _COARSE, 2, _COARSE, 2)
    return squares.sum(axis=(2, 4), dtype=np.uint16).reshape(len(thumbnails), _COARSE**2)


@functools.lru_cache(3 * len(PROBES))  # two of each probe, and some more of the first one
def _operator(view: View, frequencies: tuple[tuple[int, int], ...]) -> np.ndarray:
    """From the sums of 2x2 pixels to the frequencies of the window under `view`: (sums, frequencies) whole numbers.

    By linear interpolation; what lies beyond an edge is as the edge.
    """
    from scipy import sparse

    at = np.clip((view.source(_WINDOW) - 0.5) / 2, 0, _COARSE - 1)  # the middle of the first sum is at 0.5
    low = np.minimum(at.astype(int), _COARSE - 2)
    rest = at - low
    columns, weights = [], []
    for right in (0, 1):
        for down in (0, 1):
            columns.append((low[:, 1] + down) * _COARSE + low[:, 0] + right)
            weights.append(abs(1 - right - rest[:, 0]) * abs(1 - down - rest[:, 1]))
    points = np.tile(np.arange(len(at)), 4)
    shape = (len(at), _COARSE**2)
    interpolate = sparse.coo_matrix((np.concatenate(weights), (points, np.concatenate(columns))), shape=shape)
    waves = np.cos(np.pi * np.outer(np.arange(12), np.arange(_WINDOW) + 0.5) / _WINDOW)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    basis = np.stack([np.outer(waves[v], waves[u]).ravel() for u, v in frequencies], axis=1)
    whole: np.ndarray = np.rint((interpolate.tocsr().T @ basis) * 2**16)
    return whole


def projected(sums: np.ndarray, view: View, frequencies: Sequence[tuple[int, int]]) -> np.ndarray:
    """These frequencies of all images, as `coarse` returns them, under `view`: (n, frequencies) float32."""
    operator = _operator(view, tuple(frequencies)).astype(np.float32)
    projected = np.empty((len(sums), len(frequencies)), np.float32)
    for start in range(0, len(sums), _DESCRIBED_AT_ONCE):
        at = slice(start, start + _DESCRIBED_AT_ONCE)
        projected[at] = sums[at].astype(np.float32) @ operator
    return projected


def described(sums: np.ndarray, view: View) -> np.ndarray:
    """The descriptions of all images, as `coarse` returns them, under `view`: (n, 24) float32, whole numbers of length
    about 127.

    Each sum below is one of whole numbers under 2^53, so that no order of adding changes a bit.
    """
    operator = _operator(view, FREQUENCIES)
    average, change = np.array([_AVERAGE_AND_CHANGE[frequency] for frequency in FREQUENCIES]).T
    described = np.empty((len(sums), len(FREQUENCIES)), np.float32)
    for start in range(0, len(sums), _DESCRIBED_AT_ONCE):
        at = slice(start, start + _DESCRIBED_AT_ONCE)
        values = np.rint((sums[at].astype(np.float64) @ operator) / 2**12)
        values /= np.maximum(np.sqrt((values**2).sum(axis=1, keepdims=True)), 1)
        values = np.rint((values - average) / change * 2**12)
        values *= LENGTH / np.maximum(np.sqrt((values**2).sum(axis=1, keepdims=True)), 1)
        described[at] = np.rint(values)
    return described


def likeness(known: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """How like each of `thumbnails`, (n, pixels) uint8, is to the most alike of the images that were described as
    `known`, (m, 24) whole numbers, under any framing: cosines, (n,) float32.

    Of 14,356 images of FER2013 a cosine from 0.92 on finds 99 % of the near-duplicates as they are, 87 % of those that
    are moved and 83 % of those that are mirrored, and 1.3 others for each known image.
    """
    best = np.full(len(thumbnails), -1.0, np.float32)
    sums = coarse(thumbnails)
    is_odd = np.array([horizontal % 2 == 1 for horizontal, _ in FREQUENCIES])
    even, odd = (np.where(part, known, 0).astype(np.float32).T for part in (~is_odd, is_odd))
    for probe in PROBES:
        others = described(sums, probe)
        products = others @ even + np.abs(others @ odd)  # whole numbers; mirrored if that is more alike
        np.maximum(best, products.max(axis=1, initial=-np.inf) / LENGTH**2, out=best)
    return best
