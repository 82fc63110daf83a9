"""How good a model is on each slice, beside the rest of the images."""

import collections
from collections.abc import Sequence

import numpy as np

from fer.engine.records import Record
from fer.evaluation import intervals, metrics
from fer.evaluation.comparing import differences
from fer.evaluation.predictions import Predictions
from fer.evaluation.slices.columns import Column, Kind, slice_name

FILE = "slices.json"
LEVEL = 0.05  # of p-values after correction


class Slice(Record):
    """A group of images beside all others of the evaluation. Intervals are at 95 %.

    `accuracy_by_classes` is what the model's recall of each class comes to with this slice's classes: where the slice
    is that bad too, it is its classes that are hard. `difference` is accuracy here minus that of the rest, with
    Newcombe's interval; `p_value` that of Fisher's exact test, two-sided; `p_corrected` after Holm's correction for the
    number of slices. `is_worse`: by the latter at 0.05.
    """

    column: str
    kind: Kind
    group: str
    n_images: int
    share: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    accuracy_by_classes: float
    macro_f1: float
    accuracy_of_rest: float
    difference: float
    difference_interval: tuple[float, float]
    p_value: float
    p_corrected: float
    is_worse: bool

    @property
    def name(self) -> str:
        """The slice in words."""
        return slice_name(self.kind, self.column, self.group)


class ColumnFigures(Record):
    """What a column divides: its groups, the images without one, and the groups that are too small to be looked at.

    `gap` is the largest difference in accuracy between its groups that are large enough, None with fewer than two.
    """

    name: str
    kind: Kind
    n_groups: int
    n_unknown: int
    n_small_groups: int
    n_images_of_small_groups: int
    gap: float | None


class Slices(Record):
    """All slices of an evaluation, the worst first: by the upper end of the accuracy's interval.

    `not_evaluated` says what the data does not allow to be looked at.
    """

    n_images: int
    accuracy: float
    min_slice_size: int
    slices: tuple[Slice, ...]
    columns: tuple[ColumnFigures, ...]
    not_evaluated: tuple[str, ...]


def measure(rows: Predictions, columns: Sequence[Column], min_slice_size: int, not_evaluated: Sequence[str]) -> Slices:
    """The figures of the slices that have `min_slice_size` images, of predictions of an image at least."""
    right = rows.predicted == rows.class_indexes
    recalls = metrics.class_scores(metrics.confusion(rows.class_indexes, rows.predicted, len(rows.classes)))[1]
    found, summaries = [], []
    for column in columns:
        counts = collections.Counter(column.groups.tolist())
        scores, gap = _by_group(rows, column, {group for group in counts if counts[group] >= min_slice_size})
        for group in column.slices:
            if min_slice_size <= counts[group] < len(right):
                is_member = column.groups == group
                by_classes = float(recalls[rows.class_indexes[is_member]].mean())
                found.append((column, group, is_member, scores[group], by_classes))
        small = [counts[group] for group in column.slices if counts[group] < min_slice_size]
        summaries.append(
            ColumnFigures(
                name=column.name,
                kind=column.kind,
                n_groups=len(column.slices),
                n_unknown=counts[None],
                n_small_groups=len(small),
                n_images_of_small_groups=sum(small),
                gap=gap,
            )
        )
    p_values = [_fisher(right, is_member) for _, _, is_member, _, _ in found]
    slices = [
        _slice(right, *one, p_value=p_value, p_corrected=corrected)
        for one, p_value, corrected in zip(found, p_values, differences.holm(p_values), strict=True)
    ]
    return Slices(
        n_images=len(right),
        accuracy=float(right.mean()),
        min_slice_size=min_slice_size,
        slices=tuple(sorted(slices, key=lambda one: (one.accuracy_interval[1], one.column, one.group))),
        columns=tuple(summaries),
        not_evaluated=tuple(not_evaluated),
    )


def _by_group(
    rows: Predictions, column: Column, large: set[str | None]
) -> tuple[dict[str, dict[str, float]], float | None]:
    """Accuracy and macro-F1 of each of the `large` groups, and the largest difference in accuracy between them."""
    from fairlearn import metrics as fairness

    chosen = np.array([group is not None and group in large for group in column.groups])
    if not chosen.any():
        return {}, None

    def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
        return float(np.mean(np.asarray(truth) == np.asarray(predicted)))

    def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
        matrix = metrics.confusion(np.asarray(truth), np.asarray(predicted), len(rows.classes))
        return float(metrics.macro_f1(matrix))

    frame = fairness.MetricFrame(
        metrics={"accuracy": accuracy, "macro_f1": macro_f1},
        y_true=rows.class_indexes[chosen],
        y_pred=rows.predicted[chosen],
        sensitive_features={column.name: column.groups[chosen].astype(str)},
    )
    by_group = frame.by_group.to_dict("index")
    gap = float(frame.difference(method="between_groups")["accuracy"]) if len(by_group) > 1 else None
    return by_group, gap


def _fisher(right: np.ndarray, is_member: np.ndarray) -> float:
    """The two-sided p-value that a slice is as often right as the rest (Fisher's exact test, 1922)."""
    from scipy import stats

    inside, outside = right[is_member], right[~is_member]
    table = [[int(part.sum()), int((~part).sum())] for part in (inside, outside)]
    return float(stats.fisher_exact(table).pvalue)


def _slice(
    right: np.ndarray,
    column: Column,
    group: str,
    is_member: np.ndarray,
    scores: dict[str, float],
    by_classes: float,
    *,
    p_value: float,
    p_corrected: float,
) -> Slice:
    n, n_rest = int(is_member.sum()), int((~is_member).sum())
    n_right, n_right_of_rest = int(right[is_member].sum()), int(right[~is_member].sum())
    difference = differences.unpaired_interval(n_right_of_rest, n_rest, n_right, n)
    return Slice(
        column=column.name,
        kind=column.kind,
        group=group,
        n_images=n,
        share=n / len(right),
        accuracy=scores["accuracy"],
        accuracy_interval=intervals.wilson(n_right, n),
        accuracy_by_classes=by_classes,
        macro_f1=scores["macro_f1"],
        accuracy_of_rest=n_right_of_rest / n_rest,
        difference=difference.value,
        difference_interval=difference.interval,
        p_value=p_value,
        p_corrected=p_corrected,
        is_worse=p_corrected <= LEVEL and difference.value < 0,
    )
