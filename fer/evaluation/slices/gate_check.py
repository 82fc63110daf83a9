"""What the gate demands of a candidate's slices."""

from pathlib import Path

from fer.evaluation import intervals
from fer.evaluation.config import GateConfig
from fer.evaluation.refs import Check, Measure
from fer.evaluation.slices import figures

_REASON = "a model can be good on the whole and fail on one kind of images or one group of people"


def no_slice_far_below(folder: Path, config: GateConfig) -> Check:
    """Whether no slice is shown to be worse than the rest by more than allowed, by the slices in a folder.

    Shown is what Holm's correction leaves, and what the upper end of the difference's interval says.
    """
    found = figures.Slices.model_validate_json((folder / figures.FILE).read_bytes())
    most = config.max_slice_gap
    name = f"no slice worse than the rest by more than {most:g}"
    if not found.slices:
        detail = f"no slice of {found.min_slice_size:,} images or more"
        return Check(name=name, passed=True, detail=detail, reason=_REASON)
    worst = min(found.slices, key=lambda one: (not one.is_worse, one.difference_interval[1]))
    bound = worst.difference_interval if worst.is_worse else (worst.difference_interval[0], 0.0)
    held = Measure(
        quantity=f"accuracy on {worst.name} minus that of the rest",
        value=worst.difference,
        interval=bound,
        confidence=intervals.CONFIDENCE,
        judged="upper end",
        demand="at least",
        bound=-most,
        n_images=worst.n_images,
        setting="gate.max_slice_gap",
    )
    shown = "" if worst.is_worse else ", which is not more than chance over so many slices"
    return Check(
        name=name,
        passed=held.holds,
        detail=f"of {len(found.slices):,} slices {sum(one.is_worse for one in found.slices):,} are worse than the "
        f"rest; the worst is {worst.name}: {worst.accuracy:.3f} on {worst.n_images:,} images, {worst.difference:+.3f} "
        f"(95 % interval {worst.difference_interval[0]:+.3f} to {worst.difference_interval[1]:+.3f}){shown}",
        reason=_REASON,
        measure=held,
    )
