"""Pictures that something is wrong with, for the demo to plant and the checks to find. (H, W) uint8 grey throughout."""

import numpy as np

from fer.images import prepare

ODD_HEIGHT_PX, ODD_WIDTH_PX = 60, 300


def retaken(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same picture once more: other contrast and brightness, some noise, moved by at most a pixel each way.

    It moves as far as leaves their correlation at 0.96: a whole pixel takes sharp faces down to 0.6.
    """
    down, right = rng.uniform(-1, 1, 2)
    contrast, brightness = rng.uniform(0.85, 1.15), rng.uniform(-12, 12)
    noise = rng.normal(0, rng.uniform(0.5, 2.0), face.shape)
    for reach in (1.0, 0.5, 0.25, 0.0):
        moved = _moved(_moved(face.astype(np.float64), reach * down).T, reach * right).T
        taken = _grey((moved - moved.mean()) * contrast + moved.mean() + brightness + noise)
        if np.corrcoef(face.ravel(), taken.ravel())[0, 1] >= 0.96:
            break
    return taken


def darkened(face: np.ndarray) -> np.ndarray:
    """Underexposed: 99 of 100 pixels are at most 50."""
    low, high = np.quantile(face, (0, 0.99), method="inverted_cdf")
    return _grey((face.astype(np.float64) - low) * 50 / max(1.0, high - low))


def washed_out(face: np.ndarray) -> np.ndarray:
    """Overexposed: 95 of 100 pixels are at least 210."""
    low, high = np.quantile(face, (0.05, 1), method="inverted_cdf")
    return _grey(210 + (face.astype(np.float64) - low) * 45 / max(1.0, high - low))


def blurred(face: np.ndarray) -> np.ndarray:
    """Out of focus."""
    height, width = face.shape
    return prepare.prepare(face, height, width, 15, 2.5)


def stretched(face: np.ndarray) -> np.ndarray:
    """Of another size and shape than every other picture."""
    return prepare.prepare(face, ODD_HEIGHT_PX, ODD_WIDTH_PX, 0, 0)


def stripes(side_px: int, rng: np.random.Generator) -> np.ndarray:
    """Flat stripes of five greys: hardly more than 2 bits."""
    first, last = rng.uniform(20, 80), rng.uniform(150, 230)
    greys = np.linspace(first, last, 5)[np.arange(side_px) // 4 % 5]
    picture = np.broadcast_to(_grey(greys), (side_px, side_px))
    return np.ascontiguousarray(picture if rng.random() < 0.5 else picture.T)


def page(side_px: int, rng: np.random.Generator) -> np.ndarray:
    """Lines of words, too small to be read."""
    sheet = np.full((side_px, side_px), 215.0)
    for top in range(3, side_px - 4, 5):
        column = int(rng.integers(2, 6))
        while column < side_px - 4:
            letters = int(rng.integers(2, 8))
            sheet[top : top + 3, column : min(column + letters, side_px - 2)] -= rng.uniform(60, 170, (3, 1))
            column += letters + 2
    return _grey(sheet + rng.normal(0, 4, sheet.shape))


def static(side_px: int, rng: np.random.Generator) -> np.ndarray:
    """A screen without a signal."""
    return rng.integers(0, 256, (side_px, side_px), dtype=np.uint8)


def _moved(values: np.ndarray, rows: float) -> np.ndarray:
    """Down by a share of a row, up for a negative one; the border is repeated."""
    beside = np.concatenate([values[:1], values[:-1]]) if rows > 0 else np.concatenate([values[1:], values[-1:]])
    return (1 - abs(rows)) * values + abs(rows) * beside


def _grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
