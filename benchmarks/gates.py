"""The gates: how often each recipe's margin passes an equally good or a truly worse candidate, by simulation, against
the estimate of `fer.evaluation.gates.power`.

The simulated test split has as many images of each class as the recipe's data. The champion's recall of each class is
chosen such that accuracy and macro-F1 are those that the recipe reached; its errors are spread over the other classes
in proportion to their sizes. On a share of the images exactly one of the two models is right, in proportion to
r (1 - r) of a class with recall r. Each simulated pair goes through the gate's own bounds. The demo's share was
measured between three seeds; the others are assumed.
"""

import functools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks import Row
from fer.evaluation import metrics
from fer.evaluation.gates import power
from fer.recipes import catalog

_TRIALS = 300
_ESTIMATES = 30  # trials whose estimated power is averaged
_SAMPLES = 200  # of the bootstrap; the gate itself takes 2,000
_HALVINGS = 50


@dataclass(frozen=True)
class Scenario:
    """The images of a test split by class, the figures of a recipe on it, and the share on which two models differ."""

    images: tuple[int, ...]
    accuracy: float
    macro_f1: float
    discordant: float


_PRIVATE_TEST = (491, 55, 528, 879, 626, 594, 416)
_REPORT = (105, 299, 322, 315, 99)  # 8 % of 1,312, 3,737, 4,025, 3,937 and 1,237
SCENARIOS = {
    "demo": Scenario((149, 81, 143, 223, 187, 163, 126), 0.909, 0.911, 0.07),
    "fer2013-cnn": Scenario(_PRIVATE_TEST, 0.665, 0.576, 0.20),
    "fer2013-mini-xception": Scenario(_PRIVATE_TEST, 0.661, 0.610, 0.20),
    "fer2013-se-resnet": Scenario(_PRIVATE_TEST, 0.684, 0.659, 0.20),
    "report-2024": Scenario(_REPORT, 0.664, 0.633, 0.25),
    "report-2024-mobilenet": Scenario(_REPORT, 0.722, 0.687, 0.25),
    "report-2024-se-resnet": Scenario(_REPORT, 0.721, 0.687, 0.25),
}


def run() -> Iterator[Row]:
    """Yield the pass rate at each recipe's margin, and the images needed to detect a loss of two points."""
    for name in catalog.NAMES:
        scenario, config = SCENARIOS[name], catalog.load(name).gate
        for description, loss in (("equals", 0.0), (f"{100 * power.LOSS:g} points worse", power.LOSS)):
            passed, estimated = _pass_rates(scenario, loss, config.margin, config.confidence)
            bars = {"at_least": 0.93, "at_most": 1.07} if not loss else {}
            yield Row(f"{name} passes of {description}, margin {config.margin:g}", passed, "share", estimated, **bars)
        yield Row(f"{name} would need", power.images_needed(scenario.discordant), "images", sum(scenario.images))


def _pass_rates(scenario: Scenario, loss: float, margin: float, confidence: float) -> tuple[float, float]:
    """The share of simulated candidates worse by `loss` that pass, and the mean of its estimates."""
    rng = np.random.default_rng(0)
    counts = np.array(scenario.images)
    passed, estimates = [], []
    for trial in range(_TRIALS):
        truth, champion, candidate = simulated(scenario, loss, rng)
        difference = metrics.paired_difference(truth, champion, candidate, len(counts), samples=_SAMPLES)
        passed.append(min(difference.accuracy_bound(confidence), difference.macro_f1_bound(confidence)) >= -margin)
        if trial >= _ESTIMATES:
            continue
        estimate = power.of_comparison(
            len(truth),
            int(((champion == truth) != (candidate == truth)).sum()),
            macro_f1_se=difference.macro_f1_se,
            correlation=difference.correlation,
            margin=margin,
            confidence=confidence,
        )
        estimates.append(estimate.worse_passes if loss else estimate.equal_passes)
    return statistics.mean(passed), statistics.mean(estimates)


def simulated(scenario: Scenario, loss: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three (N,) arrays of classes: the truth, the champion's predictions, and those of a candidate worse by `loss`."""
    counts = np.array(scenario.images)
    recall = _recalls(scenario)
    truth = np.repeat(np.arange(len(counts)), counts)
    alone = recall * (1 - recall)
    alone *= scenario.discordant / np.average(alone, weights=counts) / 2  # half of the share per model
    draw = rng.random(len(truth))
    both = draw < (recall - alone)[truth]
    champion_alone = ~both & (draw < (recall + alone * loss / scenario.discordant)[truth])
    candidate_alone = ~both & ~champion_alone & (draw < (recall + alone)[truth])
    wrong = [_wrong(truth, counts, rng) for _ in range(2)]
    return truth, np.where(both | champion_alone, truth, wrong[0]), np.where(both | candidate_alone, truth, wrong[1])


def _wrong(truth: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A wrong class for each image, drawn in proportion to the sizes of the classes."""
    keys = rng.random((len(truth), len(counts))) ** (1 / counts)  # Efraimidis and Spirakis 2006
    keys[np.arange(len(truth)), truth] = -1
    return keys.argmax(axis=1)


@functools.cache
def _recalls(scenario: Scenario) -> np.ndarray:
    """The recall of each class, linear in the logarithm of its images, such that both figures are met."""
    counts = np.array(scenario.images)
    steps = np.log(counts / counts.mean())
    low, high = -1.0, 1.0  # the line's slope: macro-F1 falls as it rises
    for _ in range(_HALVINGS):
        slope = (low + high) / 2
        recall = _with_accuracy(slope * steps, scenario)
        low, high = (slope, high) if _macro_f1(recall, counts) > scenario.macro_f1 else (low, slope)
    return recall


def _with_accuracy(line: np.ndarray, scenario: Scenario) -> np.ndarray:
    low, high = -2.0, 3.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        recall = np.clip(middle + line, 0.02, 0.98)
        low, high = (low, middle) if np.average(recall, weights=scenario.images) > scenario.accuracy else (middle, high)
    return recall


def _macro_f1(recall: np.ndarray, counts: np.ndarray) -> float:
    """Macro-F1 of the expected confusion matrix."""
    matrix = np.diag(recall * counts)
    for index, count in enumerate(counts):
        others = np.where(np.arange(len(counts)) == index, 0, counts)
        matrix[index] += (1 - recall[index]) * count * others / others.sum()
    return float(metrics.macro_f1(matrix))
