"""A release's answers on other test images than it was judged by, those left out that it knows."""

import dataclasses

import numpy as np

from fer.curation.refs import SplitRef
from fer.engine import runners
from fer.engine.workspace import Workspace
from fer.evaluation import evaluate, predictions
from fer.evaluation.gates import beforehand
from fer.ingest.refs import ManifestRef
from fer.progress import Progress, silent
from fer.registry.manifest import Manifest
from fer.registry.opponents import champion
from fer.shards import preprocess, preprocessing


def answers(
    version: Manifest, data: ManifestRef, split: SplitRef, workspace: Workspace, *, progress: Progress = silent
) -> predictions.Predictions:
    """Score the version on the test images of `split`, prepared as it was trained; without those that it was trained on
    or chosen by, and near-duplicates of these. All of them for a version that does not say what it was trained on.

    Raises IntegrityError where this code prepares images in another way, ConfigError for data of other classes.
    """
    released = champion.released(version, workspace)
    record = preprocessing.load_record(workspace.folder(released.model))
    record.require_kept()
    shards = preprocess.preprocess(
        data, split, record.config, workspace=workspace, progress=progress, runner=runners.Processes()
    )
    evaluation = evaluate.evaluate(
        released.model, shards, split, "test", released.calibration, workspace=workspace, progress=progress
    )
    rows = predictions.read(workspace.folder(evaluation) / predictions.FILE)
    images = beforehand.read_images(split, released, workspace)
    is_compared = dict(zip(images.image_ids, images.compared.tolist(), strict=True))
    return _without(rows, np.array([is_compared[image_id] for image_id in rows.image_ids], bool))


def _without(rows: predictions.Predictions, is_compared: np.ndarray) -> predictions.Predictions:
    """The rows (N,) that are compared."""
    return dataclasses.replace(
        rows,
        image_ids=[image_id for image_id, is_it in zip(rows.image_ids, is_compared.tolist(), strict=True) if is_it],
        class_indexes=rows.class_indexes[is_compared],
        predicted=rows.predicted[is_compared],
        probabilities=rows.probabilities[is_compared],
        is_clean=rows.is_clean[is_compared],
    )
