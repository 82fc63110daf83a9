"""Evaluation: a model on a split, as predictions and the numbers that follow from them."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.engine.processes import child_process
from fer.evaluation import checks as prediction_checks
from fer.evaluation import metrics, predictions, recording, scoring_process
from fer.evaluation.calibration import calibrator
from fer.evaluation.calibration import scores as calibration_scores
from fer.evaluation.refs import CalibrationRef, EvaluationRef
from fer.models import saved_model
from fer.progress import Progress, Reporter
from fer.shards import parquet
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef

METRICS = "metrics.json"
_TIMEOUT_S = 3_600.0


@stage.stage("evaluate")
def evaluate(
    out: Path,
    model: ModelRef,
    shards: ShardsRef,
    split: SplitRef,
    split_name: str,
    calibration: CalibrationRef | None,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> EvaluationRef:
    """Score `model` on the images of `split` named `split_name`: `predictions.parquet`, and from it `metrics.json`;
    beside them `flip_tta.parquet`, with the mean probabilities of each image and its mirror image. All are calibrated
    by `calibration`, where there is one; `uncalibrated.parquet` then has the model's own probabilities, and
    `calibration.json` is that one's, so that a release holds it. `recorded.json` has the model's own answers to inputs
    that show no one.

    A model that names its classes in another order is scored all the same. Raises ConfigError if the classes or the
    size of the images are not the model's, IntegrityError if the model can't be loaded in safe mode, ContractViolation
    for predictions that break their contract; `contract.json` and `data_docs/` show how they keep it.
    """
    if set(model.classes) != set(shards.classes):
        raise errors.ConfigError(
            "A model must be scored on images of its own classes.",
            received=f"a model of {model.classes}, images of {shards.classes}",
            todo="evaluate it on data of its classes",
        )
    child_process.run(
        score,
        {
            "model_folder": str(workspace.folder(model)),
            "model_classes": list(model.classes),
            "shards_folder": str(workspace.folder(shards)),
            "split_folder": str(workspace.folder(split)),
            "split_name": split_name,
            "calibration_folder": None if calibration is None else str(workspace.folder(calibration)),
            "out": str(out),
        },
        scoring_process.job("Scoring", _TIMEOUT_S),
        progress=progress,
    )
    prediction_checks.check(out, workspace.folder(shards), split_name)
    return measured(out, split_name, None if calibration is None else calibrator.load(workspace.folder(calibration)))


def measured(out: Path, split_name: str, known: calibrator.Calibration | None = None) -> EvaluationRef:
    """Write `metrics.json` of the predictions in `out`, and the calibration that is `known`, which all were calibrated
    by; what an evaluation of this split has to say."""
    flip_tta = metrics.from_predictions(out / predictions.FLIP_TTA)
    scores = metrics.from_predictions(out / predictions.FILE).with_flip_tta(flip_tta)
    if known is not None:
        scores = scores.with_calibration(calibration_scores.measure(out, known))
        disk.write(out / calibrator.FILE, known.model_dump_json(indent=1).encode())
    disk.write(out / METRICS, scores.model_dump_json(indent=1).encode())
    return EvaluationRef(
        digest=_digest(out),
        split=split_name,
        n_images=scores.n_images,
        accuracy=scores.accuracy,
        accuracy_interval=scores.accuracy_interval,
        macro_f1=scores.macro.f1,
        macro_f1_interval=scores.macro_f1_interval,
        absent_classes=scores.absent_classes,
        deduplicated=scores.deduplicated,
        flip_tta=scores.flip_tta,
        flip_tta_deduplicated=scores.flip_tta_deduplicated,
    )


def _digest(folder: Path) -> str:
    content = "".join(f"{name}\0{disk.sha256(folder / name)}\n" for name in (predictions.FILE, METRICS))
    return hashlib.sha256(content.encode()).hexdigest()


def score(
    model_folder: str,
    model_classes: list[str],
    shards_folder: str,
    split_folder: str,
    split_name: str,
    calibration_folder: str | None,
    out: str,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """The worker's side: write the predictions of a model folder on a split of a shards folder to `out`."""
    model = saved_model.load(Path(model_folder))
    images = parquet.load_split(Path(shards_folder), split_name)
    saved_model.require_size(model, images.pixels)
    batch_size, n_images = saved_model.batch_size(images.pixels), len(images.pixels)

    def progress_after(n_scored: int) -> Progress:
        return Reporter(lambda done, total, text: progress(n_scored + done, 2 * total, text), progress.note)

    straight = saved_model.probabilities(model, images.pixels, batch_size, progress_after(0))
    mirrored = saved_model.probabilities(model, images.pixels[:, :, ::-1], batch_size, progress_after(n_images))
    calibration = None if calibration_folder is None else calibrator.load(Path(calibration_folder))
    order = [model_classes.index(name) for name in images.classes]
    rows = pq.read_table(Path(split_folder) / files.SPLIT, columns=["image_id", "is_clean"])
    places = pc.index_in(pa.array(images.image_ids, pa.string()), rows["image_id"].combine_chunks())
    is_clean = rows["is_clean"].take(places).to_numpy()
    recording.write(Path(out), model)
    written = {}
    if calibration is not None:
        written[calibration_scores.FILE] = straight
        straight, mirrored = calibration.probabilities(straight), calibration.probabilities(mirrored)
    written |= {predictions.FILE: straight, predictions.FLIP_TTA: (straight + mirrored) / 2}
    for name, probabilities in written.items():
        path = Path(out) / name
        predictions.write(
            path, images.image_ids, images.class_indexes, probabilities[:, order], is_clean, images.classes
        )
    return {"n_images": len(images.image_ids)}
