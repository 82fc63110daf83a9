"""How good predictions are, computed from the predictions Parquet alone.

A confusion matrix is (..., classes, classes) integer: rows are the truth, columns what was predicted. A precision,
recall or F1 whose denominator is 0 counts as 0, as scikit-learn has it. A class without an image says nothing about a
model, and is left out of the macro averages; `absent_classes` lists those left out.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import AliasChoices, Field

from fer.engine.records import Record
from fer.evaluation import intervals, predictions, probabilities
from fer.evaluation.calibration.scores import CalibrationScores
from fer.evaluation.probabilities import ProbabilityScores
from fer.evaluation.refs import Scores

CONFIDENCE = intervals.CONFIDENCE
_SAMPLES = 2_000  # of the paired bootstrap
_DRAWN_AT_ONCE = 1_000_000  # images of its draws
_SEED = 0


class ClassScore(Record):
    """Precision, recall and F1 of a class, or an average of them, and the images behind them."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class Metrics(Record):
    """The metrics of one model on one split. Intervals are at 95 %."""

    classes: tuple[str, ...]
    n_images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro: ClassScore
    macro_f1_interval: tuple[float, float]
    weighted: ClassScore
    absent_classes: tuple[str, ...] = ()  # those without an image, which the macro averages leave out
    per_class: tuple[ClassScore, ...]
    calibration_error: float
    probabilities: ProbabilityScores | None = None  # versions from before it were measured have none
    calibration: CalibrationScores | None = None  # likewise
    deduplicated: Scores | None  # of the split's de-duplicated version; None if it is empty
    deduplicated_probabilities: ProbabilityScores | None = None
    # Versions before flip TTA had this name wrote `flip_averaged`.
    flip_tta: Scores | None = Field(default=None, validation_alias=AliasChoices("flip_tta", "flip_averaged"))
    flip_tta_deduplicated: Scores | None = Field(
        default=None, validation_alias=AliasChoices("flip_tta_deduplicated", "flip_averaged_deduplicated")
    )
    confusion: tuple[tuple[int, ...], ...]

    def with_calibration(self, scores: CalibrationScores | None) -> "Metrics":
        """These, with what calibration did to the probabilities, and the sets."""
        return self.model_copy(update={"calibration": scores})

    def with_flip_tta(self, other: "Metrics") -> "Metrics":
        """These, with `other`: the metrics of the same images by flip TTA."""
        scores = Scores(
            n_images=other.n_images,
            accuracy=other.accuracy,
            accuracy_interval=other.accuracy_interval,
            macro_f1=other.macro.f1,
            macro_f1_interval=other.macro_f1_interval,
            absent_classes=other.absent_classes,
        )
        return self.model_copy(update={"flip_tta": scores, "flip_tta_deduplicated": other.deduplicated})


def from_predictions(path: Path) -> Metrics:
    """Compute the metrics of a predictions Parquet. Raises IntegrityError, ContractViolation."""
    rows = predictions.read(path)
    n_classes, n_images = len(rows.classes), len(rows.class_indexes)
    matrix = confusion(rows.class_indexes, rows.predicted, n_classes)
    precision, recall, f1, support = class_scores(matrix)
    shares = support / n_images

    def average(name: str, weights: np.ndarray) -> ClassScore:
        return ClassScore(
            name=name,
            precision=float(precision @ weights),
            recall=float(recall @ weights),
            f1=float(f1 @ weights),
            support=n_images,
        )

    scores = _overall(matrix, rows.classes)
    clean = confusion(rows.class_indexes[rows.is_clean], rows.predicted[rows.is_clean], n_classes)
    clean_probabilities = None
    if rows.is_clean.any():
        parts = (rows.class_indexes[rows.is_clean], rows.probabilities[rows.is_clean])
        clean_probabilities = probabilities.scores(*parts, rows.classes)
    return Metrics(
        classes=rows.classes,
        n_images=n_images,
        accuracy=scores.accuracy,
        accuracy_interval=scores.accuracy_interval,
        macro=average("macro average", (support > 0) / np.count_nonzero(support)),
        macro_f1_interval=scores.macro_f1_interval,
        weighted=average("weighted average", shares),
        absent_classes=scores.absent_classes,
        per_class=tuple(
            ClassScore(name=name, precision=precision[i], recall=recall[i], f1=f1[i], support=support[i])
            for i, name in enumerate(rows.classes)
        ),
        calibration_error=probabilities.calibration_error(rows.class_indexes, rows.probabilities),
        probabilities=probabilities.scores(rows.class_indexes, rows.probabilities, rows.classes),
        deduplicated=_overall(clean, rows.classes) if clean.any() else None,
        deduplicated_probabilities=clean_probabilities,
        confusion=tuple(tuple(int(n) for n in row) for row in matrix),
    )


def _overall(matrix: np.ndarray, classes: tuple[str, ...]) -> Scores:
    """The scores of a confusion matrix of an image at least."""
    support = matrix.sum(axis=-1).tolist()
    n_images, n_right = int(matrix.sum()), int(np.trace(matrix))
    return Scores(
        n_images=n_images,
        accuracy=n_right / n_images,
        accuracy_interval=intervals.wilson(n_right, n_images),
        macro_f1=float(macro_f1(matrix)),
        macro_f1_interval=intervals.of_matrix(matrix, macro_f1),
        absent_classes=tuple(name for name, count in zip(classes, support, strict=True) if not count),
    )


def confusion(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """(classes, classes) int64 from two (N,) arrays of class indexes."""
    flat = np.asarray(truth, np.int64) * n_classes + predicted
    return np.bincount(flat, minlength=n_classes**2).reshape(n_classes, n_classes)


def macro_f1(matrix: np.ndarray) -> np.ndarray:
    """The mean F1 of the classes that have images, of a confusion matrix or many: (..., classes, classes) -> (...).

    An image that is taken for one of an absent class costs its own class; as the absent one's F1 of 0 it would count
    again, as much as all images of a class that is there.
    """
    _, _, f1, support = class_scores(matrix)
    return f1.mean(axis=-1, where=support > 0)


def class_scores(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall, F1 and support of each class, (..., classes) each, of (..., classes, classes)."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float)
    support, n_predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    return _ratio(right, n_predicted), _ratio(right, support), _ratio(2 * right, support + n_predicted), support


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


@dataclass(frozen=True)
class Difference:
    """Candidate minus champion on the same images, with what the bootstrap's draws say of it: (samples,) each."""

    accuracy: float
    macro_f1: float
    accuracy_draws: np.ndarray
    macro_f1_draws: np.ndarray

    def accuracy_bound(self, confidence: float = CONFIDENCE) -> float:
        """The one-sided lower bound of the difference in accuracy."""
        return float(np.quantile(self.accuracy_draws, 1 - confidence))

    def macro_f1_bound(self, confidence: float = CONFIDENCE) -> float:
        """The one-sided lower bound of the difference in macro-F1."""
        return float(np.quantile(self.macro_f1_draws, 1 - confidence))

    def accuracy_interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The two-sided interval of the difference in accuracy."""
        low, high = np.quantile(self.accuracy_draws, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    def macro_f1_interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The two-sided interval of the difference in macro-F1."""
        low, high = np.quantile(self.macro_f1_draws, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)

    @property
    def macro_f1_se(self) -> float:
        """The standard error of the difference in macro-F1."""
        return float(self.macro_f1_draws.std())

    @property
    def correlation(self) -> float:
        """Of the two differences, over the draws; 0 where one of them does not vary."""
        spreads = float(self.accuracy_draws.std() * self.macro_f1_draws.std())
        common = float(np.cov(self.accuracy_draws, self.macro_f1_draws, ddof=0)[0, 1])
        return common / spreads if spreads else 0.0


def paired_difference(
    truth: np.ndarray,
    champion: np.ndarray,
    candidate: np.ndarray,
    n_classes: int,
    *,
    samples: int = _SAMPLES,
    seed: int = _SEED,
) -> Difference:
    """Compare two models' predictions (N,) of the same images by the paired bootstrap (Efron 1979)."""
    old, new = paired_matrices(truth, champion, candidate, n_classes, samples=samples, seed=seed)
    accuracy = (np.trace(new, axis1=1, axis2=2) - np.trace(old, axis1=1, axis2=2)) / len(truth)
    f1 = macro_f1(new) - macro_f1(old)
    return Difference(float(accuracy[0]), float(f1[0]), accuracy[1:], f1[1:])


def paired_matrices(
    truth: np.ndarray,
    champion: np.ndarray,
    candidate: np.ndarray,
    n_classes: int,
    *,
    samples: int = _SAMPLES,
    seed: int = _SEED,
) -> tuple[np.ndarray, np.ndarray]:
    """The champion's and the candidate's confusion matrices (1 + samples, classes, classes): of the images (N,) as they
    are, then of each of the bootstrap's draws.

    What is drawn are images, with both models' answers: what both get wrong on the same images cancels out. And with
    the same draws, of images in the same order, a candidate that has one more of them right is as good or better in
    each draw, so that no bound falls by luck.
    """
    cells = (np.asarray(truth, np.int64) * n_classes + champion) * n_classes + candidate
    present, kinds, counts = np.unique(cells, return_inverse=True, return_counts=True)
    draws = _resampled(kinds, len(present), samples, seed)
    weights = np.concatenate([counts[np.newaxis], draws])
    of_truth, of_champion, of_candidate = np.unravel_index(present, (n_classes,) * 3)

    def matrices(predicted: np.ndarray) -> np.ndarray:
        one_hot = np.zeros((len(present), n_classes**2))
        one_hot[np.arange(len(present)), of_truth * n_classes + predicted] = 1
        return (weights @ one_hot).reshape(-1, n_classes, n_classes)

    return matrices(of_champion), matrices(of_candidate)


def _resampled(kinds: np.ndarray, n_kinds: int, samples: int, seed: int) -> np.ndarray:
    """(samples, kinds) int64: how many of each kind are in draws of as many images as there are, with replacement.

    `kinds` (N,) is that of each image.
    """
    by_kind = np.argsort(kinds, kind="stable")
    starts = np.searchsorted(kinds[by_kind], np.arange(n_kinds))
    at_once = max(1, min(samples, _DRAWN_AT_ONCE // len(kinds)))
    blocks = [
        np.add.reduceat(_draws(len(kinds), at_once, seed, number)[:, by_kind], starts, axis=1, dtype=np.int64)
        for number in range(-(-samples // at_once))
    ]
    return np.concatenate(blocks)[:samples]


@functools.lru_cache(maxsize=8)  # of a million images at most: the comparisons of a run are on the same ones
def _draws(n_images: int, samples: int, seed: int, number: int) -> np.ndarray:
    """(samples, N) uint8: how often each image is in a draw with replacement; `number` tells blocks of draws apart."""
    rng = np.random.default_rng([seed, number])
    draws = [np.bincount(rng.integers(0, n_images, n_images), minlength=n_images) for _ in range(samples)]
    drawn = np.stack(draws).astype(np.uint8)
    drawn.flags.writeable = False
    return drawn


def mcnemar(n_gained: int, n_lost: int) -> float:
    """The one-sided p-value of McNemar's exact test (1947, doi:10.1007/BF02295996) that the candidate is better.

    `n_gained` are the images that it alone has right, `n_lost` those that the champion alone has right.
    """
    from scipy import stats

    n = n_gained + n_lost
    return float(stats.binomtest(n_gained, n, alternative="greater").pvalue) if n else 1.0
