"""A candidate against a released model, image by image, and whether it replaces the champion.

"No worse" is non-inferiority: the one-sided lower bound of candidate minus released model must lie above minus a
margin. A plain comparison of two numbers would let chance decide between equal models.

To pass is not to replace. Of weekly candidates that are as good as the champion, nearly each would pass, and replace it
for nothing; each a little worse would take it down by little steps. So a champion yields to a candidate that is shown
to be better (McNemar's exact test), or, a few times a year, to one that a reason speaks for and that is shown to be no
worse by a narrower bound. docs/explanation/gates.md has what this comes to in a year of weekly decisions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fer.evaluation import metrics, predictions
from fer.evaluation.config import GateConfig
from fer.evaluation.gates import power
from fer.evaluation.gates.beforehand import ComparedImages
from fer.evaluation.refs import Check, Measure, Power


class Decision(NamedTuple):
    """Whether a candidate that passed replaces the champion; `for_a_reason`: without being shown to be better."""

    replaces: bool
    for_a_reason: bool
    sentence: str = ""
    checks: tuple[Check, ...] = ()  # what decided it


class Comparison:
    """A candidate's predictions beside those of a released model, on the images that this one was not trained on.

    `name` is the released model's in sentences. Raises ContractViolation unless both are of the same images and labels.
    """

    def __init__(
        self,
        candidate: predictions.Predictions,
        released: predictions.Predictions,
        images: ComparedImages,
        name: str,
        config: GateConfig,
    ):
        released_predicted = predictions.paired(candidate, released)
        is_compared = dict(zip(images.image_ids, images.compared.tolist(), strict=True))
        compared = np.array([is_compared[image_id] for image_id in candidate.image_ids])
        self.name, self.config = name, config
        image_ids = np.array(candidate.image_ids, object)
        rows = np.flatnonzero(compared)
        rows = rows[np.argsort(image_ids[rows])]  # the bootstrap draws by place: the rows' order must not count
        self.image_ids = image_ids[rows]
        self.truth, self.old, self.new = (
            indexes[rows] for indexes in (candidate.class_indexes, released_predicted, candidate.predicted)
        )
        self.classes = candidate.classes
        self.difference = metrics.paired_difference(
            self.truth, self.old, self.new, len(self.classes), samples=config.samples, seed=config.seed
        )

    @property
    def lost(self) -> np.ndarray:
        """(N,) bool: the images that the released model has right and the candidate wrong."""
        return (self.old == self.truth) & (self.new != self.truth)

    @property
    def gained(self) -> np.ndarray:
        """(N,) bool: the images that the candidate has right and the released model wrong."""
        return (self.old != self.truth) & (self.new == self.truth)

    def no_worse(self, reason: str) -> list[Check]:
        """Non-inferiority in accuracy and in macro-F1, demanded for that `reason`."""
        config = self.config
        return [
            Check(
                name=f"{metric} no worse than the {self.name}",
                passed=measure.holds,
                detail=f"{metric} {value:+.4f} against the {self.name}; at {config.confidence:.0%} confidence "
                f"at least {bound:+.4f}, which must be {-config.margin:+.4f} or more",
                reason=reason,
                measure=measure,
            )
            for metric, value, bound, measure in self._differences(config.confidence, config.margin, "gate.margin")
        ]

    def _differences(self, confidence: float, margin: float, setting: str) -> list[tuple[str, float, float, Measure]]:
        """By metric the difference, its lower bound, and the measure of it that must be above minus the margin."""
        difference = self.difference
        bounds = {
            "accuracy": (difference.accuracy, difference.accuracy_bound(confidence)),
            "macro-F1": (difference.macro_f1, difference.macro_f1_bound(confidence)),
        }
        return [
            (
                metric,
                value,
                bound,
                Measure(
                    quantity=f"difference in {metric}",
                    value=value,
                    interval=(bound, None),
                    confidence=confidence,
                    judged="lower end",
                    demand="at least",
                    bound=-margin,
                    n_images=len(self.truth),
                    setting=setting,
                ),
            )
            for metric, (value, bound) in bounds.items()
        ]

    def churn(self) -> Check:
        """How many answers get worse, whatever else gets better."""
        n, n_lost, n_gained = len(self.truth), int(self.lost.sum()), int(self.gained.sum())
        measure = Measure(
            quantity="churn",
            value=n_lost / n,
            demand="at most",
            bound=self.config.max_churn,
            n_images=n,
            setting="gate.max_churn",
        )
        return Check(
            name=f"churn against the {self.name}",
            passed=measure.holds,
            detail=f"{n_lost:,} of {n:,} images ({n_lost / n:.1%}) that the {self.name} has right are wrong now, of at "
            f"most {measure.bound:.0%}; {n_gained:,} the other way round",
            reason="whoever relied on an answer that was right loses it, whatever gets better beside it",
            measure=measure,
        )

    def power(self) -> Power:
        """What this comparison can tell at all."""
        return power.of_comparison(
            len(self.truth),
            int((self.lost | self.gained).sum()),
            macro_f1_se=self.difference.macro_f1_se,
            correlation=self.difference.correlation,
            margin=self.config.margin,
            confidence=self.config.confidence,
        )

    def decide(self, changes: Sequence[str], waivers_used: Sequence[str]) -> Decision:
        """Whether the candidate, if it passed, replaces the released model as champion.

        `changes` are reasons for it, `waivers_used` the promotions of the last year for which a reason was enough.
        """
        config, n_gained, n_lost = self.config, int(self.gained.sum()), int(self.lost.sum())
        if not config.superiority:
            return Decision(replaces=True, for_a_reason=False, sentence="whatever passes replaces the champion")
        p = metrics.mcnemar(n_gained, n_lost)
        better = self._better(p, f"{n_gained:,} images better, {n_lost:,} worse, p = {p:.3g} by McNemar's exact test")
        if better.passed:
            return Decision(True, False, f"better than the {self.name}: {better.detail}", (better,))
        not_better = (
            f"not shown to be better than the {self.name} ({better.detail}; {1 - config.superiority:.3g} would do)"
        )
        if not changes:
            why = f"{not_better}, and no reason to change: the data and the code are the same"
            return Decision(False, False, why, (better,))
        reason = " and ".join(changes)
        left = self._waivers_left(waivers_used)
        if not left.passed:
            return Decision(False, False, f"{not_better}; {reason}, which is enough {left.detail}", (better, left))
        differences = self._differences(config.waiver_confidence, config.waiver_margin, "gate.waiver_margin")
        bound = min(bound for _, _, bound, _ in differences)
        shown = (
            f"at {config.waiver_confidence:.0%} confidence accuracy and macro-F1 change by {bound:+.4f} or more, which "
            f"must be at least {-config.waiver_margin:+.4f}"
        )
        as_good = [
            Check(
                name=f"{metric} as good as the {self.name}'s",
                passed=measure.holds,
                detail=f"at least {bound:+.4f}",
                reason="a reason to change is none to get worse",
                measure=measure,
            )
            for metric, _, bound, measure in differences
        ]
        decided_by = (better, left, *as_good)
        if not all(check.passed for check in as_good):
            return Decision(False, False, f"{not_better}; {reason}, but {shown}", decided_by)
        return Decision(True, True, f"as good as the {self.name}, and {reason}: {shown}", decided_by)

    def _better(self, p: float, detail: str) -> Check:
        measure = Measure(
            quantity="p-value that it is better in accuracy",
            value=p,
            demand="at most",
            bound=1 - self.config.superiority,
            unit="probability",
            n_images=len(self.truth),
            setting="gate.superiority",
        )
        return Check(
            name=f"better than the {self.name}",
            passed=measure.holds,
            detail=detail,
            reason="each swap changes answers, which a model that is only as good is not worth",
            measure=measure,
        )

    def _waivers_left(self, used: Sequence[str]) -> Check:
        """Whether a reason is still enough this year."""
        waivers = self.config.waivers
        measure = Measure(
            quantity="replacements for a reason within a year, this one among them",
            value=len(used) + 1,
            demand="at most",
            bound=waivers,
            unit="replacements",
            setting="gate.waivers",
        )
        spent = f"; {', '.join(used)}" if used else ""
        return Check(
            name="a reason is enough",
            passed=measure.holds,
            detail=f"{_times(waivers)}, by gate.waivers{spent}",
            reason="the data or the code has always changed: each time a little could be lost",
            measure=measure,
        )


def _times(waivers: int) -> str:
    return {0: "never", 1: "once a year", 2: "twice a year"}[waivers]
