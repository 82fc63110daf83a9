"""What the predictions of a model on a split must look like: one row an image, in the shards' order.

Metrics and the comparison with the champion are computed from this file alone, so each row carries its image's id,
by which two models' rows are paired, and all probabilities, from which calibration is measured.
"""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def schema(classes: tuple[str, ...]) -> pa.Schema:
    """The schema for these classes, whose names stand in its metadata."""
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("class_index", pa.int32(), nullable=False),  # the truth
            pa.field("predicted", pa.int32(), nullable=False),  # the most probable
            pa.field("probabilities", pa.list_(pa.float32(), len(classes)), nullable=False),
        ],
        metadata={"classes": json.dumps(list(classes))},
    )


def classes_of(found: pa.Schema) -> tuple[str, ...]:
    """The class names as the schema's metadata says. Raises ValueError if it does not."""
    metadata = found.metadata or {}
    if b"classes" not in metadata:
        raise ValueError("the metadata of predictions must have the classes")
    return tuple(json.loads(metadata[b"classes"]))


def check(table: pa.Table) -> tuple[str, ...]:
    """The rules that predictions break, one line each; empty if they are sound."""
    try:
        classes = classes_of(table.schema)
    except ValueError as error:
        return (str(error),)
    if not table.schema.equals(schema(classes)):
        return (f"the columns must be {schema(classes).names} of the contract's types, are {table.schema.names}",)
    broken = []
    if not table.num_rows:
        return ("there must be a row at least, are 0",)
    for name in ("class_index", "predicted"):
        span = pc.min_max(table[name]).as_py()
        if not 0 <= span["min"] <= span["max"] < len(classes):
            broken.append(f"{name} must be in 0..{len(classes) - 1}, is in {span['min']}..{span['max']}")
    n_ids = pc.count_distinct(table["image_id"]).as_py()
    if n_ids != table.num_rows:  # rows of two models are paired by it
        broken.append(f"image_id must be unique, {table.num_rows} rows have {n_ids}")
    flat = pc.list_flatten(table["probabilities"]).to_numpy()
    sums = flat.reshape(-1, len(classes)).sum(axis=1)
    if not np.isfinite(flat).all() or abs(sums - 1).max() > 1e-3:  # a model that ends in anything but a softmax
        broken.append("probabilities must be finite and add up to 1")
    return tuple(broken)
