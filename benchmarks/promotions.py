"""A year of weekly decisions: how far the champion falls, and how often it is replaced for nothing.

Each week of each simulated year brings a candidate that is truly as good as the champion of that week, or worse or
better by so much, or, with luck, anything around the first champion; each with and without a reason to change. The test
images are the same all year, as a split keeps them, or new ones every week. An image has a difficulty that all models
share, spread so that two equal models differ (exactly one is right) on the share `_DISCORDANT`; a wrong answer is the
image's usual one or, in three of ten cases, another.

Beside the product's rules the same years are decided by two others: "no worse than the champion" by the margin alone,
and "accuracy at least the champion's". The decisions are vectorised over the years, with the normal distribution in
place of the bootstrap; on a sample they are held against the product's own. FER_BENCH_PICTURE=PATH draws the years.
"""

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from benchmarks import Row
from fer.evaluation import predictions
from fer.evaluation.config import GateConfig
from fer.evaluation.gates.beforehand import ComparedImages
from fer.evaluation.gates.comparison import Comparison

_YEARS, _YEARS_OF_OTHERS, _WEEKS = 1_000, 100, 52
_ACCURACY, _DISCORDANT, _LUCK = 0.70, 0.20, 0.004
_OTHER_MISTAKE = 0.3
_IMAGES = {
    263: (36, 19, 35, 56, 47, 40, 30),
    1_140: (105, 299, 322, 315, 99),  # the report's test split
    3_589: (491, 55, 528, 879, 626, 594, 416),  # FER2013's PrivateTest
}
_MARGINS = {263: 0.08, 1_140: 0.045, 3_589: 0.025}
_DELTAS = {"equal": 0.0, "0.1 points worse": -0.001, "0.2 points worse": -0.002, "0.5 points worse": -0.005}
_DELTAS |= {"0.1 points better": 0.001}
_BY_LUCK = "mixed by luck"
_SAMPLE = 60  # decisions held against the product's
_MOST_SWAPS, _TWO_POINTS = 2.0, 0.02
_GRID = 401


@dataclass
class Scored:
    """The answers (years, N) of a model a year, with what the tests need of them."""

    predicted: np.ndarray
    right: np.ndarray  # bool
    macro_f1: np.ndarray  # (years,)
    influence: np.ndarray  # of each image on macro-F1

    def replace(self, other: "Scored", where: np.ndarray) -> None:
        """Take the other's answers in the years `where`."""
        for name in ("predicted", "right", "macro_f1", "influence"):
            getattr(self, name)[where] = getattr(other, name)[where]

    def copy(self) -> "Scored":
        return Scored(self.predicted.copy(), self.right.copy(), self.macro_f1.copy(), self.influence.copy())


class Differences(NamedTuple):
    """Candidate minus another model, (years,) each, with standard errors, and the images that changed sides."""

    accuracy: np.ndarray
    accuracy_se: np.ndarray
    macro_f1: np.ndarray
    macro_f1_se: np.ndarray
    n_gained: np.ndarray
    n_lost: np.ndarray
    n_images: int

    def no_worse(self, margin: float, confidence: float) -> np.ndarray:
        """(years,) bool: non-inferior in both metrics."""
        z = statistics.NormalDist().inv_cdf(confidence)
        return (self.accuracy - z * self.accuracy_se >= -margin) & (self.macro_f1 - z * self.macro_f1_se >= -margin)


class World:
    """The test images of some years, and models that answer them."""

    def __init__(self, counts: tuple[int, ...], years: int, rng: np.random.Generator):
        self.counts, self.years, self.rng = np.array(counts), years, rng
        self.n, self.n_classes = int(self.counts.sum()), len(counts)
        self.truth = np.repeat(np.arange(self.n_classes), self.counts)
        self._easiness = 0.5 * np.log(self.counts / self.counts.mean())  # a rare class is harder
        self._spread = _solved(lambda spread: -self._discordant(spread), -_DISCORDANT, 0.01, 60)
        self._accuracies = np.linspace(_ACCURACY - 0.2, _ACCURACY + 0.15, 71)
        self._offsets = np.array([self._offset(self._spread, accuracy) for accuracy in self._accuracies])
        others = np.where(np.eye(self.n_classes, dtype=bool), 0, self.counts)
        self._cumulative = (others / others.sum(axis=1, keepdims=True)).cumsum(axis=1)
        self.renew()

    def renew(self) -> None:
        """Draw new test images."""
        noise = self.rng.standard_normal((self.years, self.n), dtype=np.float32)
        self._latent = (self._easiness[self.truth] + self._spread * noise).astype(np.float32)
        self._usual_mistake = self._mistakes()

    def model(self, accuracy: np.ndarray) -> Scored:
        """A model a year whose true accuracy is that (years,)."""
        offset = np.interp(accuracy, self._accuracies, self._offsets).astype(np.float32)[:, np.newaxis]
        right = self.rng.random(self._latent.shape, dtype=np.float32) < 1 / (1 + np.exp(-(self._latent + offset)))
        predicted = np.where(right, self.truth.astype(np.int8), self._usual_mistake)
        other = ~right & (self.rng.random(self._latent.shape, dtype=np.float32) < _OTHER_MISTAKE)
        predicted[other] = self._mistakes()[other]
        return self._scored(predicted, right)

    def _scored(self, predicted: np.ndarray, right: np.ndarray) -> Scored:
        years = self.n_classes * np.arange(self.years)[:, np.newaxis]
        n_predicted = self._by_class(predicted + years)
        n_right = self._by_class((self.truth + years)[right])
        weight = 1 / (self.n_classes * (self.counts + n_predicted))
        f1 = 2 * n_right / (self.counts + n_predicted)
        # How macro-F1 changes with the weight of an image: the delta method.
        influence = 2 * weight[:, self.truth] * right - (weight * f1)[:, self.truth]
        influence -= np.take_along_axis(weight * f1, predicted.astype(np.int64), axis=1)
        return Scored(predicted, right, f1.mean(axis=1), influence.astype(np.float32))

    def _by_class(self, flat: np.ndarray) -> np.ndarray:
        counted = np.bincount(flat.reshape(-1), minlength=self.n_classes * self.years)
        return counted.reshape(self.years, self.n_classes)

    def _mistakes(self) -> np.ndarray:
        draws = self.rng.random((self.years, self.n), dtype=np.float32)
        mistakes = np.zeros(draws.shape, np.int8)
        for index in range(self.n_classes - 1):
            mistakes += draws > self._cumulative[self.truth, index]
        return mistakes

    def _probabilities(self, spread: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
        """The probability of a right answer over classes and difficulties, and the share of each cell."""
        grid = np.linspace(-4, 4, _GRID)
        shares = np.outer(self.counts / self.n, np.exp(-(grid**2) / 2))
        return 1 / (1 + np.exp(-(offset + self._easiness[:, np.newaxis] + spread * grid))), shares / shares.sum()

    def _offset(self, spread: float, accuracy: float) -> float:
        def mean(offset: float) -> float:
            probabilities, shares = self._probabilities(spread, offset)
            return float((probabilities * shares).sum())

        return _solved(mean, accuracy, -100, 100)

    def _discordant(self, spread: float) -> float:
        probabilities, shares = self._probabilities(spread, self._offset(spread, _ACCURACY))
        return float((2 * probabilities * (1 - probabilities) * shares).sum())


def _solved(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2


def differences(candidate: Scored, other: Scored) -> Differences:
    """The candidate beside another model on the same images."""
    n = candidate.right.shape[1]
    n_gained = (candidate.right & ~other.right).sum(axis=1)
    n_lost = (~candidate.right & other.right).sum(axis=1)
    accuracy = (n_gained - n_lost) / n
    accuracy_se = np.sqrt(np.maximum((n_gained + n_lost) / n - accuracy**2, 0) / n)
    squares = np.einsum("yi,yi->y", *[candidate.influence - other.influence] * 2)
    f1 = candidate.macro_f1 - other.macro_f1
    return Differences(accuracy, accuracy_se, f1, np.sqrt(squares), n_gained, n_lost, n)


Rule = Callable[[Differences, Differences, np.ndarray, GateConfig], tuple[np.ndarray, np.ndarray]]


def by_the_product(
    champion: Differences, anchor: Differences, may_waive: np.ndarray, config: GateConfig
) -> tuple[np.ndarray, np.ndarray]:
    """(years,) bool each: whether the candidate replaces the champion, and whether for a reason alone."""
    passes = champion.no_worse(config.margin, config.confidence) & anchor.no_worse(config.margin, config.confidence)
    passes &= champion.n_lost <= config.max_churn * champion.n_images
    # The chance of at least so many gains if each change were a gain or a loss by the toss of a coin: McNemar's test.
    p = stats.binom.sf(champion.n_gained - 1, champion.n_gained + champion.n_lost, 0.5)
    better = p <= 1 - config.superiority
    waived = ~better & may_waive & champion.no_worse(config.waiver_margin, config.waiver_confidence)
    return passes & (better | waived), passes & waived


def by_the_margin(
    champion: Differences, anchor: Differences, may_waive: np.ndarray, config: GateConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Whoever is no worse than the champion replaces it."""
    return champion.no_worse(config.margin, config.confidence), np.zeros(len(may_waive), bool)


def by_two_numbers(
    champion: Differences, anchor: Differences, may_waive: np.ndarray, config: GateConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Whoever has at least the champion's accuracy replaces it."""
    return champion.accuracy >= 0, np.zeros(len(may_waive), bool)


@dataclass
class Year:
    """What became of the champion: (years,) each, and its true accuracy week by week (weeks + 1,), the mean."""

    swaps: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray


def simulate(
    n: int, kind: str, rule: Rule, *, years: int, has_reason: bool = False, fresh: bool = False, seed: int = 0
) -> Year:
    """Decide the weeks of some years by a rule; `fresh`: on new test images every week."""
    rng = np.random.default_rng(seed)
    world, config = World(_IMAGES[n], years, rng), GateConfig(margin=_MARGINS[n])
    accuracy = np.full(years, _ACCURACY)
    best, anchor_accuracy = accuracy.copy(), accuracy.copy()
    champion = world.model(accuracy)
    anchor = champion.copy()
    swaps, waived = np.zeros(years, int), np.zeros(years, int)
    course = [float(accuracy.mean())]
    for _ in range(_WEEKS):
        if fresh:
            world.renew()
            champion, anchor = world.model(accuracy), world.model(anchor_accuracy)
        candidate_accuracy = (
            _ACCURACY + _LUCK * rng.standard_normal(years) if kind == _BY_LUCK else accuracy + _DELTAS[kind]
        )
        candidate = world.model(candidate_accuracy)
        may_waive = has_reason & (waived < config.waivers)
        replaces, is_waived = rule(differences(candidate, champion), differences(candidate, anchor), may_waive, config)
        champion.replace(candidate, replaces)
        accuracy = np.where(replaces, candidate_accuracy, accuracy)
        best = np.maximum(best, accuracy)
        swaps += replaces
        waived += is_waived
        becomes_anchor = replaces & (candidate.right.mean(axis=1) > anchor.right.mean(axis=1))
        anchor.replace(candidate, becomes_anchor)
        anchor_accuracy = np.where(becomes_anchor, candidate_accuracy, anchor_accuracy)
        course.append(float(accuracy.mean()))
    return Year(swaps, best - accuracy, np.array(course))


def run() -> Iterator[Row]:
    """Yield the bars of a year by number of images, kind of candidate and reason; then the other rules."""
    courses: dict[tuple[int, str], np.ndarray] = {}
    for n in _IMAGES:
        yield from _single(n)
        for kind in (*_DELTAS, _BY_LUCK):
            for has_reason in (False, True):
                where = f"n = {n:,}, {kind}, {'a reason every week' if has_reason else 'no reason'}"
                year = simulate(n, kind, by_the_product, years=_YEARS, has_reason=has_reason)
                yield from _bars(where, year, n)
                if has_reason:
                    courses[n, kind] = year.accuracy
    for kind in ("equal", "0.5 points worse", _BY_LUCK):
        year = simulate(1_140, kind, by_the_product, years=_YEARS // 4, has_reason=True, fresh=True)
        yield from _bars(f"n = 1,140, new every week, {kind}, a reason every week", year, 1_140)
    others: dict[tuple[str, int, str], np.ndarray] = {}
    for name, rule in (("margin alone", by_the_margin), ("two numbers", by_two_numbers)):
        for n in _IMAGES:
            for kind in ("equal", "0.1 points worse", "0.5 points worse"):
                year = simulate(n, kind, rule, years=_YEARS_OF_OTHERS)
                others[name, n, kind] = year.accuracy
                yield Row(f"{name}: n = {n:,}, {kind}: replaced", float(year.swaps.mean()), "times a year")
                yield Row(f"{name}: n = {n:,}, {kind}: loss, mean", 100 * float(year.loss.mean()), "points")
    yield Row("decisions as the product's own", 100 * agreement(), "%", 100, at_least=0.97)
    if picture := os.environ.get("FER_BENCH_PICTURE"):
        _draw(Path(picture), courses, others)


def _bars(where: str, year: Year, n: int) -> Iterator[Row]:
    margin = 100 * _MARGINS[n]
    yield Row(f"{where}: loss in 99 % of years", 100 * float(np.quantile(year.loss, 0.99)), "points", margin, at_most=1)
    is_needless = "better" not in where and _BY_LUCK not in where
    reference = {"reference": _MOST_SWAPS, "at_most": 1.0} if is_needless else {}
    yield Row(f"{where}: replaced", float(year.swaps.mean()), "times a year", **reference)


def _single(n: int) -> Iterator[Row]:
    """One decision about candidates that are two points worse or better."""
    world, config = World(_IMAGES[n], _YEARS, np.random.default_rng(1)), GateConfig(margin=_MARGINS[n])
    champion = world.model(np.full(_YEARS, _ACCURACY))
    for kind, delta in (("worse", -_TWO_POINTS), ("better", _TWO_POINTS)):
        difference = differences(world.model(np.full(_YEARS, _ACCURACY + delta)), champion)
        for reason in (False, True):
            replaces, _ = by_the_product(difference, difference, np.full(_YEARS, reason), config)
            bar: dict[str, Any] = {"reference": 1.0, "at_most": 1.0} if kind == "worse" else {}
            name = f"n = {n:,}: 2 points {kind}{', with a reason' if reason else ''}: promoted"
            yield Row(name, 100 * float(replaces.mean()), "%", **bar)
    z = sum(statistics.NormalDist().inv_cdf(share) for share in (config.superiority, 0.9))
    needed = _DISCORDANT * (z / _TWO_POINTS) ** 2
    yield Row(f"n = {n:,}: needed to promote 90 % of those 2 points better", needed, "images", n)


def agreement(n_images: Sequence[int] = tuple(_IMAGES), sample: int = _SAMPLE) -> float:
    """The share of a sample of decisions, for each number of images, in which the product comes to the same."""
    same = []
    for n in n_images:
        config = GateConfig(margin=_MARGINS[n])
        world = World(_IMAGES[n], sample, np.random.default_rng(2))
        champion = world.model(np.full(sample, _ACCURACY))
        candidate = world.model(_ACCURACY + np.linspace(-0.02, 0.03, sample))
        difference = differences(candidate, champion)
        replaces, _ = by_the_product(difference, difference, np.ones(sample, bool), config)
        for year in range(sample):
            ids = [str(at) for at in range(world.n)]
            old, new = (_predictions(ids, world, answers.predicted[year]) for answers in (champion, candidate))
            images = ComparedImages(ids, world.truth, None)
            comparison = Comparison(new, old, images, "champion", config)
            passes = all(check.passed for check in (*comparison.no_worse(""), comparison.churn()))
            same.append(bool(replaces[year]) == (passes and comparison.decide(["a reason"], []).replaces))
    return statistics.mean(same)


def _predictions(ids: list[str], world: World, predicted: np.ndarray) -> predictions.Predictions:
    classes = tuple(f"class {index}" for index in range(world.n_classes))
    nothing = np.zeros((world.n, world.n_classes), np.float32)
    return predictions.Predictions(
        ids, world.truth.astype(np.int32), predicted.astype(np.int32), nothing, np.ones(world.n, bool), classes
    )


def _draw(
    path: Path, courses: dict[tuple[int, str], np.ndarray], others: dict[tuple[str, int, str], np.ndarray]
) -> None:
    """The champion's mean true accuracy week by week, where each candidate is 0.5 points worse than it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, len(_IMAGES), sharey=True)
    kind = "0.5 points worse"
    for axis, n in zip(axes, _IMAGES, strict=True):
        axis.plot(100 * courses[n, kind], label="these gates, a reason every week", color="#1b7837", linewidth=2)
        for name, style in (("margin alone", "--"), ("two numbers", ":")):
            axis.plot(100 * others[name, n, kind], style, label=name, color="#555555")
        axis.axhline(100 * (_ACCURACY - _MARGINS[n]), color="#b2182b", linewidth=0.8, label="one margin below")
        axis.set(title=f"{n:,} test images", xlabel="week")
    axes[0].set_ylabel("champion's true accuracy, %")
    axes[0].legend(fontsize=7, loc="lower left")
    figure.savefig(path)
