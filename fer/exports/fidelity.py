"""How near an exported file's answers are to Keras' own, and what the recipe demands of them."""

import numpy as np

from fer.engine.records import Record
from fer.evaluation import intervals
from fer.evaluation.comparing import differences
from fer.evaluation.refs import Check, Measure
from fer.exports.config import ExportConfig
from fer.exports.serving import Fidelity

GPU_DIFFERENCE = 0.02  # of a probability: what was recorded there is of products of fewer bits (TF32, bfloat16)
_SAME = "whoever serves the export must get what was judged"


class Tally(Record):
    """Counts over images: of those with the same most probable class, and of each of right and wrong by Keras and by
    the file; the largest difference of a probability, infinite if one is no number."""

    n_images: int = 0
    n_same: int = 0
    n_both: int = 0
    n_lost: int = 0
    n_gained: int = 0
    largest_difference: float = 0.0

    def with_batch(self, truth: np.ndarray, keras: np.ndarray, file: np.ndarray) -> "Tally":
        """With more images, of (N,) class indexes and two times (N, classes) probabilities."""
        by_keras, by_file = keras.argmax(axis=1), file.argmax(axis=1)
        right_keras, right_file = by_keras == truth, by_file == truth
        difference = np.abs(file.astype(np.float64) - keras).max(initial=0.0)
        return Tally(
            n_images=self.n_images + len(truth),
            n_same=self.n_same + int((by_keras == by_file).sum()),
            n_both=self.n_both + int((right_keras & right_file).sum()),
            n_lost=self.n_lost + int((right_keras & ~right_file).sum()),
            n_gained=self.n_gained + int((~right_keras & right_file).sum()),
            largest_difference=max(self.largest_difference, float(np.nan_to_num(difference, nan=2.0, posinf=2.0))),
        )


def of(file: str, split: str, tally: Tally) -> Fidelity:
    """The figures of a file by the tally of a split."""
    n_neither = tally.n_images - tally.n_both - tally.n_lost - tally.n_gained
    difference = differences.paired_interval(tally.n_both, tally.n_lost, tally.n_gained, n_neither)
    return Fidelity(
        file=file,
        split=split,
        n_images=tally.n_images,
        agreement=tally.n_same / tally.n_images,
        largest_difference=float(f"{tally.largest_difference:.3g}"),
        accuracy=(tally.n_both + tally.n_gained) / tally.n_images,
        accuracy_difference=difference.value,
        accuracy_interval=difference.interval,
    )


def float32_check(found: Fidelity, config: ExportConfig, *, recorded_on_gpu: bool) -> Check:
    """Whether a float32 file says what Keras says, but for rounding: without it nothing is released."""
    bound = max(GPU_DIFFERENCE, config.max_difference) if recorded_on_gpu else config.max_difference
    measure = Measure(
        quantity=f"largest difference of a probability by {found.file}",
        value=found.largest_difference,
        demand="at most",
        bound=bound,
        unit="probability",
        n_images=found.n_images,
        setting="export.max_difference",
    )
    return Check(
        name=f"{found.file} answers as Keras does",
        passed=measure.holds,
        detail=f"{found.words()}, of {bound:g} that export.max_difference allows",
        reason=_SAME,
        measure=measure,
    )


def int8_check(found: Fidelity, config: ExportConfig) -> Check:
    """Whether a file of 8 bits is shown to be about as accurate: a warning if not, as it is then left out."""
    measure = Measure(
        quantity=f"difference in accuracy by {found.file}",
        value=found.accuracy_difference,
        interval=found.accuracy_interval,
        confidence=intervals.CONFIDENCE,
        judged="lower end",
        demand="at least",
        bound=-config.max_int8_loss,
        n_images=found.n_images,
        setting="export.max_int8_loss",
    )
    low, high = found.accuracy_interval
    left_out = "" if measure.holds else "; it is left out of the release"
    return Check(
        name=f"{found.file} loses at most {config.max_int8_loss:g} of accuracy",
        passed=True,
        detail=f"{found.words()}; accuracy {found.accuracy_difference:+.4f} (95 % interval {low:+.4f} to {high:+.4f}), "
        f"at least {-config.max_int8_loss:+g} by the interval's lower end{left_out}",
        reason="eight bits are for whoever would rather have speed, but not at any price; nobody else is kept waiting",
        measure=measure,
        warns=not measure.holds,
    )


def unconvertible(kind: str, fault: str, config: ExportConfig) -> Check:
    """The failed check of a format that the model can't be converted to."""
    others = ", ".join(f'"{other}"' for other in config.formats if other != kind)
    return Check(
        name=f"exports to {kind}",
        passed=False,
        detail=f"the model can't be converted to {kind}: {fault}; leave it out: --set 'export.formats=[{others}]'",
        reason=_SAME,
    )
