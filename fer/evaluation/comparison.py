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

from fer.evaluation import metrics, power, predictions
from fer.evaluation.beforehand import ComparedImages
from fer.evaluation.config import GateConfig
from fer.evaluation.refs import Check, Power


class Decision(NamedTuple):
    """Whether a candidate that passed replaces the champion; `for_a_reason`: without being shown to be better."""

    replaces: bool
    for_a_reason: bool
    sentence: str


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
        self.image_ids = np.array(candidate.image_ids, object)[compared]
        self.truth, self.old, self.new = (
            indexes[compared] for indexes in (candidate.class_indexes, released_predicted, candidate.predicted)
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

    def no_worse(self) -> list[Check]:
        """Non-inferiority in accuracy and in macro-F1."""
        confidence = self.config.confidence
        return [
            self._no_worse("accuracy", self.difference.accuracy, self.difference.accuracy_bound(confidence)),
            self._no_worse("macro-F1", self.difference.macro_f1, self.difference.macro_f1_bound(confidence)),
        ]

    def churn(self) -> Check:
        """How many answers get worse, whatever else gets better."""
        n, n_lost, n_gained = len(self.truth), int(self.lost.sum()), int(self.gained.sum())
        most = self.config.max_churn
        return Check(
            name=f"churn against the {self.name}",
            passed=n_lost <= most * n,
            detail=f"{n_lost:,} of {n:,} images ({n_lost / n:.1%}) that the {self.name} has right are wrong now, of at "
            f"most {most:.0%}; {n_gained:,} the other way round",
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
        config, difference = self.config, self.difference
        n_gained, n_lost = int(self.gained.sum()), int(self.lost.sum())
        if not config.superiority:
            return Decision(replaces=True, for_a_reason=False, sentence="whatever passes replaces the champion")
        p = metrics.mcnemar(n_gained, n_lost)
        counts = f"{n_gained:,} images better, {n_lost:,} worse, p = {p:.3g} by McNemar's exact test"
        if p <= 1 - config.superiority:
            return Decision(replaces=True, for_a_reason=False, sentence=f"better than the {self.name}: {counts}")
        not_better = f"not shown to be better than the {self.name} ({counts}; {1 - config.superiority:.3g} would do)"
        if not changes:
            return Decision(False, False, f"{not_better}, and no reason to change: the data and the code are the same")
        reason = " and ".join(changes)
        if len(waivers_used) >= config.waivers:
            spent = f"; {', '.join(waivers_used)}" if waivers_used else ""
            return Decision(
                False,
                False,
                f"{not_better}; {reason}, which is enough {_times(config.waivers)}, by gate.waivers{spent}",
            )
        bound = min(
            difference.accuracy_bound(config.waiver_confidence), difference.macro_f1_bound(config.waiver_confidence)
        )
        shown = (
            f"at {config.waiver_confidence:.0%} confidence accuracy and macro-F1 change by {bound:+.4f} or more, which "
            f"must be at least {-config.waiver_margin:+.4f}"
        )
        if bound < -config.waiver_margin:
            return Decision(False, False, f"{not_better}; {reason}, but {shown}")
        return Decision(replaces=True, for_a_reason=True, sentence=f"as good as the {self.name}, and {reason}: {shown}")

    def _no_worse(self, metric: str, difference: float, bound: float) -> Check:
        config = self.config
        return Check(
            name=f"{metric} no worse than the {self.name}",
            passed=bound >= -config.margin,
            detail=f"{metric} {difference:+.4f} against the {self.name}; at {config.confidence:.0%} confidence at "
            f"least {bound:+.4f}, which must be {-config.margin:+.4f} or more",
        )


def _times(waivers: int) -> str:
    return {0: "never", 1: "once a year", 2: "twice a year"}[waivers]
