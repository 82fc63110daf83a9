"""What the gate demands of a candidate's calibration."""

from fer.evaluation import intervals, predictions, probabilities
from fer.evaluation.config import GateConfig
from fer.evaluation.refs import Check, Measure


def calibration_error(candidate: predictions.Predictions, config: GateConfig) -> Check:
    """Whether the expected calibration error is not shown to be above the bound: by its interval's lower end."""
    value = probabilities.calibration_error(candidate.class_indexes, candidate.probabilities)
    interval = probabilities.score_intervals(candidate.class_indexes, candidate.probabilities)["calibration_error"]
    most = config.max_calibration_error
    held = Measure(
        quantity="calibration error",
        value=value,
        interval=interval,
        confidence=intervals.CONFIDENCE,
        judged="lower end",
        demand="at most",
        bound=most,
        n_images=len(candidate.image_ids),
        setting="gate.max_calibration_error",
    )
    return Check(
        name=f"calibration error at most {most:g}",
        passed=held.holds,
        detail=f"calibration error {value:.4f} (95 % interval {interval[0]:.4f} to {interval[1]:.4f}), at most "
        f"{most:g} by the interval's lower end",
        reason="who acts on a probability must be able to believe it",
        measure=held,
    )
