"""What a calibration is worth on images that it was not fitted on."""

from pathlib import Path

import numpy as np

from fer.engine.records import Record
from fer.evaluation import intervals, predictions, probabilities
from fer.evaluation.calibration.calibrator import Calibration
from fer.evaluation.probabilities import Bin

FILE = "uncalibrated.parquet"  # beside the predictions: the model's own probabilities


class Quality(Record):
    """How far probabilities can be believed; as in ProbabilityScores."""

    log_loss: float
    brier: float
    calibration_error: float
    adaptive_calibration_error: float
    reliability: tuple[Bin, ...]
    equal_width: tuple[Bin, ...]


class Coverage(Record):
    """How often the true class of some images is in the set, with Wilson's interval at 95 %; `mean_size` in classes.

    `unsure` is the share of images with more than one class in their set.
    """

    name: str
    n_images: int
    coverage: float
    coverage_interval: tuple[float, float]
    mean_size: float
    unsure: float


class SetScores(Record):
    """The sets of one stated coverage: over all images, those of the de-duplicated version, and by true class."""

    stated: float
    all: Coverage
    deduplicated: Coverage | None
    by_class: tuple[Coverage, ...]  # those that have images


class CalibrationScores(Record):
    """`before` and `after` the temperature, on the images of the evaluation.

    `coverage` is the stated one of predictions, whose sets are among `sets`; these are empty where the validation split
    was too small to tell any.
    """

    temperature: float
    why_one: str
    n_validation_images: int
    before: Quality
    after: Quality
    coverage: float
    by_class: bool
    sets: tuple[SetScores, ...]


def measure(folder: Path, calibration: Calibration) -> CalibrationScores:
    """Measure by the predictions in `folder`, and by those beside them from before they were calibrated."""
    rows, own = predictions.read(folder / predictions.FILE), predictions.read(folder / FILE)
    return CalibrationScores(
        temperature=calibration.temperature,
        why_one=calibration.why_one,
        n_validation_images=calibration.n_images,
        before=quality(own.class_indexes, own.probabilities),
        after=quality(rows.class_indexes, rows.probabilities),
        coverage=calibration.coverage,
        by_class=calibration.by_class,
        sets=tuple(_set_scores(rows, calibration, level.coverage) for level in calibration.sets),
    )


def quality(truth: np.ndarray, values: np.ndarray) -> Quality:
    """Of (N,) class indexes and (N, classes) probabilities."""
    bins = probabilities.reliability(truth, values)
    return Quality(
        log_loss=float(probabilities.log_losses(truth, values).mean()),
        brier=float(probabilities.brier_scores(truth, values).mean()),
        calibration_error=probabilities.calibration_error(truth, values),
        adaptive_calibration_error=probabilities.error_of(bins),
        reliability=bins,
        equal_width=probabilities.equal_width(truth, values),
    )


def _set_scores(rows: predictions.Predictions, calibration: Calibration, coverage: float) -> SetScores:
    sets = calibration.sets_of(rows.probabilities, rows.classes, coverage)
    sizes, covered = sets.sum(axis=1), sets[np.arange(len(sets)), rows.class_indexes]

    def of(name: str, chosen: np.ndarray) -> Coverage:
        n_covered, n_images = int(covered[chosen].sum()), int(chosen.sum())
        return Coverage(
            name=name,
            n_images=n_images,
            coverage=n_covered / n_images,
            coverage_interval=intervals.wilson(n_covered, n_images),
            mean_size=float(sizes[chosen].mean()),
            unsure=float((sizes[chosen] > 1).mean()),
        )

    return SetScores(
        stated=coverage,
        all=of("all", np.ones(len(sets), bool)),
        deduplicated=of("de-duplicated", rows.is_clean) if rows.is_clean.any() else None,
        by_class=tuple(
            of(name, rows.class_indexes == index)
            for index, name in enumerate(rows.classes)
            if (rows.class_indexes == index).any()
        ),
    )
