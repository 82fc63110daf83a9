"""The gates: how often each recipe's margin passes a candidate that is as good, or truly worse, by simulation, beside
what `fer.evaluation.power` says of it.

A recipe's test split has its data's own images by class. The champion's recall of each class is such that accuracy and
macro-F1 are those that the recipe reached; what it gets wrong it takes for the others as often as these occur. On a
share of the images exactly one of the two models is right, in proportion to r (1 - r) of a class with recall r. Each
simulated pair goes through the gate's own bounds. The demo's share is that of two seeds; the others' are assumed.
"""

import functools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks import Row
from fer.evaluation import metrics, power
from fer.recipes import catalog

_TRIALS = 300
_VERDICTS = 30  # of whose words the mean is taken
_SAMPLES = 200  # of the bootstrap; the gate itself takes 2,000
_HALVINGS = 50


@dataclass(frozen=True)
class Judged:
    """The images of a test split by class, what a recipe reached on it, and on which share two models differ."""

    images: tuple[int, ...]
    accuracy: float
    macro_f1: float
    discordant: float


_PRIVATE_TEST = (491, 55, 528, 879, 626, 594, 416)
_REPORT = (105, 299, 322, 315, 99)  # 8 % of 1,312, 3,737, 4,025, 3,937 and 1,237
JUDGED = {
    "demo": Judged((149, 81, 143, 223, 187, 163, 126), 0.875, 0.878, 0.10),
    "fer2013-cnn": Judged(_PRIVATE_TEST, 0.665, 0.576, 0.20),
    "fer2013-mini-xception": Judged(_PRIVATE_TEST, 0.661, 0.610, 0.20),
    "fer2013-se-resnet": Judged(_PRIVATE_TEST, 0.684, 0.659, 0.20),
    "report-2024": Judged(_REPORT, 0.664, 0.633, 0.25),
    "report-2024-mobilenet": Judged(_REPORT, 0.722, 0.687, 0.25),
    "report-2024-se-resnet": Judged(_REPORT, 0.721, 0.687, 0.25),
}


def run() -> Iterator[Row]:
    """Yield the shares that pass by each recipe's margin, and the images that would tell two points apart."""
    for name in catalog.NAMES:
        judged, config = JUDGED[name], catalog.load(name).gate
        for what, loss in (("equals", 0.0), (f"{100 * power.LOSS:g} points worse", power.LOSS)):
            passed, told = _passed(judged, loss, config.margin, config.confidence)
            bars = {"at_least": 0.93, "at_most": 1.07} if not loss else {}
            yield Row(f"{name} passes of {what}, margin {config.margin:g}", passed, "share", told, **bars)
        yield Row(f"{name} would need", power.images_needed(judged.discordant), "images", sum(judged.images))


def _passed(judged: Judged, loss: float, margin: float, confidence: float) -> tuple[float, float]:
    """The share of simulated candidates worse by `loss` that pass, and the mean of what their verdicts say of it."""
    rng = np.random.default_rng(0)
    counts = np.array(judged.images)
    passed, told = [], []
    for trial in range(_TRIALS):
        truth, champion, candidate = simulated(judged, loss, rng)
        found = metrics.paired_difference(
            truth, champion, candidate, len(counts), confidence=confidence, samples=_SAMPLES
        )
        passed.append(min(found.accuracy_bound, found.macro_f1_bound) >= -margin)
        if trial >= _VERDICTS:
            continue
        says = power.of(
            len(truth),
            int(((champion == truth) != (candidate == truth)).sum()),
            macro_f1_se=found.macro_f1_se,
            correlation=found.correlation,
            margin=margin,
            confidence=confidence,
        )
        told.append(says.worse_passes if loss else says.equal_passes)
    return statistics.mean(passed), statistics.mean(told)


def simulated(judged: Judged, loss: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) classes each: the truth, a champion's answers, and those of a candidate that is worse by `loss`."""
    counts = np.array(judged.images)
    recall = _recalls(judged)
    truth = np.repeat(np.arange(len(counts)), counts)
    alone = recall * (1 - recall)
    alone *= judged.discordant / np.average(alone, weights=counts) / 2  # half of the share each
    draw = rng.random(len(truth))
    both = draw < (recall - alone)[truth]
    champion_alone = ~both & (draw < (recall + alone * loss / judged.discordant)[truth])
    candidate_alone = ~both & ~champion_alone & (draw < (recall + alone)[truth])
    wrong = [_wrong(truth, counts, rng) for _ in range(2)]
    return truth, np.where(both | champion_alone, truth, wrong[0]), np.where(both | candidate_alone, truth, wrong[1])


def _wrong(truth: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A class beside the truth for each image, as often as it occurs."""
    keys = rng.random((len(truth), len(counts))) ** (1 / counts)  # Efraimidis and Spirakis 2006
    keys[np.arange(len(truth)), truth] = -1
    return keys.argmax(axis=1)


@functools.cache
def _recalls(judged: Judged) -> np.ndarray:
    """The recall of each class, a line in the logarithm of its images, by which both figures are met."""
    counts = np.array(judged.images)
    steps = np.log(counts / counts.mean())
    low, high = -1.0, 1.0  # the line's slope: macro-F1 falls as it rises
    for _ in range(_HALVINGS):
        slope = (low + high) / 2
        recall = _with_accuracy(slope * steps, judged)
        low, high = (slope, high) if _macro_f1(recall, counts) > judged.macro_f1 else (low, slope)
    return recall


def _with_accuracy(line: np.ndarray, judged: Judged) -> np.ndarray:
    low, high = -2.0, 3.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        recall = np.clip(middle + line, 0.02, 0.98)
        low, high = (low, middle) if np.average(recall, weights=judged.images) > judged.accuracy else (middle, high)
    return recall


def _macro_f1(recall: np.ndarray, counts: np.ndarray) -> float:
    """That of the matrix that is expected."""
    matrix = np.diag(recall * counts)
    for its, count in enumerate(counts):
        others = np.where(np.arange(len(counts)) == its, 0, counts)
        matrix[its] += (1 - recall[its]) * count * others / others.sum()
    return float(metrics.macro_f1(matrix))
