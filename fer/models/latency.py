"""How long models take, side by side: they take turns in one process, so that a busy moment strikes all of them."""

import time
from collections.abc import Callable, Sequence

import numpy as np

_WARM_UP = 3  # calls, of which the first one compiles
_LEAST, _MOST = 15, 101  # rounds


def interleaved(calls: Sequence[Callable[[], object]], seconds: float) -> np.ndarray:
    """(calls, rounds) seconds of each call: each has its turn in a round, every other time the last one first.

    As many rounds as fit into `seconds`, but at least 15 and at most 101.
    """
    for call in calls:
        for _ in range(_WARM_UP):
            call()
    rounds: list[list[float]] = []
    until = time.perf_counter() + seconds
    while len(rounds) < _LEAST or (len(rounds) < _MOST and time.perf_counter() < until):
        taken = [0.0] * len(calls)
        order = range(len(calls)) if len(rounds) % 2 else reversed(range(len(calls)))
        for turn in order:
            began = time.perf_counter()
            calls[turn]()
            taken[turn] = time.perf_counter() - began
        rounds.append(taken)
    return np.array(rounds).T


def median_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The interval of the median of (N,) values by their order alone, whatever their distribution is.

    Each value is below the true median with probability 1/2, so that the number of those is binomial.
    """
    from scipy import stats

    ordered = np.sort(values)
    cut = int(stats.binom.ppf((1 - confidence) / 2, len(ordered), 0.5))  # of as many there may be too few below it
    cut = max(1, min(cut, (len(ordered) + 1) // 2))
    return float(ordered[cut - 1]), float(ordered[-cut])
