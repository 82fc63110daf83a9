"""One photograph in two images: how well they correlate once one is moved, zoomed and turned to lie on the other.

By Gauss-Newton steps for shift, zoom, turn, contrast and brightness over the middle 34x34 pixels (Lucas and Kanade
1981; Baker and Matthews 2004), at half the size first, all pairs side by side. Steps move by real numbers; the view
where they end is rounded, the image there resampled in whole numbers, and the correlation is that of these.
"""

import concurrent.futures
import dataclasses

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
        coarse = _template(self._halves, first, mirrored)
        fit, views = _followed(self._halves, coarse, second, views, _COARSE_STEPS)
        led = np.flatnonzero(fit >= _HOPEFUL)
        fine = _template(self._images, first[led], mirrored[led])
        _, places = _followed(self._images, fine, second[led], views[led], _FINE_STEPS)
        places = np.rint(places / _ROUNDED) * _ROUNDED
        fit[led] = _correlation(fine, _warped(self._images, second[led], places, WINDOW, 0).reshape(fine.shape))
        views[led] = places
        return fit, views


def _template(images: np.ndarray, first: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """The windows of the first images, mirrored where they are to be, (k, window pixels) uint8. At half the size the
    window is two of the full one's pixels wider.
    """
    seen = np.where(mirrored[:, None, None], images[first][:, :, ::-1], images[first])
    side = images.shape[1]
    edge = side * (SIDE - WINDOW) // (2 * SIDE)
    return np.ascontiguousarray(seen[:, edge : side - edge, edge : side - edge]).reshape(
        len(first), (side - 2 * edge) ** 2
    )


def _followed(
    images: np.ndarray, template: np.ndarray, second: np.ndarray, views: np.ndarray, n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best correlation met within so many steps from the `views`, (k,) float64, and where that was."""
    best, places = np.full(len(second), -np.inf), views
    for number in range(n_steps + 1):
        fit, step = _step(images, template, second, views)
        better = fit > best
        best, places = np.where(better, fit, best), np.where(better[:, None], views, places)
        if number < n_steps:
            views = views + step
            views[:, 2] = np.clip(views[:, 2], *_ZOOMS)
    return best, places


def _step(
    images: np.ndarray, template: np.ndarray, second: np.ndarray, views: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The correlation under the `views` as they are, and the change of them that would bring the second images closest
    to `template`, were they linear in it.
    """
    side = round(template.shape[1] ** 0.5)
    pixels = SIDE / images.shape[1]  # of the full size, a pixel of these images
    around = _warped(images, second, views, side, 1).astype(np.float32)
    window = around[:, 1:-1, 1:-1].reshape(template.shape)
    across = ((around[:, 1:-1, 2:] - around[:, 1:-1, :-2]) / 2).reshape(template.shape)
    along = ((around[:, 2:, 1:-1] - around[:, :-2, 1:-1]) / 2).reshape(template.shape)
    zoom, turn = views[:, 2:3].astype(np.float32), views[:, 3:4].astype(np.float32)
    cos, sin = np.cos(turn), np.sin(turn)
    right, down = (cos * across - sin * along) / zoom, (sin * across + cos * along) / zoom
    offsets = (np.arange(side) - (side - 1) / 2).astype(np.float32)
    rows, columns = (axis.ravel() for axis in np.meshgrid(offsets, offsets, indexing="ij"))
    x, y = cos * columns - sin * rows, sin * columns + cos * rows
    # window + changes @ step = contrast * template + brightness
    ones = template.astype(np.float32)
    changes = [right, down, right * x + down * y, zoom * (down * x - right * y), ones, np.ones_like(window)]
    matrix = np.stack(changes, axis=1)  # (k, 6, pixels)
    normal = np.matmul(matrix, matrix.transpose(0, 2, 1)).astype(np.float64)
    diagonal = np.arange(6)
    normal[:, diagonal, diagonal] *= 1 + _DAMPING
    normal[:, diagonal, diagonal] += 1e-6
    solved = np.linalg.solve(normal, np.matmul(matrix, window[:, :, None]).astype(np.float64))[:, :4, 0]
    step = np.clip(-solved * [pixels, pixels, 1, 1], -_LONGEST_STEP, _LONGEST_STEP)
    return _correlation(template, window), step


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


def _correlation(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pearson's, (k,) float64, of (k, pixels) of whole numbers: all sums are below 2^53, in any order the same."""
    x, y = ones.astype(np.float64), others.astype(np.float64)
    n, sum_x, sum_y = x.shape[1], x.sum(axis=1), y.sum(axis=1)
    both = n * np.einsum("ij,ij->i", x, y) - sum_x * sum_y
    own = (n * np.einsum("ij,ij->i", x, x) - sum_x**2) * (n * np.einsum("ij,ij->i", y, y) - sum_y**2)
    return np.where(own > 0, both / np.sqrt(np.maximum(own, 1)), 0.0)
