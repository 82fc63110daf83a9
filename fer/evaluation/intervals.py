"""Intervals at 95 %: Wilson's for shares, and the bootstrap's, stratified by class (Efron 1979,
doi:10.1214/aos/1176344552).

Each class is drawn as often as it is there: how many images of it the test has was decided, not drawn, and a rare class
is never missing from a draw.
"""

from collections.abc import Callable

import numpy as np

CONFIDENCE = 0.95
_SAMPLES = 2_000
_SEED = 0
_AT_ONCE = 1 << 21  # rows that are drawn at once
_EXACT = 2.0**24  # values are rounded to its inverse, so that their sums are the same in whatever order they are added


def wilson(n_right: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share (1927, doi:10.1080/01621459.1927.10502953)."""
    from scipy import stats

    # The test's p-value, which is not asked for, is found at once where the share to test is the share itself.
    interval = stats.binomtest(n_right, n, n_right / max(n, 1)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def of_matrix(
    matrix: np.ndarray,
    value: Callable[[np.ndarray], np.ndarray],
    confidence: float = CONFIDENCE,
    samples: int = _SAMPLES,
    seed: int = _SEED,
) -> tuple[float, float]:
    """The percentile interval of `value`, a function of confusion matrices (..., classes, classes), of an image at
    least.

    Drawing a class's rows with replacement is drawing the cells of its row from a multinomial, which needs no rows.
    """
    draw = np.random.default_rng(seed)
    rows = [draw.multinomial(row.sum(), row / max(row.sum(), 1), size=samples) for row in np.asarray(matrix, np.int64)]
    return percentiles(value(np.stack(rows, axis=1)), confidence)


def percentiles(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The middle part of (samples,) values."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def mean_draws(values: np.ndarray, class_indexes: np.ndarray, samples: int = _SAMPLES, seed: int = _SEED) -> np.ndarray:
    """(samples, K) means of (N, K) values of images of (N,) classes, each class drawn with replacement."""
    draw = np.random.default_rng(seed)
    order = np.argsort(class_indexes, kind="stable")
    _, starts, counts = np.unique(class_indexes[order], return_index=True, return_counts=True)
    n_images = len(order)
    at_once = max(1, _AT_ONCE // n_images)
    rounded = np.round(values[order] * _EXACT) / _EXACT
    means = np.empty((samples, values.shape[1]))
    for first in range(0, samples, at_once):
        n_draws = min(at_once, samples - first)
        rows = np.concatenate(
            [start + draw.integers(0, count, (n_draws, count)) for start, count in zip(starts, counts, strict=True)],
            axis=1,
        )
        rows += n_images * np.arange(n_draws)[:, np.newaxis]
        times = np.bincount(rows.ravel(), minlength=n_draws * n_images).reshape(n_draws, n_images)
        means[first : first + n_draws] = times.astype(np.float64) @ rounded / n_images
    return means
