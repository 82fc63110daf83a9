"""Predictions as Parquet: the probabilities that a model gives each image of a split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import predictions as contract
from fer import errors
from fer.engine import disk

FILE = "predictions.parquet"
FLIP_TTA = "flip_tta.parquet"


@dataclass(frozen=True)
class Predictions:
    """N images of a split with their truth and the model's probabilities."""

    image_ids: list[str]
    class_indexes: np.ndarray  # (N,) int32, the truth
    predicted: np.ndarray  # (N,) int32
    probabilities: np.ndarray  # (N, classes) float32
    is_clean: np.ndarray  # (N,) bool: in the de-duplicated version of the split
    classes: tuple[str, ...]


def write(
    path: Path,
    image_ids: Sequence[str],
    class_indexes: np.ndarray,
    probabilities: np.ndarray,
    is_clean: np.ndarray,
    classes: tuple[str, ...],
) -> None:
    """Write (N, classes) float32 `probabilities` of images of which `class_indexes` (N,) is the truth.

    `is_clean` (N,) bool says which are in the de-duplicated version of the split.
    """
    values = pa.array(np.ascontiguousarray(probabilities, np.float32).reshape(-1))
    table = pa.Table.from_arrays(
        [
            pa.array(image_ids, pa.string()),
            pa.array(class_indexes, pa.int32()),
            pa.array(probabilities.argmax(axis=1), pa.int32()),
            pa.FixedSizeListArray.from_arrays(values, len(classes)),
            pa.array(is_clean, pa.bool_()),
        ],
        schema=contract.schema(classes),
    )
    with disk.replacing(path) as staging:
        pq.write_table(table, staging, compression="zstd")


def read(path: Path) -> Predictions:
    """Read predictions. Raises IntegrityError if they can't be read or have other columns than predictions have."""
    try:
        table = pq.read_table(path)
        classes = contract.classes_of(table.schema)
        if not table.schema.equals(contract.schema(classes)):
            raise ValueError(f"the columns must be {contract.schema(classes).names}, are {table.schema.names}")
        if pc.any(pc.invert(pc.is_finite(pc.list_flatten(table["probabilities"])))).as_py():
            raise ValueError("the probabilities must be finite")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise errors.IntegrityError(
            "Predictions must be a whole Parquet file of their own columns.",
            received=f"'{error}' on reading {path}",
            todo=f"remove {path.parent} and run the same command again; it is made anew",
        ) from error
    return Predictions(
        table["image_id"].to_pylist(),
        table["class_index"].to_numpy(),
        table["predicted"].to_numpy(),
        pc.list_flatten(table["probabilities"]).to_numpy().reshape(-1, len(classes)),
        table["is_clean"].to_numpy(),
        classes,
    )


def paired(candidate: Predictions, champion: Predictions) -> np.ndarray:
    """The champion's predicted classes (N,) in the order of the candidate's images. Raises ContractViolation."""
    places = {image_id: row for row, image_id in enumerate(champion.image_ids)}
    if len(places) != len(candidate.image_ids) or not all(image_id in places for image_id in candidate.image_ids):
        shared = sum(image_id in places for image_id in candidate.image_ids)
        raise errors.ContractViolation(
            "Candidate and champion must be scored on the same images.",
            received=f"{len(candidate.image_ids):,} and {len(places):,} images, {shared:,} of them shared",
            todo="evaluate the champion on the candidate's test split",
        )
    rows = np.array([places[image_id] for image_id in candidate.image_ids])
    if not np.array_equal(candidate.class_indexes, champion.class_indexes[rows]):
        raise errors.ContractViolation(
            "Candidate and champion must be scored against the same labels.",
            received="another label for at least one image",
            todo="evaluate the champion on the candidate's test split",
        )
    return champion.predicted[rows]
