"""The figures of a model's robustness, from its answers alone: `robustness.json` is the record `Robustness`."""

import math

import numpy as np

from fer.engine.records import Record
from fer.evaluation import intervals
from fer.evaluation.robustness import answers as model_answers
from fer.evaluation.robustness.answers import Answers
from fer.evaluation.robustness.config import RobustnessConfig
from fer.images import corruptions

_Z = 1.959964  # of a two-sided interval at 95 %


class SeverityScore(Record):
    """Accuracy at one severity of a corruption; `amount` is in the corruption's `unit`. The interval is Wilson's."""

    severity: int
    amount: float
    accuracy: float
    accuracy_interval: tuple[float, float]


class CorruptionScore(Record):
    """One corruption: `accuracy` is the mean over its severities, `error` 1 minus that.

    `group` is one of noise, blur, light, digital and pose.
    """

    kind: corruptions.Kind
    group: str
    unit: str
    accuracy: float
    error: float
    severities: tuple[SeverityScore, ...]


class GroupScore(Record):
    """The kinds of a group: the means of their accuracies, by severity."""

    group: str
    kinds: tuple[corruptions.Kind, ...]
    severities: tuple[int, ...]
    accuracies: tuple[float, ...]


class InvarianceScore(Record):
    """Accuracy on images that are mirrored, shifted or scaled, and the share whose answer stays the same, right or
    wrong. The intervals are Wilson's."""

    nuisance: corruptions.Nuisance
    accuracy: float
    accuracy_interval: tuple[float, float]
    unchanged: float
    unchanged_interval: tuple[float, float]


class Robustness(Record):
    """A model under corruption. All figures are of the same `n_images`, of `n_images_of_split`; intervals are at 95 %.

    `accuracy` is that on the images as they are; `mean_accuracy` the mean over all corruptions and severities, with an
    interval by the spread of the images' own means; `mean_error` is 1 minus that.
    """

    split: str
    n_images: int
    n_images_of_split: int
    seed: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    mean_accuracy: float
    mean_accuracy_interval: tuple[float, float]
    mean_error: float
    corruptions: tuple[CorruptionScore, ...]
    groups: tuple[GroupScore, ...]
    invariances: tuple[InvarianceScore, ...]


def robustness(answers: Answers, config: RobustnessConfig, split: str, n_images_of_split: int) -> Robustness:
    """The figures of a model's answers under the conditions of `config`."""
    clean = answers.right(model_answers.CLEAN)
    mean_accuracy = corrupted_accuracy(answers, config)
    mean, spread = float(mean_accuracy.mean()), float(mean_accuracy.std())
    half = _Z * spread / math.sqrt(len(clean))
    return Robustness(
        split=split,
        n_images=len(clean),
        n_images_of_split=n_images_of_split,
        seed=config.seed,
        accuracy=float(clean.mean()),
        accuracy_interval=_wilson(clean),
        mean_accuracy=mean,
        mean_accuracy_interval=(max(0.0, mean - half), min(1.0, mean + half)),
        mean_error=1 - mean,
        corruptions=tuple(_corruption(answers, kind, config) for kind in config.corruptions),
        groups=groups(answers, config),
        invariances=tuple(_invariance(answers, nuisance) for nuisance in corruptions.NUISANCES),
    )


def corrupted_accuracy(answers: Answers, config: RobustnessConfig) -> np.ndarray:
    """(N,) float64: of each image the share of corruptions and severities under which the model has it right."""
    names = [condition.name for condition in model_answers.conditions(config) if condition.kind is not None]
    return np.mean([answers.right(name) for name in names], axis=0)


def accuracies(answers: Answers, kind: corruptions.Kind, config: RobustnessConfig) -> list[float]:
    """The accuracy at each severity of a corruption."""
    return [float(answers.right(f"{kind}-{severity}").mean()) for severity in config.severities]


def groups(answers: Answers, config: RobustnessConfig) -> tuple[GroupScore, ...]:
    """The means of each group's kinds, in their order."""
    kinds: dict[str, list[corruptions.Kind]] = {}
    for kind in config.corruptions:
        kinds.setdefault(corruptions.CORRUPTIONS[kind].group, []).append(kind)
    return tuple(
        GroupScore(
            group=group,
            kinds=tuple(members),
            severities=config.severities,
            accuracies=tuple(np.mean([accuracies(answers, kind, config) for kind in members], axis=0).tolist()),
        )
        for group, members in kinds.items()
    )


def _corruption(answers: Answers, kind: corruptions.Kind, config: RobustnessConfig) -> CorruptionScore:
    corruption = corruptions.CORRUPTIONS[kind]
    severities = tuple(
        SeverityScore(
            severity=severity,
            amount=corruption.amounts[severity - 1],
            accuracy=accuracy,
            accuracy_interval=_wilson(answers.right(f"{kind}-{severity}")),
        )
        for severity, accuracy in zip(config.severities, accuracies(answers, kind, config), strict=True)
    )
    accuracy = float(np.mean([score.accuracy for score in severities]))
    return CorruptionScore(
        kind=kind,
        group=corruption.group,
        unit=corruption.unit,
        accuracy=accuracy,
        error=1 - accuracy,
        severities=severities,
    )


def _invariance(answers: Answers, nuisance: corruptions.Nuisance) -> InvarianceScore:
    right = answers.right(nuisance)
    unchanged = answers.predicted[nuisance] == answers.predicted[model_answers.CLEAN]
    return InvarianceScore(
        nuisance=nuisance,
        accuracy=float(right.mean()),
        accuracy_interval=_wilson(right),
        unchanged=float(unchanged.mean()),
        unchanged_interval=_wilson(unchanged),
    )


def _wilson(right: np.ndarray) -> tuple[float, float]:
    return intervals.wilson(int(right.sum()), len(right))
