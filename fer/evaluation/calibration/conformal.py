"""Conformal prediction sets: classes among which the true one is, as often as stated (Vovk et al. 2005,
doi:10.1007/b106715; in this form Sadinle et al. 2019, doi:10.1080/01621459.2017.1395341).

A class is in the set if it is improbable by no more than a threshold: the threshold that the true classes of as many
validation images keep. It holds for images that are drawn as those were, whatever the model is.
"""

from collections.abc import Sequence

import numpy as np

_MOST_IMAGES = 20_000  # beyond them a threshold gets no better


def thresholds(
    truth: np.ndarray, probabilities: np.ndarray, coverages: Sequence[float], *, by_class: bool
) -> np.ndarray:
    """(coverages, classes) float64: the highest 1 - p of a class in a set; infinite where every set has it.

    Of (N,) class indexes and (N, classes) probabilities. `by_class`: each class by its own images.
    """
    n_classes = probabilities.shape[1]
    scores = 1 - np.asarray(probabilities, np.float64)[np.arange(len(truth)), truth]
    if not by_class:
        return np.repeat(_thresholds(scores, coverages)[:, np.newaxis], n_classes, axis=1)
    return np.stack([_thresholds(scores[truth == index], coverages) for index in range(n_classes)], axis=1)


def sets(probabilities: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """(N, classes) bool: which classes are in the set of each image, the most probable one always; `highest` is
    (classes,) as `thresholds` gives it."""
    probabilities = np.asarray(probabilities, np.float64)
    chosen = 1 - probabilities <= highest
    chosen[np.arange(len(chosen)), probabilities.argmax(axis=1)] = True
    return chosen


def _thresholds(scores: np.ndarray, coverages: Sequence[float]) -> np.ndarray:
    """(coverages,) of (N,) scores of true classes. Scores between two of these have the p-value of the higher one."""
    import crepes

    if not len(scores):
        return np.full(len(coverages), np.inf)
    scores = scores[:: -(-len(scores) // _MOST_IMAGES)]
    candidates = np.append(np.unique(scores), np.inf)
    classifier = crepes.ConformalClassifier().fit(scores)
    p_values = classifier.predict_p(candidates[:, np.newaxis], smoothing=False)[:, 0]
    return np.array([candidates[p_values >= 1 - coverage].max() for coverage in coverages])
