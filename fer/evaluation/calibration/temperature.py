"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): softmax(log p / T), one T for all images and classes.

T above 1 makes a model less sure. The order of an image's classes, and so its answer, stays as it is.
"""

import math
from typing import NamedTuple

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0
_LEAST = np.finfo(np.float32).tiny  # a probability of 0 has no logarithm
_TOLERANCE, _AT_BOUND = 1e-6, 1e-3  # of log T
_GAIN = 1e-9  # of the log loss, which rounding alone makes too


class Fit(NamedTuple):
    """The temperature, and why it is 1 where none could be found; empty otherwise."""

    temperature: float
    why_one: str


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """(N, classes) float32 of (N, classes) probabilities; at a temperature of 1 these themselves."""
    if temperature == 1:
        return np.asarray(probabilities, np.float32)
    values = _softmax(_logarithms(probabilities) / temperature).astype(np.float32)
    is_answer, highest = _is_highest(probabilities), values.max(axis=1, keepdims=True)
    was_tied = (_is_highest(values) & ~is_answer).any(axis=1, keepdims=True)  # by rounding to float32
    return np.where(is_answer & was_tied, np.nextafter(highest, np.float32(2)), values)


def fit(truth: np.ndarray, probabilities: np.ndarray) -> Fit:
    """The temperature of the least log loss of (N,) class indexes and (N, classes) probabilities, N at least 1.

    1 where there is none between the bounds: of images that are all right, each more confident model looks better.
    """
    from scipy import optimize

    logarithms, rows = _logarithms(probabilities), np.arange(len(truth))

    def log_loss(log_temperature: float) -> float:
        scaled_logarithms = logarithms / math.exp(log_temperature)
        highest = scaled_logarithms.max(axis=1)
        normaliser = highest + np.log(np.exp(scaled_logarithms - highest[:, np.newaxis]).sum(axis=1))
        return float((normaliser - scaled_logarithms[rows, truth]).mean())

    low, high = math.log(LOWEST), math.log(HIGHEST)
    found = optimize.minimize_scalar(log_loss, bounds=(low, high), method="bounded", options={"xatol": _TOLERANCE})
    best = float(found.x)
    if log_loss(0.0) - log_loss(best) < _GAIN:
        return Fit(1.0, "")
    if min(best - low, high - best) < _AT_BOUND:
        return Fit(1.0, _no_best(truth, logarithms))
    return Fit(math.exp(best), "")


def _no_best(truth: np.ndarray, logarithms: np.ndarray) -> str:
    n_right = int((logarithms.argmax(axis=1) == truth).sum())
    return (
        f"no temperature from {LOWEST:g} to {HIGHEST:g} is the best one: of the {len(truth):,} images {n_right:,} are "
        "right"
    )


def _is_highest(values: np.ndarray) -> np.ndarray:
    return values == values.max(axis=1, keepdims=True)


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), _LEAST))


def _softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
