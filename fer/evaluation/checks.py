"""Predictions against their contract: image by image, the split as a whole, and the model as a whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts import predictions as contract
from fer.engine import contracts
from fer.evaluation import predictions
from fer.shards import parquet


def check(out: Path, shards_folder: Path, split: str) -> None:
    """Hold the predictions in `out` against their contract and the split that they are of; see `contracts.check`.

    Raises ContractViolation, and IntegrityError for files that can't be read.
    """
    truth: dict[str, int] = {}
    for name in parquet.names(shards_folder, split):
        image_ids, class_indexes = parquet.read_labels(shards_folder / name)
        truth |= dict(zip(image_ids, class_indexes.tolist(), strict=True))
    check_against(out, truth, split)


def check_against(out: Path, truth: Mapping[str, int], split: str) -> None:
    """Do the same with a split of which `truth` has the class index of each image."""
    rows = predictions.read(out / predictions.FILE)
    probabilities = rows.probabilities.astype(np.float64)  # (N, classes)
    images = pa.table(
        {
            "image_id": rows.image_ids,
            "class_index": rows.class_indexes,
            "predicted": rows.predicted,
            "class_in_split": pa.array([truth.get(image_id) for image_id in rows.image_ids], pa.int32()),
            "most_probable": pa.array(probabilities.argmax(axis=1), pa.int32()),
            "lowest": probabilities.min(axis=1),
            "highest": probabilities.max(axis=1),
            "sum": probabilities.sum(axis=1),
            "are_finite": np.isfinite(probabilities).all(axis=1),
        }
    )
    n_missing = len(truth.keys() - set(rows.image_ids))
    split_row = {"split": split, "n_predicted": len(images), "n_images": len(truth), "n_missing": n_missing}
    frames = {
        "images": contracts.Frame(images, lambda row: str(row["image_id"])),
        "split": contracts.Frame(
            pa.Table.from_pylist([split_row]), lambda row: f"{row['n_missing']:,} of {row['split']}"
        ),
        "model": contracts.Frame(_model_frame(images), _shown_model),
    }
    contracts.check(out, "predictions", frames, contract.rules(rows.classes))


def _shown_split(row: dict[str, Any]) -> str:
    return f"{row['n_missing']:,} of {row['split']}"


def _shown_model(row: dict[str, Any]) -> str:
    return f"accuracy {row['accuracy']:.2f}, mean confidence {row['mean_confidence']:.2f}"


def _model_frame(images: pa.Table) -> pa.Table:
    """The frame `model` of the contract; null where a value is not defined."""
    has_several_classes = pc.count_distinct(images["class_index"]).as_py() > 1
    accuracy = pc.mean(pc.cast(pc.equal(images["class_index"], images["predicted"]), pa.float64())).as_py()
    confidence = pc.mean(images["highest"]).as_py()
    row = {
        "n_classes_predicted": pc.count_distinct(images["predicted"]).as_py() if has_several_classes else None,
        "accuracy": accuracy,
        "mean_confidence": confidence,
        "confidence_gap": None if accuracy is None else abs(confidence - accuracy),
    }
    types = {"n_classes_predicted": pa.int64()}
    return pa.table({name: pa.array([value], types.get(name, pa.float64())) for name, value in row.items()})
