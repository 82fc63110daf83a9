"""How good a model's probabilities are, beyond which class has the highest one.

All of (N, classes) probabilities and (N,) class indexes. A class without an image, or that all images have, has no
area under its curve; it is left out of the mean.
"""

from collections.abc import Sequence

import numpy as np

from fer.engine.records import Record

_BINS = 15
_LEAST = np.finfo(np.float64).eps  # a probability of 0 would make the log loss infinite


class Bin(Record):
    """Images of neighbouring confidence: how many, how sure the model is of them, how many of them it has right."""

    n_images: int
    confidence: float
    accuracy: float


class ProbabilityScores(Record):
    """`brier` is from 0 to 2, the sum over the classes; `kappa` is Cohen's; `auc` one class against the others."""

    balanced_accuracy: float
    top_2_accuracy: float
    log_loss: float
    brier: float
    kappa: float
    adaptive_calibration_error: float
    reliability: tuple[Bin, ...]
    auc: dict[str, float]
    mean_auc: float | None


def scores(truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> ProbabilityScores:
    """Compute them all of at least one image."""
    probabilities = np.asarray(probabilities, np.float64)
    predicted = probabilities.argmax(axis=1)
    bins = reliability(truth, probabilities)
    of_truth = probabilities[np.arange(len(truth)), truth]
    areas = {name: auc(truth == index, probabilities[:, index]) for index, name in enumerate(classes)}
    known = {name: area for name, area in areas.items() if area is not None}
    present = np.unique(truth)
    n_images = len(truth)
    return ProbabilityScores(
        balanced_accuracy=float(np.mean([(predicted[truth == index] == index).mean() for index in present])),
        top_2_accuracy=float((_n_above(probabilities, of_truth) < 2).mean()),
        log_loss=float(-np.log(np.clip(of_truth, _LEAST, 1 - _LEAST)).mean()),
        brier=float(((probabilities**2).sum(axis=1) - 2 * of_truth + 1).mean()),
        kappa=kappa(truth, predicted, len(classes)),
        adaptive_calibration_error=sum(b.n_images / n_images * abs(b.accuracy - b.confidence) for b in bins),
        reliability=bins,
        auc=known,
        mean_auc=float(np.mean(list(known.values()))) if known else None,
    )


def _n_above(probabilities: np.ndarray, of_truth: np.ndarray) -> np.ndarray:
    """(N,) how many classes are more probable than the true one."""
    return (probabilities > of_truth[:, np.newaxis]).sum(axis=1)


def reliability(truth: np.ndarray, probabilities: np.ndarray) -> tuple[Bin, ...]:
    """The images in order of the model's confidence, in up to 15 bins of as many each (Nguyen and O'Connor 2015,
    arXiv:1508.05154): bins of equal width would be nearly empty where a model is never so sure.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(_BINS, len(order)))
    return tuple(
        Bin(n_images=len(part), confidence=float(confidence[part].mean()), accuracy=float(right[part].mean()))
        for part in parts
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
