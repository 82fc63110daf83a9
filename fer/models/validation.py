"""What a trained model says of its validation images: `validation.parquet` beside the model.

By it the model is calibrated, without being loaded once more.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer import errors

FILE = "validation.parquet"


class Outputs(NamedTuple):
    """N images of the validation split with their truth and the model's probabilities, in the order of the classes."""

    image_ids: list[str]
    class_indexes: np.ndarray  # (N,) int32, the truth
    probabilities: np.ndarray  # (N, classes) float32


def write(folder: Path, outputs: Outputs) -> None:
    """Write them to a model's folder."""
    values = pa.array(np.ascontiguousarray(outputs.probabilities, np.float32).reshape(-1))
    table = pa.Table.from_arrays(
        [
            pa.array(outputs.image_ids, pa.string()),
            pa.array(outputs.class_indexes, pa.int32()),
            pa.FixedSizeListArray.from_arrays(values, outputs.probabilities.shape[1]),
        ],
        schema=_schema(outputs.probabilities.shape[1]),
    )
    pq.write_table(table, folder / FILE, compression="zstd")


def read(folder: Path, n_classes: int) -> Outputs:
    """Read those of a model of `n_classes`. Raises IntegrityError for a file that is not such as `write` writes."""
    path = folder / FILE
    try:
        table = pq.read_table(path)
        if not table.schema.equals(_schema(n_classes)):
            raise ValueError(f"the columns must be {_schema(n_classes)}, are {table.schema}")
        probabilities = pc.list_flatten(table["probabilities"]).to_numpy().reshape(-1, n_classes)
        class_indexes = table["class_index"].to_numpy()
        if not np.isfinite(probabilities).all() or not np.isin(class_indexes, np.arange(n_classes)).all():
            raise ValueError("the probabilities must be finite, and the truth one of the classes")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise errors.IntegrityError(
            "What a model says of its validation images must be a whole Parquet file of its own columns.",
            received=f"'{error}' on reading {path}",
            todo=f"remove {folder} and run the same command again; it is made anew",
        ) from error
    return Outputs(table["image_id"].to_pylist(), class_indexes, probabilities)


def _schema(n_classes: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("class_index", pa.int32(), nullable=False),
            pa.field("probabilities", pa.list_(pa.float32(), n_classes), nullable=False),
        ]
    )
