"""What two models say of the same images: B minus A, with intervals at 95 %, overall, by class and by slice.

Exchanging the two mirrors every figure exactly: a difference changes its sign, its interval its ends and signs, the
gained are the lost. A model beside itself differs in nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fer import errors
from fer.engine.records import Record
from fer.evaluation import intervals, metrics
from fer.evaluation.predictions import Predictions

_SAMPLES = 10_000  # of the bootstrap


class Estimate(Record):
    """A figure with its interval at 95 %."""

    value: float
    interval: tuple[float, float]

    def negated(self) -> "Estimate":
        """The same of A minus B."""
        return Estimate(value=_minus(self.value), interval=(_minus(self.interval[1]), _minus(self.interval[0])))


class GroupDifference(Record):
    """A class, whose accuracy is its recall, or a slice. `p_value` is of McNemar's exact test, two-sided; `p_corrected`
    the same after Holm's correction for the number of groups.
    """

    name: str
    n_images: int
    accuracy_a: float
    accuracy_b: float
    difference: Estimate  # by Newcombe's hybrid score method, which stays honest where few images differ
    n_gained: int
    n_lost: int
    p_value: float
    p_corrected: float


class Differences(Record):
    """B minus A on `n_images`. `n_gained` are images that B alone has right, `n_lost` those that A alone has right,
    `n_other_wrong` those of which both say something wrong, but not the same.

    The intervals of `accuracy` and `macro_f1` are those of the paired bootstrap, `p_value` that of McNemar's exact
    test, two-sided.
    """

    n_images: int
    classes: tuple[str, ...]
    accuracy_a: Estimate
    accuracy_b: Estimate
    macro_f1_a: float
    macro_f1_b: float
    accuracy: Estimate
    macro_f1: Estimate
    p_value: float
    n_gained: int
    n_lost: int
    n_both_right: int
    n_both_wrong: int
    n_other_wrong: int
    per_class: tuple[GroupDifference, ...]
    slices: tuple[GroupDifference, ...] = ()


class Shared(NamedTuple):
    """The images that two models both answered, with the same truth: class indexes (N,), by `classes`.

    `n_relabelled`: images of both with another label, which are left out.
    """

    image_ids: tuple[str, ...]
    truth: np.ndarray
    a: np.ndarray
    b: np.ndarray
    classes: tuple[str, ...]
    n_relabelled: int = 0

    @property
    def gained(self) -> np.ndarray:
        """(N,) bool: right by B, wrong by A."""
        return (self.a != self.truth) & (self.b == self.truth)

    @property
    def lost(self) -> np.ndarray:
        """(N,) bool: right by A, wrong by B."""
        return (self.a == self.truth) & (self.b != self.truth)


def shared(a: Predictions, b: Predictions) -> Shared:
    """The images of both, in the order of their image_id. Raises ConfigError for other classes."""
    if set(a.classes) != set(b.classes):
        raise errors.ConfigError(
            "Two models must know the same classes to be compared.",
            received=f"{', '.join(a.classes)}; and {', '.join(b.classes)}",
            todo="compare models of the same classes",
        )
    rows_a, rows_b = ({image_id: row for row, image_id in enumerate(of.image_ids)} for of in (a, b))
    image_ids = sorted(rows_a.keys() & rows_b.keys())
    in_a = np.array([rows_a[image_id] for image_id in image_ids], np.int64)
    in_b = np.array([rows_b[image_id] for image_id in image_ids], np.int64)
    order = np.array([a.classes.index(name) for name in b.classes])
    truth, truth_of_b = a.class_indexes[in_a], order[b.class_indexes[in_b]]
    same = truth == truth_of_b
    return Shared(
        image_ids=tuple(image_id for image_id, is_same in zip(image_ids, same.tolist(), strict=True) if is_same),
        truth=truth[same],
        a=a.predicted[in_a][same],
        b=order[b.predicted[in_b]][same],
        classes=a.classes,
        n_relabelled=int((~same).sum()),
    )


def between(images: Shared, slices: Mapping[str, np.ndarray] | None = None) -> Differences:
    """The differences on these images; `slices`: name -> (N,) bool. Raises ContractViolation without an image."""
    n = len(images.truth)
    if not n:
        raise errors.ContractViolation(
            "Two models must have answered the same images to be compared.",
            received="none",
            todo="compare models that were tested on the same data",
        )
    n_classes, right_a, right_b = len(images.classes), images.a == images.truth, images.b == images.truth
    accuracy, macro_f1 = _bootstrap(images)
    n_gained, n_lost = int(images.gained.sum()), int(images.lost.sum())
    of_class = {name: images.truth == index for index, name in enumerate(images.classes)}
    return Differences(
        n_images=n,
        classes=images.classes,
        accuracy_a=_share(right_a),
        accuracy_b=_share(right_b),
        macro_f1_a=float(metrics.macro_f1(metrics.confusion(images.truth, images.a, n_classes))),
        macro_f1_b=float(metrics.macro_f1(metrics.confusion(images.truth, images.b, n_classes))),
        accuracy=accuracy,
        macro_f1=macro_f1,
        p_value=mcnemar(n_gained, n_lost),
        n_gained=n_gained,
        n_lost=n_lost,
        n_both_right=int((right_a & right_b).sum()),
        n_both_wrong=int((~right_a & ~right_b).sum()),
        n_other_wrong=int((~right_a & ~right_b & (images.a != images.b)).sum()),
        per_class=_groups(right_a, right_b, of_class),
        slices=_groups(right_a, right_b, slices or {}),
    )


def mcnemar(n_gained: int, n_lost: int) -> float:
    """The two-sided p-value of McNemar's exact test (1947, doi:10.1007/BF02295996) that neither is better."""
    from scipy import stats

    n = n_gained + n_lost
    return float(stats.binomtest(min(n_gained, n_lost), n).pvalue) if n else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values after Holm's correction (1979): the chance of any false alarm among them stays below the level."""
    order = np.argsort(p_values, kind="stable")
    n = len(order)
    corrected = np.empty(n)
    corrected[order] = np.minimum(np.maximum.accumulate((n - np.arange(n)) * np.asarray(p_values)[order]), 1)
    return [float(p) for p in corrected]


def paired_interval(n_both: int, n_lost: int, n_gained: int, n_neither: int) -> Estimate:
    """B's share minus A's of the same images, by Newcombe's method 10 (1998, Statistics in Medicine 17:2635)."""
    n = n_both + n_lost + n_gained + n_neither
    n_a, n_b = n_both + n_lost, n_both + n_gained
    (low_a, high_a), (low_b, high_b) = intervals.wilson(n_a, n), intervals.wilson(n_b, n)
    margins = n_a * n_b * (n - n_a) * (n - n_b)
    product = float(n_both * n_neither - n_lost * n_gained)
    product = product if product < 0 else max(product - n / 2, 0)
    correlation = product / math.sqrt(margins) if margins else 0.0

    def reach(down: float, up: float) -> float:
        return math.sqrt(max(down * down + up * up - 2 * correlation * (down * up), 0))

    difference, a, b = (n_b - n_a) / n, n_a / n, n_b / n
    return Estimate(
        value=difference,
        interval=(
            max(difference - reach(b - low_b, high_a - a), -1.0),
            min(difference + reach(high_b - b, a - low_a), 1.0),
        ),
    )


def unpaired_interval(n_right_a: int, n_a: int, n_right_b: int, n_b: int) -> Estimate:
    """B's share minus A's of two sets of images, by Newcombe's method 10 (1998, Statistics in Medicine 17:873)."""
    (low_a, high_a), (low_b, high_b) = intervals.wilson(n_right_a, n_a), intervals.wilson(n_right_b, n_b)
    a, b = n_right_a / n_a, n_right_b / n_b
    difference = b - a
    return Estimate(
        value=difference,
        interval=(difference - math.hypot(b - low_b, high_a - a), difference + math.hypot(high_b - b, a - low_a)),
    )


def _bootstrap(images: Shared) -> tuple[Estimate, Estimate]:
    """Of accuracy and macro-F1; drawn for the one of both orders of the models whose table of answers is smaller. Where
    the tables are equal neither model is ahead, and the interval reaches as far to either side.
    """
    forward, backward = (
        _cells(images.truth, first, second) for first, second in ((images.a, images.b), (images.b, images.a))
    )
    is_swapped = backward < forward
    first, second = (images.b, images.a) if is_swapped else (images.a, images.b)
    rows = np.lexsort((second, first, images.truth))  # what is drawn are places: equal answers have equal ones
    drawn = metrics.paired_difference(
        images.truth[rows], first[rows], second[rows], len(images.classes), samples=_SAMPLES
    )
    estimates = (
        Estimate(value=drawn.accuracy, interval=drawn.accuracy_interval()),
        Estimate(value=drawn.macro_f1, interval=drawn.macro_f1_interval()),
    )
    if forward == backward:
        return _centred(estimates[0]), _centred(estimates[1])
    return (estimates[0].negated(), estimates[1].negated()) if is_swapped else estimates


def _centred(estimate: Estimate) -> Estimate:
    reach = (estimate.interval[1] - estimate.interval[0]) / 2
    return Estimate(value=0.0, interval=(_minus(reach), reach))


def _cells(*answers: np.ndarray) -> list[list[int]]:
    cells, counts = np.unique(np.stack(answers), axis=1, return_counts=True)
    return np.vstack([cells, counts]).T.tolist()


def _share(right: np.ndarray) -> Estimate:
    n_right, n = int(right.sum()), len(right)
    return Estimate(value=n_right / n, interval=intervals.wilson(n_right, n))


def _groups(right_a: np.ndarray, right_b: np.ndarray, members: Mapping[str, np.ndarray]) -> tuple[GroupDifference, ...]:
    rows = []
    for name, is_member in members.items():
        a, b = right_a[is_member], right_b[is_member]
        n = len(a)
        if n:
            n_gained, n_lost = int((~a & b).sum()), int((a & ~b).sum())
            estimate = paired_interval(int((a & b).sum()), n_lost, n_gained, int((~a & ~b).sum()))
            rows.append((name, n, float(a.mean()), float(b.mean()), estimate, n_gained, n_lost))
    p_values = [mcnemar(n_gained, n_lost) for *_, n_gained, n_lost in rows]
    return tuple(
        GroupDifference(
            name=name,
            n_images=n,
            accuracy_a=a,
            accuracy_b=b,
            difference=estimate,
            n_gained=n_gained,
            n_lost=n_lost,
            p_value=p_value,
            p_corrected=corrected,
        )
        for (name, n, a, b, estimate, n_gained, n_lost), p_value, corrected in zip(
            rows, p_values, holm(p_values), strict=True
        )
    )


def _minus(value: float) -> float:
    return 0.0 - value  # no negative zero
