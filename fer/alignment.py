"""One photograph in two images: how well they correlate once one is moved, zoomed and turned to lie on the other.

By Gauss-Newton steps for shift, zoom, turn, contrast and brightness over the middle 34x34 pixels (Lucas and Kanade
1981; Baker and Matthews 2004), all pairs side by side. Steps move by real numbers; the place where they end is rounded,
the image there resampled in whole numbers, and so is the correlation.
"""

import concurrent.futures
import dataclasses

import cv2
import numpy as np

from fer import parallel
from fer.probes import SIDE, View

# Our own pools run one process a core; OpenCV's threads below them would fight for the same cores.
cv2.setNumThreads(0)

WINDOW = 34  # pixels
_STEPS = 6
_AT_ONCE = 512  # pairs
_LONGEST_STEP = np.array([2.0, 2.0, 0.1, np.radians(5)])  # pixels, pixels, zoom, turn: further is a leap in the dark
_ZOOMS = (0.7, 1.43)
_HOPEFUL_AFTER, _HOPEFUL = 3, 0.8  # what correlates less after three steps is not led on: 1 pair in 100 from 0.95
_ROUNDED = np.array([1 / 16, 1 / 16, 1 / 256, 1 / 256])
_DAMPING = 1e-4
_LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_EDGE = cv2.BORDER_REPLICATE


@dataclasses.dataclass(frozen=True)
class Placed:
    """How the second image of each pair lies on the first: `correlation` (k,) float64 of the windows, and `views`
    (k, 4) float64, right, down (pixels), zoom, turn (radians).
    """

    correlation: np.ndarray
    views: np.ndarray


def windows(thumbnails: np.ndarray) -> np.ndarray:
    """The middle of each of (n, pixels) uint8 thumbnails that is compared: (n, window pixels) uint8."""
    edge = (SIDE - WINDOW) // 2
    middle = thumbnails.reshape(len(thumbnails), SIDE, SIDE)[:, edge : edge + WINDOW, edge : edge + WINDOW]
    return middle.reshape(len(thumbnails), WINDOW**2)


def align(images: np.ndarray, first: np.ndarray, second: np.ndarray, mirrored: np.ndarray, start: View) -> Placed:
    """Lay the image at `second[k]` on the one at `first[k]`, mirrored if `mirrored[k]`, beginning with `start`.

    images: (n, 48, 48) uint8, none of one grey in the window. Raises nothing: pairs that do not fit correlate little.
    """
    views = np.tile([start.right, start.down, start.zoom, start.turn], (len(first), 1))
    correlation = np.empty(len(first))

    def some(begin: int) -> None:
        at = slice(begin, begin + _AT_ONCE)
        correlation[at], views[at] = _aligned(images, first[at], second[at], mirrored[at], views[at])

    with concurrent.futures.ThreadPoolExecutor(parallel.usable_cores()) as threads:
        list(threads.map(some, range(0, len(first), _AT_ONCE)))
    return Placed(correlation, views)


def _aligned(
    images: np.ndarray, first: np.ndarray, second: np.ndarray, mirrored: np.ndarray, views: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    ones = windows(np.where(mirrored[:, None, None], images[first][:, :, ::-1], images[first]))
    template = ones.astype(np.float32)
    views = views.copy()
    best, places = np.full(len(first), -np.inf), views.copy()
    led = np.arange(len(first))
    for number in range(_STEPS):
        step, fit = _step(images, template[led], second[led], views[led])
        better = fit > best[led]
        best[led[better]], places[led[better]] = fit[better], views[led[better]]
        views[led] += step
        views[led, 2] = np.clip(views[led, 2], *_ZOOMS)
        if number + 1 == _HOPEFUL_AFTER:
            led = led[best[led] >= _HOPEFUL]
    # The last step's place has not been measured yet.
    ends = [np.rint(each / _ROUNDED) * _ROUNDED for each in (places, views)]
    measured = [_correlation(ones, _warped(images, second, each, 0).reshape(ones.shape)) for each in ends]
    last = measured[1] > measured[0]
    return np.where(last, measured[1], measured[0]), np.where(last[:, None], ends[1], ends[0])


def _step(
    images: np.ndarray, template: np.ndarray, second: np.ndarray, views: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The change of the `views` that would bring the second images closest to `template`, were they linear in it; and
    the correlation as they are.
    """
    around = _warped(images, second, views, 1).astype(np.float32)
    window = around[:, 1:-1, 1:-1].reshape(template.shape)
    across = ((around[:, 1:-1, 2:] - around[:, 1:-1, :-2]) / 2).reshape(template.shape)
    along = ((around[:, 2:, 1:-1] - around[:, :-2, 1:-1]) / 2).reshape(template.shape)
    zoom, turn = views[:, 2:3].astype(np.float32), views[:, 3:4].astype(np.float32)
    cos, sin = np.cos(turn), np.sin(turn)
    right, down = (cos * across - sin * along) / zoom, (sin * across + cos * along) / zoom
    offsets = (np.arange(WINDOW) - (WINDOW - 1) / 2).astype(np.float32)
    rows, columns = (each.ravel() for each in np.meshgrid(offsets, offsets, indexing="ij"))
    x, y = cos * columns - sin * rows, sin * columns + cos * rows
    # window + changes @ step = contrast * template + brightness
    changes = [right, down, right * x + down * y, zoom * (down * x - right * y), template, np.ones_like(window)]
    matrix = np.stack(changes, axis=1)  # (k, 6, pixels)
    normal = np.matmul(matrix, matrix.transpose(0, 2, 1)).astype(np.float64)
    diagonal = np.arange(6)
    normal[:, diagonal, diagonal] *= 1 + _DAMPING
    normal[:, diagonal, diagonal] += 1e-6
    solved = np.linalg.solve(normal, np.matmul(matrix, window[:, :, None]).astype(np.float64))[:, :4, 0]
    return np.clip(-solved, -_LONGEST_STEP, _LONGEST_STEP), _correlation(template, window)


def _warped(images: np.ndarray, which: np.ndarray, views: np.ndarray, margin: int) -> np.ndarray:
    """The windows of the images under the views, with a margin: (k, side, side) uint8."""
    side = WINDOW + 2 * margin
    cos, sin = views[:, 2] * np.cos(views[:, 3]), views[:, 2] * np.sin(views[:, 3])
    middle, half = (SIDE - 1) / 2, (side - 1) / 2
    matrices = np.empty((len(views), 2, 3))
    matrices[:, 0] = np.stack([cos, -sin, middle + views[:, 0] - (cos - sin) * half], axis=1)
    matrices[:, 1] = np.stack([sin, cos, middle + views[:, 1] - (cos + sin) * half], axis=1)
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
