"""What the gate demands of a candidate's robustness, beside the champion's."""

import statistics

from fer.evaluation.config import GateConfig
from fer.evaluation.gates import beforehand
from fer.evaluation.refs import Check, Measure, RobustnessComparisonRef


def under_corruption(comparison: RobustnessComparisonRef, config: GateConfig) -> Check:
    """Whether the candidate is shown to be no worse under corruption than the champion, except for the margin."""
    who = beforehand.who(comparison.champion_version)
    name = f"accuracy under corruption no worse than the {who}"
    reason = "a model can be as accurate on the images as they are and fail on worse ones, which the test has few of"
    if comparison.difference is None or comparison.standard_error is None:
        detail = f"not compared: only {comparison.n_images:,} of the images are new to the {who}"
        return Check(name=name, passed=True, detail=detail, reason=reason)
    bound = comparison.difference - statistics.NormalDist().inv_cdf(config.confidence) * comparison.standard_error
    measure = Measure(
        quantity="difference in mean accuracy under corruption",
        value=comparison.difference,
        interval=(bound, None),
        confidence=config.confidence,
        judged="lower end",
        demand="at least",
        bound=-config.robustness_margin,
        n_images=comparison.n_images,
        setting="gate.robustness_margin",
    )
    return Check(
        name=name,
        passed=measure.holds,
        detail=f"mean accuracy under corruption {comparison.difference:+.4f} against the {who}; at "
        f"{config.confidence:.0%} confidence at least {bound:+.4f}, which must be {-config.robustness_margin:+.4f} or "
        "more",
        reason=reason,
        measure=measure,
    )
