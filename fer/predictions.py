"""Predictions as Parquet: what a model said about each image of a split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import predictions as contract
from fer import errors

FILE = "predictions.parquet"


@dataclass(frozen=True)
class Predictions:
    image_ids: list[str]
    class_indexes: np.ndarray  # (N,) int32, the truth
    predicted: np.ndarray  # (N,) int32
    probabilities: np.ndarray  # (N, classes) float32
    classes: tuple[str, ...]


def write(
    path: Path,
    image_ids: Sequence[str],
    class_indexes: np.ndarray,
    probabilities: np.ndarray,
    classes: tuple[str, ...],
) -> None:
    """Write (N, classes) float32 `probabilities` of images of which `class_indexes` (N,) is the truth.

    Raises ContractViolation if they make no sound predictions.
    """
    values = pa.array(np.ascontiguousarray(probabilities, np.float32).reshape(-1))
    table = pa.Table.from_arrays(
        [
            pa.array(image_ids, pa.string()),
            pa.array(class_indexes, pa.int32()),
            pa.array(probabilities.argmax(axis=1), pa.int32()),
            pa.FixedSizeListArray.from_arrays(values, len(classes)),
        ],
        schema=contract.schema(classes),
    )
    _check(table, path)
    aside = path.with_name(path.name + ".tmp")
    pq.write_table(table, aside, compression="zstd")
    aside.replace(path)


def read(path: Path) -> Predictions:
    """Read predictions. Raises IntegrityError if they can't be read, ContractViolation if they are not sound."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise errors.IntegrityError(
            "Predictions must be a whole Parquet file.",
            received=f"{type(error).__name__} on reading {path}",
            todo=f"remove {path.parent} and run the same command again; it is made anew",
        ) from error
    _check(table, path)
    classes = contract.classes_of(table.schema)
    return Predictions(
        table["image_id"].to_pylist(),
        table["class_index"].to_numpy(),
        table["predicted"].to_numpy(),
        pc.list_flatten(table["probabilities"]).to_numpy().reshape(-1, len(classes)),
        classes,
    )


def _check(table: pa.Table, path: Path) -> None:
    broken = contract.check(table)
    if broken:
        raise errors.ContractViolation(
            "Predictions must be sound.",
            received=f"in {path}: {'; '.join(broken)}",
            todo="train and evaluate the model again",
        )
