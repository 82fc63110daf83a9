"""The stage `out of fold`: the predictions of each fold's model on the images that it did not learn, as one set.

They are written as those of one model are, so that metrics, gates and reports read both alike. What is measured by them
is the recipe: a model that it trained on the other folds, about as many images, answered each image.
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine import stage
from fer.engine import workspace as workspaces
from fer.evaluation import checks, evaluate, predictions
from fer.evaluation.calibration import calibrator
from fer.evaluation.refs import CalibrationRef, EvaluationRef
from fer.progress import Progress

SPLIT = "out-of-fold"  # in place of a split's name


@stage.stage("out of fold")
def join(
    out: Path,
    evaluations: tuple[EvaluationRef, ...],
    folds: SplitRef,
    calibration: CalibrationRef | None,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> EvaluationRef:
    """Join the `evaluations` of all `folds`: `predictions.parquet`, `flip_tta.parquet`, and `metrics.json` of them.

    `calibration` is that of the model that is released: `calibration.json`, so that a release holds it. Each fold's
    answers are calibrated by its own.
    Raises ContractViolation unless each image of the folds is predicted once.
    """
    folders = [workspace.folder(evaluation) for evaluation in evaluations]
    for name in (predictions.FILE, predictions.FLIP_TTA):
        _write(out / name, [predictions.read(folder / name) for folder in folders])
    rows = pq.read_table(workspace.folder(folds) / files.SPLIT, columns=["image_id", "class_index"])
    truth = dict(zip(rows["image_id"].to_pylist(), rows["class_index"].to_pylist(), strict=True))
    checks.check_against(out, truth, SPLIT)
    if calibration is not None:
        shutil.copyfile(workspace.folder(calibration) / calibrator.FILE, out / calibrator.FILE)
    progress(len(folders), len(folders), "folds joined")
    return evaluate.measured(out, SPLIT)


def _write(path: Path, parts: list[predictions.Predictions]) -> None:
    """Write the parts as one, in the order of image_id."""
    classes = parts[0].classes
    if any(part.classes != classes for part in parts):
        raise errors.ContractViolation(
            "All folds must be of the same classes in the same order.",
            received=f"{[part.classes for part in parts]}",
            todo="run the same command again",
        )
    image_ids = [image_id for part in parts for image_id in part.image_ids]
    order = np.argsort(np.array(image_ids, object), kind="stable")
    class_indexes, probabilities, is_clean = (
        np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("class_indexes", "probabilities", "is_clean")
    )
    predictions.write(path, [image_ids[row] for row in order], class_indexes, probabilities, is_clean, classes)
