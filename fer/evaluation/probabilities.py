"""How good a model's probabilities are, beyond which class has the highest one.

All of (N, classes) probabilities and (N,) class indexes. A class without an image, or that all images have, has no
area under its curve; it is left out of the mean.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from fer.engine.records import Record
from fer.evaluation import intervals

N_BINS = 15
_LEAST = np.finfo(np.float64).eps  # a probability of 0 would make the log loss infinite


class Bin(Record):
    """Images of neighbouring confidence: how many, how sure the model is of them, how many of them it has right.

    `accuracy_interval` is Wilson's at 95 %; `low` and `high` are the bin's edges, or of an adaptive one its images'.
    """

    n_images: int
    confidence: float
    accuracy: float
    accuracy_interval: tuple[float, float] | None = None  # versions from before it was told have none
    low: float | None = None
    high: float | None = None


class ProbabilityScores(Record):
    """`brier` is from 0 to 2, the sum over the classes; `kappa` is Cohen's; `auc` one class against the others.

    `reliability` is in bins of as many images each, `equal_width` in those of equal width that are not empty.
    `intervals` at 95 %, by name of the score: see `score_intervals`.
    """

    balanced_accuracy: float
    top_2_accuracy: float
    log_loss: float
    brier: float
    kappa: float
    calibration_error: float | None = None
    adaptive_calibration_error: float
    reliability: tuple[Bin, ...]
    equal_width: tuple[Bin, ...] = ()
    auc: dict[str, float]
    mean_auc: float | None
    intervals: dict[str, tuple[float, float]] = Field(default={})


def scores(truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> ProbabilityScores:
    """Compute them all of at least one image."""
    probabilities = np.asarray(probabilities, np.float64)
    predicted = probabilities.argmax(axis=1)
    bins = reliability(truth, probabilities)
    areas = {name: auc(truth == index, probabilities[:, index]) for index, name in enumerate(classes)}
    known = {name: area for name, area in areas.items() if area is not None}
    present = np.unique(truth)
    return ProbabilityScores(
        balanced_accuracy=float(np.mean([(predicted[truth == index] == index).mean() for index in present])),
        top_2_accuracy=float(_among_two(truth, probabilities).mean()),
        log_loss=float(log_losses(truth, probabilities).mean()),
        brier=float(brier_scores(truth, probabilities).mean()),
        kappa=kappa(truth, predicted, len(classes)),
        calibration_error=calibration_error(truth, probabilities),
        adaptive_calibration_error=error_of(bins),
        reliability=bins,
        equal_width=equal_width(truth, probabilities),
        auc=known,
        mean_auc=float(np.mean(list(known.values()))) if known else None,
        intervals=score_intervals(truth, probabilities),
    )


def score_intervals(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, tuple[float, float]]:
    """The intervals at 95 % of scores, by name: of the top-2 accuracy Wilson's, of the others the bootstrap's.

    Of the balanced accuracy, the log loss and the Brier score its percentiles. What chance adds to the expected
    calibration error it adds to each draw once more, so that of it the percentiles are mirrored at the value ("basic"
    interval, Davison and Hinkley 1997, section 5.2).
    """
    confidence, right = _confidence(truth, probabilities)
    gaps = np.zeros((len(truth), N_BINS))
    gaps[np.arange(len(truth)), bin_of(confidence)] = right - confidence
    present, counts = np.unique(truth, return_counts=True)
    weights = len(truth) / (len(present) * counts)  # of an image, so that each class weighs as much
    columns = [log_losses(truth, probabilities), brier_scores(truth, probabilities)]
    columns.append(right * weights[np.searchsorted(present, truth)])
    draws = intervals.mean_draws(np.column_stack([*columns, gaps]), truth)
    low, high = intervals.percentiles(np.abs(draws[:, 3:]).sum(axis=1))
    error = calibration_error(truth, probabilities)
    return {
        "balanced_accuracy": intervals.percentiles(draws[:, 2]),
        "top_2_accuracy": intervals.wilson(int(_among_two(truth, probabilities).sum()), len(truth)),
        "log_loss": intervals.percentiles(draws[:, 0]),
        "brier": intervals.percentiles(draws[:, 1]),
        "calibration_error": (max(0.0, 2 * error - high), max(0.0, 2 * error - low)),
    }


def log_losses(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(N,) minus the logarithm of what the true class is given, of 0 and 1 that of the next number between them."""
    of_truth = np.asarray(probabilities, np.float64)[np.arange(len(truth)), truth]
    return -np.log(np.clip(of_truth, _LEAST, 1 - _LEAST))


def brier_scores(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(N,) the squared distance from what would be right (Brier 1950), 0 to 2."""
    probabilities = np.asarray(probabilities, np.float64)
    of_truth = probabilities[np.arange(len(truth)), truth]
    return (probabilities**2).sum(axis=1) - 2 * of_truth + 1


def _among_two(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(N,) whether at most one class is more probable than the true one."""
    probabilities = np.asarray(probabilities, np.float64)
    of_truth = probabilities[np.arange(len(truth)), truth]
    return (probabilities > of_truth[:, np.newaxis]).sum(axis=1) < 2


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error over 15 equal bins of confidence (Guo et al. 2017, arXiv:1706.04599), 0-1."""
    confidence, right = _confidence(truth, probabilities)
    gaps = np.bincount(bin_of(confidence), weights=right - confidence, minlength=N_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """(N,) which of 15 equal bins, open below and closed above, each confidence falls into."""
    return np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)


def equal_width(truth: np.ndarray, probabilities: np.ndarray) -> tuple[Bin, ...]:
    """The images in 15 bins of equal width, without those that have none."""
    confidence, right = _confidence(truth, probabilities)
    bins = bin_of(confidence)
    return tuple(
        _bin(confidence[bins == index], right[bins == index], (index / N_BINS, (index + 1) / N_BINS))
        for index in np.unique(bins).tolist()
    )


def reliability(truth: np.ndarray, probabilities: np.ndarray) -> tuple[Bin, ...]:
    """The images in order of the model's confidence, in up to 15 bins of as many each (Nguyen and O'Connor 2015,
    arXiv:1508.05154): bins of equal width would be nearly empty where a model is never so sure.
    """
    confidence, right = _confidence(truth, probabilities)
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(N_BINS, len(order)))
    return tuple(_bin(confidence[part], right[part], (confidence[part[0]], confidence[part[-1]])) for part in parts)


def error_of(bins: Sequence[Bin]) -> float:
    """The mean distance of confidence and accuracy over the images of bins."""
    n_images = sum(one.n_images for one in bins)
    return sum(one.n_images / n_images * abs(one.accuracy - one.confidence) for one in bins)


def _confidence(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) how sure the model is of its answer, and whether that is right."""
    probabilities = np.asarray(probabilities, np.float64)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == truth


def _bin(confidence: np.ndarray, right: np.ndarray, edges: tuple[float, float]) -> Bin:
    n_right, n_images = int(right.sum()), len(right)
    return Bin(
        n_images=n_images,
        confidence=float(confidence.mean()),
        accuracy=n_right / n_images,
        accuracy_interval=intervals.wilson(n_right, n_images),
        low=float(edges[0]),
        high=float(edges[1]),
    )


def kappa(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Cohen's kappa (1960, doi:10.1177/001316446002000104); 0 where chance alone would agree on everything."""
    n = len(truth)
    expected = np.bincount(truth, minlength=n_classes) @ np.bincount(predicted, minlength=n_classes) / n**2
    return 0.0 if expected == 1 else float(((truth == predicted).mean() - expected) / (1 - expected))


def auc(is_class: np.ndarray, probability: np.ndarray) -> float | None:
    """The area under the ROC curve, which is the chance that an image of the class has a higher probability than
    another one (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747); None without both kinds.
    """
    from scipy import stats

    n_class = int(is_class.sum())
    n_others = len(is_class) - n_class
    if not n_class or not n_others:
        return None
    ranks = stats.rankdata(probability)
    return float((ranks[is_class].sum() - n_class * (n_class + 1) / 2) / (n_class * n_others))
