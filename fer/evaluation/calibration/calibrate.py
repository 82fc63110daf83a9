"""The stage `calibrate`: how sure a trained model may say that it is, told by its validation images.

The answers stay as they are, and with them all that is decided by these. The test split is not read.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from fer.curation.refs import SplitRef
from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.evaluation import probabilities
from fer.evaluation.calibration import calibrator, conformal, temperature
from fer.evaluation.calibration.config import CalibrationConfig
from fer.evaluation.refs import CalibrationRef
from fer.models import validation
from fer.progress import Progress
from fer.training.refs import ModelRef

LEVELS = (0.8, 0.9, 0.95, 0.99)  # whose sets are measured beside those of the stated coverage


@stage.stage("calibrate")
def calibrate(
    out: Path,
    model: ModelRef,
    split: SplitRef,
    config: CalibrationConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> CalibrationRef:
    """Write `calibration.json` by what `model` said of the validation images of `split` at the end of its training.

    Fitted on the de-duplicated ones: a model is surer of what it has seen the like of. Raises IntegrityError.
    """
    outputs = validation.read(workspace.folder(model), len(model.classes))
    rows = pq.read_table(workspace.folder(split) / files.SPLIT, columns=["image_id", "is_clean"])
    places = pc.index_in(pa.array(outputs.image_ids, pa.string()), rows["image_id"].combine_chunks())
    clean = pc.fill_null(rows["is_clean"].take(places), False).to_numpy().astype(bool)
    truth, raw = outputs.class_indexes[clean], outputs.probabilities[clean]
    fitted = fit(truth, raw, model.classes, config)
    disk.write(out / calibrator.FILE, fitted.model_dump_json(indent=1).encode())
    calibrated = fitted.probabilities(raw)
    measured = tuple(probabilities.calibration_error(truth, values) for values in (raw, calibrated) if len(truth))
    progress(1, 1, "calibrated")
    return calibrator.ref(fitted).model_copy(update={"calibration_errors": measured})


def fit(
    truth: np.ndarray, raw: np.ndarray, classes: Sequence[str], config: CalibrationConfig
) -> calibrator.Calibration:
    """The calibration by (N,) class indexes and a model's (N, classes) probabilities."""
    n_images, counts = len(truth), np.bincount(truth, minlength=len(classes)).tolist()
    levels: tuple[calibrator.SetLevel, ...] = ()
    if n_images < config.min_images:
        fitted = temperature.Fit(
            1.0, f"{n_images:,} validation images, fewer than calibration.min_images={config.min_images:,}"
        )
    else:
        fitted = temperature.fit(truth, raw)
        coverages = sorted({config.coverage, *LEVELS})
        scaled = temperature.scaled(raw, fitted.temperature)
        highest = conformal.thresholds(truth, scaled, coverages, by_class=config.by_class)
        levels = tuple(
            calibrator.SetLevel(
                coverage=coverage,
                thresholds={
                    name: float(value) if np.isfinite(value) else None for name, value in zip(classes, row, strict=True)
                },
            )
            for coverage, row in zip(coverages, highest, strict=True)
        )
    return calibrator.Calibration(
        classes=tuple(classes),
        temperature=fitted.temperature,
        why_one=fitted.why_one,
        coverage=config.coverage,
        by_class=config.by_class,
        sets=levels,
        n_images=n_images,
        images_by_class=dict(zip(classes, counts, strict=True)),
    )
