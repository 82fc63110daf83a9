"""Predictions against their contract: each by itself, all of a split, and what they say of the model."""

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
    found = predictions.read(out / predictions.FILE)
    truth: dict[str, int] = {}
    for name in parquet.names(shards_folder, split):
        image_ids, class_indexes = parquet.read_labels(shards_folder / name)
        truth |= dict(zip(image_ids, class_indexes.tolist(), strict=True))
    said = found.probabilities.astype(np.float64)  # (N, classes)
    images = pa.table(
        {
            "image_id": found.image_ids,
            "class_index": found.class_indexes,
            "predicted": found.predicted,
            "class_in_split": pa.array([truth.get(each) for each in found.image_ids], pa.int32()),
            "most_probable": pa.array(said.argmax(axis=1), pa.int32()),
            "lowest": said.min(axis=1),
            "highest": said.max(axis=1),
            "sum": said.sum(axis=1),
            "are_finite": np.isfinite(said).all(axis=1),
        }
    )
    n_missing = len(truth.keys() - set(found.image_ids))
    whole = {"split": split, "n_predicted": len(images), "n_images": len(truth), "n_missing": n_missing}
    frames = {
        "images": contracts.Frame(images, lambda row: str(row["image_id"])),
        "split": contracts.Frame(pa.Table.from_pylist([whole]), lambda row: f"{row['n_missing']:,} of {row['split']}"),
        "model": contracts.Frame(_as_a_whole(images), _of_model),
    }
    contracts.check(out, "predictions", frames, contract.rules(found.classes))


def _of_model(row: dict[str, Any]) -> str:
    return f"accuracy {row['accuracy']:.2f}, mean confidence {row['mean_confidence']:.2f}"


def _as_a_whole(images: pa.Table) -> pa.Table:
    """The frame `model` of the contract; nulls where there is nothing to tell."""
    several = pc.count_distinct(images["class_index"]).as_py() > 1
    accuracy = pc.mean(pc.cast(pc.equal(images["class_index"], images["predicted"]), pa.float64())).as_py()
    confidence = pc.mean(images["highest"]).as_py()
    whole = {
        "n_classes_predicted": pc.count_distinct(images["predicted"]).as_py() if several else None,
        "accuracy": accuracy,
        "mean_confidence": confidence,
        "confidence_gap": None if accuracy is None else abs(confidence - accuracy),
    }
    kinds = {"n_classes_predicted": pa.int64()}
    return pa.table({name: pa.array([value], kinds.get(name, pa.float64())) for name, value in whole.items()})
