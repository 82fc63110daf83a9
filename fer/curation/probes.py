"""Candidates for one photograph in two images: moved, cropped, zoomed, turned or mirrored, or under a border or a text.

Images are described as they are and under 59 probes (`fer.images.framings`). Two images are candidates where the
description of one is near that of a probe of the other. Mirroring turns the signs of the odd frequencies, so that the
even and the odd part of a product serve the image and its mirror image alike.

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

from fer.engine.processes import process_pool
from fer.images import framings
from fer.images.framings import PROBES, View

_TANGENT_FREQUENCIES = 48
_LEAST_PRODUCT = 0.86  # of two descriptions
_LEAST_EXPLAINED = 0.95  # cosine between an image under a probe and the other's subspace
_ROWS, _COLUMNS = 256, 512  # of a tile of products: two of them stay in a core's cache
_DECOMPOSED_AT_ONCE = 4_096  # images
_COMPARED_AT_ONCE = 2_048  # pairs


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
    coarse = framings.coarse(thumbnails)
    fine = _lowest(_TANGENT_FREQUENCIES)
    # A thread per core, each with BLAS of one thread: on busy cores several threads to one product wait for each other.
    with (
        threadpoolctl.threadpool_limits(1, user_api="blas"),
        concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as threads,
    ):
        described = framings.described(coarse, PROBES[0])
        subspaces = _subspaces(coarse, fine)
        for number, probe in enumerate(PROBES):
            others = described if number == 0 else framings.described(coarse, probe)
            first, second, mirrored = _near(described, others, threads)
            seen = framings.projected(coarse, probe, fine)
            seen /= np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6)
            explained = _explained(subspaces, seen, first, second, np.where(mirrored, -1, 1), fine, threads)
            kept = explained >= _LEAST_EXPLAINED
            yield Candidates(number, first[kept], second[kept], mirrored[kept], explained[kept])


def _lowest(count: int) -> list[tuple[int, int]]:
    """The lowest frequencies, horizontal and vertical, without that of no change."""
    return sorted(((u, v) for u in range(12) for v in range(12) if u + v), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))[
        :count
    ]


def _near(
    ones: np.ndarray,
    others: np.ndarray,
    threads: concurrent.futures.ThreadPoolExecutor,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of `ones` are near which later ones of `others`, as they are or mirrored: (first, second, mirrored)."""
    n = len(ones)
    odd = np.array([u % 2 == 1 for u, _ in framings.FREQUENCIES])
    rows = [np.ascontiguousarray(ones[:, part]) for part in (~odd, odd)]
    columns = [np.ascontiguousarray(others[:, part].T) for part in (~odd, odd)]
    least = _LEAST_PRODUCT * framings.LENGTH**2

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
    spanned = [framings.projected(coarse, PROBES[0], frequencies)]
    for ahead, behind in zip(steps, back, strict=True):
        spanned.append(framings.projected(coarse, ahead, frequencies) - framings.projected(coarse, behind, frequencies))
    bases = np.empty((len(coarse), len(spanned), len(frequencies)), np.float32)
    for start in range(0, len(coarse), _DECOMPOSED_AT_ONCE):
        at = slice(start, start + _DECOMPOSED_AT_ONCE)
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
