"""The power of a comparison of two models: how often the gate passes a candidate that is as good, or truly worse.

Of n images, d is the share on which exactly one of the two is right. A candidate whose accuracy is truly better by
`delta` shows a difference of mean delta and variance (d - delta²) / n, as each image counts -1, 0 or 1 (the comparison
behind McNemar's test, 1947, doi:10.1007/BF02295996). It passes where the lower bound, the difference minus z of its
standard errors, is -margin or more.

Approximate are: the normal distribution of the differences; the bootstrap's bound, taken as that of a normal one; d and
the standard error of macro-F1's difference (by the bootstrap of this very comparison, so with the test's own count of
each class), taken as those of any such candidate; and what is worse by some points, taken to be so in macro-F1 too.
"""

import math
import statistics
from collections.abc import Callable

import numpy as np

from fer.evaluation.refs import Power

LOSS = 0.02  # of accuracy and macro-F1: what is stated of a candidate that is truly worse
_REFUSED = 0.95  # of candidates with at least the loss `refused_from`
_PASSED, _CAUGHT = 0.95, 0.99  # of equals and of those worse by LOSS, by as many images as `images_needed`
_USUAL_SHARE = 0.2  # d, assumed where there is no comparison yet
_FAR = 8.0  # standard deviations
_POINTS = 801  # of an integral
_HALVINGS = 16  # of a loss of 1
_NORMAL = statistics.NormalDist()


def of_comparison(
    n_images: int, n_discordant: int, *, macro_f1_se: float, correlation: float, margin: float, confidence: float
) -> Power:
    """The power of a comparison on `n_images`, of which exactly one model is right on `n_discordant`.

    `macro_f1_se`: the standard error of the difference in macro-F1; `correlation`: of it with the one in accuracy.
    """

    def passes(loss: float) -> float:
        # One that is worse by `loss` is wrong alone on as many images at least.
        variance = max(n_discordant / n_images, loss) - loss**2
        se = math.sqrt(max(variance, 0.0) / n_images)
        se_f1 = macro_f1_se if n_discordant / n_images >= loss else max(macro_f1_se, se)
        z = _NORMAL.inv_cdf(confidence)
        return _both_above(_least(loss, se, margin, z), _least(loss, se_f1, margin, z), correlation)

    return Power(
        n_images=n_images,
        n_discordant=n_discordant,
        margin=margin,
        confidence=confidence,
        loss=LOSS,
        equal_passes=round(passes(0.0), 4),
        worse_passes=round(passes(LOSS), 4),
        refused_from=round(_first_below(passes, 1 - _REFUSED), 4),
        images_needed=images_needed(n_discordant / n_images),
    )


def images_needed(discordant: float, loss: float = LOSS) -> int:
    """With how many images some margin passes 95 % of equals and 1 % of those worse by `loss`, in accuracy alone."""
    z = _NORMAL.inv_cdf(_PASSED) + _NORMAL.inv_cdf(_CAUGHT)
    return math.ceil(discordant * (z / loss) ** 2)


def expected(n_images: int, margin: float, confidence: float, discordant: float = _USUAL_SHARE) -> float:
    """How often an equally good model passes, in accuracy alone: what is known before there is a candidate."""
    se = math.sqrt(discordant / n_images)
    return 1 - _NORMAL.cdf(_least(0.0, se, margin, _NORMAL.inv_cdf(confidence)))


def _least(loss: float, se: float, margin: float, z: float) -> float:
    """The least difference that passes, in standard errors from its mean."""
    room = margin - loss
    if se == 0:
        return -math.inf if room >= 0 else math.inf
    return z - room / se


def _both_above(first: float, second: float, correlation: float) -> float:
    """The probability that two standard normal variables are above `first` and `second`."""
    if max(first, second) >= _FAR:
        return 0.0
    if min(first, second) <= -_FAR:
        return 1 - _NORMAL.cdf(max(first, second))
    rho = min(max(correlation, -0.999), 0.999)
    x = np.linspace(first, _FAR, _POINTS)
    given = np.array([_NORMAL.cdf(value) for value in (rho * x - second) / math.sqrt(1 - rho**2)])
    return float(np.trapezoid(np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * given, x))


def _first_below(passes: Callable[[float], float], share: float) -> float:
    """The smallest loss at which no more than `share` pass."""
    low, high = 0.0, 1.0
    if passes(low) <= share:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if passes(middle) <= share else (middle, high)
    return high
