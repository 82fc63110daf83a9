"""One photograph in two images: how well they correlate once one is moved, zoomed and turned to lie on the other.

By Gauss-Newton steps for shift, zoom, turn, contrast and brightness over the middle 34x34 pixels (Lucas and Kanade
1981; Baker and Matthews 2004), at half the size first, all pairs side by side. Steps move by real numbers; the view
where they end is rounded, the image there resampled in whole numbers, and the correlation is that of these.
"""

import concurrent.futures
import dataclasses
import functools

import cv2
import numpy as np

from fer.engine.processes import process_pool
from fer.images.framings import SIDE, View

# Our own pools run one process per core; OpenCV's threads below them would fight for the same cores.
cv2.setNumThreads(0)

WINDOW = 34  # pixels
_COARSE_STEPS, _FINE_STEPS = 3, 2
_HOPEFUL = 0.92  # pairs that correlate less after the steps at half the size are not followed further
_AT_ONCE = 128  # pairs
_LONGEST_STEP = np.array([2.0, 2.0, 0.1, np.radians(5)])  # pixels, pixels, zoom, turn: further is a leap in the dark
_ZOOMS = (0.7, 1.43)
_ROUNDED = np.array([1 / 16, 1 / 16, 1 / 256, 1 / 256])
_DAMPING = 1e-4
_LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_EDGE = cv2.BORDER_REPLICATE


@dataclasses.dataclass(frozen=True)
class Aligned:
    """How the second image of each pair lies on the first: `correlation` (k,) float64 of the windows, at half the size
    where that is too low to go on, and `views` (k, 4) float64, right, down (pixels), zoom, turn (radians).
    """

    correlation: np.ndarray
    views: np.ndarray


def windows(thumbnails: np.ndarray) -> np.ndarray:
    """The middle of each of (n, pixels) uint8 thumbnails that is compared: (n, window pixels) uint8."""
    edge = (SIDE - WINDOW) // 2
    middle = thumbnails.reshape(len(thumbnails), SIDE, SIDE)[:, edge : edge + WINDOW, edge : edge + WINDOW]
    return middle.reshape(len(thumbnails), WINDOW**2)


class Aligner:
    """Lays images on each other; images (n, 48, 48) uint8, none of one grey in the window."""

    def __init__(self, images: np.ndarray):
        self._images = images
        sums = images.reshape(len(images), SIDE // 2, 2, SIDE // 2, 2).sum(axis=(2, 4), dtype=np.uint16)
        self._halves = ((sums + 2) // 4).astype(np.uint8)

    def align(self, first: np.ndarray, second: np.ndarray, mirrored: np.ndarray, start: View) -> Aligned:
        """Lay the image at `second[k]` on the one at `first[k]`, mirrored if `mirrored[k]`, beginning with `start`.

        `first`, `second` (k,) int64, `mirrored` (k,) bool. Pairs that do not fit correlate little.
        """
        views = np.tile([start.right, start.down, start.zoom, start.turn], (len(first), 1))
        correlation = np.empty(len(first))

        def align_batch(begin: int) -> None:
            at = slice(begin, begin + _AT_ONCE)
            correlation[at], views[at] = self._aligned(first[at], second[at], mirrored[at], views[at])

        with concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as threads:
            list(threads.map(align_batch, range(0, len(first), _AT_ONCE)))
        return Aligned(correlation, views)

    def _aligned(
        self, first: np.ndarray, second: np.ndarray, mirrored: np.ndarray, views: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """`Aligned` of these pairs: at half the size, and what fits there at the full one."""
        coarse = _Template(self._halves, first, mirrored)
        fit, views = _followed(self._halves, coarse, second, views, _COARSE_STEPS)
        led = np.flatnonzero(fit >= _HOPEFUL)
        fine = _Template(self._images, first[led], mirrored[led])
        _, places = _followed(self._images, fine, second[led], views[led], _FINE_STEPS)
        places = np.rint(places / _ROUNDED) * _ROUNDED
        fit[led] = fine.correlation(_warped(self._images, second[led], places, WINDOW, 0))
        views[led] = places
        return fit, views


class _Template:
    """The windows of the first images, mirrored where they are to be, that the second ones are compared with.

    `pixels` is (k, window pixels) float32. At half the size the window is two of the full one's pixels wider.
    """

    def __init__(self, images: np.ndarray, first: np.ndarray, mirrored: np.ndarray):
        seen = np.where(mirrored[:, None, None], images[first][:, :, ::-1], images[first])
        edge = images.shape[1] * (SIDE - WINDOW) // (2 * SIDE)
        self.side = images.shape[1] - 2 * edge
        seen = np.ascontiguousarray(seen[:, edge : edge + self.side, edge : edge + self.side])
        self._values = seen.reshape(len(first), self.side**2).astype(np.float64)
        self._sums, self._own = _moments(self._values)
        self.pixels = self._values.astype(np.float32)

    def correlation(self, windows: np.ndarray) -> np.ndarray:
        """Pearson's, (k,) float64, with (k, side, side) uint8: all sums are below 2^53, in any order the same."""
        values = windows.reshape(self._values.shape).astype(np.float64)
        sums, own = _moments(values)
        both = values.shape[1] * np.einsum("ij,ij->i", self._values, values) - self._sums * sums
        own *= self._own
        return np.where(own > 0, both / np.sqrt(np.maximum(own, 1)), 0.0)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of (k, n) the sums, and n times the sums of the squared distances from the mean, (k,) float64 each."""
    sums = values.sum(axis=1)
    return sums, values.shape[1] * np.einsum("ij,ij->i", values, values) - sums**2


def _followed(
    images: np.ndarray, template: _Template, second: np.ndarray, views: np.ndarray, n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best correlation met within so many steps from the `views`, (k,) float64, and where that was."""
    best, places = np.full(len(second), -np.inf), views
    for number in range(n_steps + 1):
        around = _warped(images, second, views, template.side, 1)
        fit = template.correlation(around[:, 1:-1, 1:-1])
        better = fit > best
        best, places = np.where(better, fit, best), np.where(better[:, None], views, places)
        if number < n_steps:
            views = views + _step(template, around.astype(np.float32), views, SIDE / images.shape[1])
            views[:, 2] = np.clip(views[:, 2], *_ZOOMS)
    return best, places


def _step(template: _Template, around: np.ndarray, views: np.ndarray, pixels: float) -> np.ndarray:
    """The change of the `views` that would bring the second images closest to `template`, were they linear in it.

    `around` (k, side + 2, side + 2) float32 are their windows under the views, with a margin of a pixel; `pixels` is
    one of theirs in those of the full size.
    """
    shape = template.pixels.shape
    window = around[:, 1:-1, 1:-1].reshape(shape)
    across = ((around[:, 1:-1, 2:] - around[:, 1:-1, :-2]) / 2).reshape(shape)
    along = ((around[:, 2:, 1:-1] - around[:, :-2, 1:-1]) / 2).reshape(shape)
    zoom, turn = views[:, 2:3].astype(np.float32), views[:, 3:4].astype(np.float32)
    cos, sin = np.cos(turn), np.sin(turn)
    rows, columns = _offsets(template.side)
    x, y = cos * columns - sin * rows, sin * columns + cos * rows
    # window + changes @ step = contrast * template + brightness
    changes = np.empty((len(around), 6, shape[1]), np.float32)
    right, down, zoomed, turned = (changes[:, number] for number in range(4))
    np.multiply(cos, across, out=right)
    right -= sin * along
    right /= zoom
    np.multiply(sin, across, out=down)
    down += cos * along
    down /= zoom
    np.multiply(right, x, out=zoomed)
    zoomed += down * y
    np.multiply(down, x, out=turned)
    turned -= right * y
    turned *= zoom
    changes[:, 4] = template.pixels
    changes[:, 5] = 1
    normal = np.matmul(changes, changes.transpose(0, 2, 1)).astype(np.float64)
    diagonal = np.arange(6)
    normal[:, diagonal, diagonal] *= 1 + _DAMPING
    normal[:, diagonal, diagonal] += 1e-6
    solved = np.linalg.solve(normal, np.matmul(changes, window[:, :, None]).astype(np.float64))[:, :4, 0]
    return np.clip(-solved * [pixels, pixels, 1, 1], -_LONGEST_STEP, _LONGEST_STEP)


@functools.cache
def _offsets(side: int) -> tuple[np.ndarray, np.ndarray]:
    """How far below and right of the middle each pixel of a window is, (side * side,) float32 each."""
    offsets = (np.arange(side) - (side - 1) / 2).astype(np.float32)
    rows, columns = np.meshgrid(offsets, offsets, indexing="ij")
    return rows.ravel(), columns.ravel()


def _warped(images: np.ndarray, which: np.ndarray, views: np.ndarray, window: int, margin: int) -> np.ndarray:
    """The windows of the images under the views, with a margin: (k, side, side) uint8."""
    side = window + 2 * margin
    cos, sin = views[:, 2] * np.cos(views[:, 3]), views[:, 2] * np.sin(views[:, 3])
    right, down = views[:, :2].T * images.shape[1] / SIDE
    middle, half = (images.shape[1] - 1) / 2, (side - 1) / 2
    matrices = np.empty((len(views), 2, 3))
    matrices[:, 0] = np.stack([cos, -sin, middle + right - (cos - sin) * half], axis=1)
    matrices[:, 1] = np.stack([sin, cos, middle + down - (cos + sin) * half], axis=1)
    out = np.empty((len(views), side, side), np.uint8)
    for source, matrix, warped in zip(which, matrices, out, strict=True):
        cv2.warpAffine(images[source], matrix, (side, side), warped, _LINEAR, _EDGE)
    return out
