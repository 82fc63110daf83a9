"""Candidates for one photograph in two images: moved, cropped, zoomed, turned or mirrored, or under a border or a text.

An image is described by the lowest frequencies (DCT-II) of its middle 36x36 pixels, relative to the average face
and in units of the change that a small move makes in each. Other framings of it are described likewise, under 59
*probes*: two zooms and none, each with 19 shifts on a hexagonal lattice, and a turn each way. Two images are candidates
where the description of one is near that of a probe of the other. Mirroring an image turns the signs of its odd
frequencies, so that the even and the odd part of a product serve the image and its mirror image alike.

Each candidate is then compared with all that a small move makes of the first image: the subspace spanned by its
description in 48 frequencies and its derivatives by shift, zoom and turn (the tangent distance of Simard, LeCun and
Denker 1993). Few chance pairs lie near it; `fer.curation.alignment` measures those that do.

Whether two images are candidates depends on these two alone, and up to the tangents on whole numbers: the same on any
machine, whatever else is in the dataset. Of FER2013's pairs that an exhaustive search finds (aligned correlation from
0.94), and that look different as they are, 97.9 % are near a probe
(docs/explanation/experiments.md). Cost: n² / 2 products of 24 numbers per probe; memory: 3 kB per image.
"""

import concurrent.futures
import dataclasses
from collections.abc import Iterator

import numpy as np

from data_contracts import manifest as contract
from fer.engine.processes import process_pool

SIDE = contract.THUMBNAIL_SIDE
_COARSE = SIDE // 2  # sums of 2x2 pixels hold all that these frequencies need
_WINDOW = 36  # pixels: what is left of a border or a line of text lies outside
_TANGENT_FREQUENCIES = 48
_LEAST_PRODUCT = 0.86  # of two descriptions
_LEAST_EXPLAINED = 0.95  # cosine between an image under a probe and the other's subspace
_ROWS, _COLUMNS = 256, 512  # of a tile of products: two of them stay in a core's cache
_DESCRIBED_AT_ONCE = 4_096  # images
_COMPARED_AT_ONCE = 2_048  # pairs
_INTEGER = 127  # descriptions are whole numbers up to this: sums of 24 products are exact in float32

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


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Pair k may show one photograph: the image at `first[k]`, mirrored if `mirrored[k]`, and the one at `second[k]`
    under `PROBES[probe]`; `explained[k]` is the cosine of the angle to the first one's subspace.
    """

    probe: int
    first: np.ndarray  # (k,) int64, smaller than the second
    second: np.ndarray
    mirrored: np.ndarray  # (k,) bool
    explained: np.ndarray  # (k,) float32


def search(thumbnails: np.ndarray) -> Iterator[Candidates]:
    """The candidates among `thumbnails`, (n, pixels) uint8, none of one grey: one item per probe, in their order."""
    import threadpoolctl

    if len(thumbnails) < 2:
        return
    coarse = _coarse(thumbnails)
    frequencies = list(_AVERAGE_AND_CHANGE)
    fine = _lowest(_TANGENT_FREQUENCIES)
    # A thread per core, each with BLAS of one thread: on busy cores several threads to one product wait for each other.
    with (
        threadpoolctl.threadpool_limits(1, user_api="blas"),
        concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as threads,
    ):
        described = _described(coarse, PROBES[0], frequencies)
        subspaces = _subspaces(coarse, fine)
        for number, probe in enumerate(PROBES):
            others = described if number == 0 else _described(coarse, probe, frequencies)
            first, second, mirrored = _near(described, others, frequencies, threads)
            seen = _projected(coarse, probe, fine)
            seen /= np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6)
            explained = _explained(subspaces, seen, first, second, np.where(mirrored, -1, 1), fine, threads)
            kept = explained >= _LEAST_EXPLAINED
            yield Candidates(number, first[kept], second[kept], mirrored[kept], explained[kept])


def _lowest(count: int) -> list[tuple[int, int]]:
    """The lowest frequencies, horizontal and vertical, without that of no change."""
    return sorted(((u, v) for u in range(12) for v in range(12) if u + v), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))[
        :count
    ]


def _coarse(thumbnails: np.ndarray) -> np.ndarray:
    """(n, pixels) uint8 -> sums of 2x2 pixels, (n, pixels / 4) uint16."""
    squares = thumbnails.reshape(len(thumbnails), _COARSE, 2, _COARSE, 2)
    return squares.sum(axis=(2, 4), dtype=np.uint16).reshape(len(thumbnails), _COARSE**2)


def _operator(view: View, frequencies: list[tuple[int, int]]) -> np.ndarray:
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


def _projected(coarse: np.ndarray, view: View, frequencies: list[tuple[int, int]]) -> np.ndarray:
    """The frequencies of all images under `view`, (n, frequencies) float32."""
    operator = _operator(view, frequencies).astype(np.float32)
    projected = np.empty((len(coarse), len(frequencies)), np.float32)
    for start in range(0, len(coarse), _DESCRIBED_AT_ONCE):
        at = slice(start, start + _DESCRIBED_AT_ONCE)
        projected[at] = coarse[at].astype(np.float32) @ operator
    return projected


def _described(coarse: np.ndarray, view: View, frequencies: list[tuple[int, int]]) -> np.ndarray:
    """The descriptions of all images under `view`: (n, frequencies) float32, whole numbers of length about 127.

    Each sum below is one of whole numbers under 2^53, so that no order of adding changes a bit.
    """
    operator = _operator(view, frequencies)
    average, change = np.array([_AVERAGE_AND_CHANGE[frequency] for frequency in frequencies]).T
    described = np.empty((len(coarse), len(frequencies)), np.float32)
    for start in range(0, len(coarse), _DESCRIBED_AT_ONCE):
        at = slice(start, start + _DESCRIBED_AT_ONCE)
        values = np.rint((coarse[at].astype(np.float64) @ operator) / 2**12)
        values /= np.maximum(np.sqrt((values**2).sum(axis=1, keepdims=True)), 1)
        values = np.rint((values - average) / change * 2**12)
        values *= _INTEGER / np.maximum(np.sqrt((values**2).sum(axis=1, keepdims=True)), 1)
        described[at] = np.rint(values)
    return described


def _near(
    ones: np.ndarray,
    others: np.ndarray,
    frequencies: list[tuple[int, int]],
    threads: concurrent.futures.ThreadPoolExecutor,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of `ones` are near which later ones of `others`, as they are or mirrored: (first, second, mirrored)."""
    n = len(ones)
    odd = np.array([u % 2 == 1 for u, _ in frequencies])
    rows = [np.ascontiguousarray(ones[:, part]) for part in (~odd, odd)]
    columns = [np.ascontiguousarray(others[:, part].T) for part in (~odd, odd)]
    least = _LEAST_PRODUCT * _INTEGER**2

    def block(top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        parts = []
        bottom = min(top + _ROWS, n)
        even_products, odd_products = (np.empty((bottom - top) * _COLUMNS, np.float32) for _ in range(2))
        for left in range(top, n, _COLUMNS):
            right = min(left + _COLUMNS, n)
            size = (bottom - top) * (right - left)
            even, odd = (products[:size].reshape(bottom - top, -1) for products in (even_products, odd_products))
            np.matmul(rows[0][top:bottom], columns[0][:, left:right], out=even)
            np.matmul(rows[1][top:bottom], columns[1][:, left:right], out=odd)
            even += np.abs(odd)
            hit = np.flatnonzero(even.max(axis=1) >= least)
            if len(hit):
                row, column = np.nonzero(even[hit] >= least)
                row = hit[row]
                later = column + left > row + top
                row, column = row[later], column[later]
                parts.append((row + top, column + left, odd[row, column] < 0))
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool)
        first, second, mirrored = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return first, second, mirrored

    first, second, mirrored = (
        np.concatenate(columns) for columns in zip(*threads.map(block, range(0, n, _ROWS)), strict=True)
    )
    return first, second, mirrored


def _subspaces(coarse: np.ndarray, frequencies: list[tuple[int, int]]) -> np.ndarray:
    """Of each image as it is, an orthonormal basis of its description and its derivatives, (n, 5, frequencies)."""
    steps = (View(right=0.5), View(down=0.5), View(zoom=1.03), View(turn=0.03))
    back = (View(right=-0.5), View(down=-0.5), View(zoom=0.97), View(turn=-0.03))
    spanned = [_projected(coarse, PROBES[0], frequencies)]
    for ahead, behind in zip(steps, back, strict=True):
        spanned.append(_projected(coarse, ahead, frequencies) - _projected(coarse, behind, frequencies))
    bases = np.empty((len(coarse), len(spanned), len(frequencies)), np.float32)
    for start in range(0, len(coarse), _DESCRIBED_AT_ONCE):
        at = slice(start, start + _DESCRIBED_AT_ONCE)
        basis, _ = np.linalg.qr(np.stack([vectors[at] for vectors in spanned], axis=2))
        bases[at] = basis.transpose(0, 2, 1)
    return bases


def _explained(
    subspaces: np.ndarray,
    seen: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    sign: np.ndarray,
    frequencies: list[tuple[int, int]],
    threads: concurrent.futures.ThreadPoolExecutor,
) -> np.ndarray:
    """The cosine of the angle between `seen[second]`, of unit length, and `subspaces[first]`: (k,) float32.

    `sign` (k,) is -1 where the odd frequencies of the second have to be turned first.
    """
    odd = np.array([u % 2 == 1 for u, _ in frequencies])

    def some(start: int) -> np.ndarray:
        at = slice(start, start + _COMPARED_AT_ONCE)
        turned = seen[second[at]] * np.where(odd, sign[at, None], 1).astype(np.float32)
        inside = np.matmul(subspaces[first[at]], turned[:, :, None])[:, :, 0]
        length: np.ndarray = np.sqrt(np.einsum("ij,ij->i", inside, inside))
        return length

    parts = list(threads.map(some, range(0, len(first), _COMPARED_AT_ONCE)))
    return np.concatenate(parts) if parts else np.empty(0, np.float32)
