"""A candidate against a released model class by class: precision, recall and F1, paired, each with an interval.

The intervals are at 95 % and of each difference alone: of many classes one may well lie beside 0 by chance.
"""

import numpy as np

from fer.engine.records import Record
from fer.evaluation import metrics
from fer.evaluation.gates.comparison import Comparison


class Change(Record):
    """A score of the released model, of the candidate, and candidate minus released with its interval at 95 %."""

    released: float
    candidate: float
    difference: float
    interval: tuple[float, float]


class ClassChange(Record):
    """A class, or the average over those with images, and how many images it has; `precision` and so on: 0 to 1."""

    name: str
    support: int
    precision: Change
    recall: Change
    f1: Change


class Changes(Record):
    """What changed from a released model to the candidate, on the images that neither was trained on.

    `lost` are the images that the released model has right and the candidate wrong, `gained` the other way round.
    """

    n_images: int
    lost: int
    gained: int
    accuracy: Change
    macro: ClassChange
    classes: tuple[ClassChange, ...]


def changes(comparison: Comparison) -> Changes:
    """Compute them of a comparison that has images; a class without any has scores of 0."""
    old, new = metrics.paired_matrices(
        comparison.truth,
        comparison.old,
        comparison.new,
        len(comparison.classes),
        samples=comparison.config.samples,
        seed=comparison.config.seed,
    )
    released, candidate = metrics.class_scores(old), metrics.class_scores(new)
    support = candidate[3][0].astype(int)
    rows = [
        ClassChange(
            name=name,
            support=support[index],
            **{
                score: _change(released[at][:, index], candidate[at][:, index])
                for at, score in enumerate(("precision", "recall", "f1"))
            },
        )
        for index, name in enumerate(comparison.classes)
    ]
    macro = ClassChange(
        name="macro average",
        support=support.sum(),
        **{
            score: _change(_macro(released[at], released[3]), _macro(candidate[at], candidate[3]))
            for at, score in enumerate(("precision", "recall", "f1"))
        },
    )
    n = len(comparison.truth)
    return Changes(
        n_images=n,
        lost=int(comparison.lost.sum()),
        gained=int(comparison.gained.sum()),
        accuracy=_change(np.trace(old, axis1=1, axis2=2) / n, np.trace(new, axis1=1, axis2=2) / n),
        macro=macro,
        classes=tuple(rows),
    )


def _macro(scores: np.ndarray, support: np.ndarray) -> np.ndarray:
    return scores.mean(axis=-1, where=support > 0)


def _change(released: np.ndarray, candidate: np.ndarray) -> Change:
    """Of values (1 + samples,), the first of which is that of the images as they are."""
    draws = candidate - released
    low, high = np.quantile(draws[1:], [(1 - metrics.CONFIDENCE) / 2, (1 + metrics.CONFIDENCE) / 2])
    return Change(
        released=float(released[0]),
        candidate=float(candidate[0]),
        difference=float(draws[0]),
        interval=(float(low), float(high)),
    )
