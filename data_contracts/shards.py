"""What a shard must look like: rows of grey uint8 images, all of one height and width, with their class.

Pixels are `fixed_size_binary(height * width)`, row by row: it reads at more than a million 48x48 images a second,
`list<uint8>` at under a tenth of that. Height, width and class names stand in the schema's metadata, so that a
shard can be read by itself.
"""

import json

import pyarrow as pa
import pyarrow.compute as pc


def schema(height: int, width: int, classes: tuple[str, ...]) -> pa.Schema:
    """The schema of shards of (height, width) uint8 images of these classes."""
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("class_index", pa.int32(), nullable=False),
            pa.field("pixels", pa.binary(height * width), nullable=False),
        ],
        metadata={"height": str(height), "width": str(width), "classes": json.dumps(list(classes))},
    )


def described(found: pa.Schema) -> tuple[int, int, tuple[str, ...]]:
    """(height, width, classes) as a shard's metadata says. Raises ValueError if it does not."""
    metadata = found.metadata or {}
    try:
        return int(metadata[b"height"]), int(metadata[b"width"]), tuple(json.loads(metadata[b"classes"]))
    except KeyError as error:
        raise ValueError(f"a shard's metadata must have {error}") from error


def check(table: pa.Table) -> tuple[str, ...]:
    """The rules that a shard breaks, one line each; empty if it is sound."""
    try:
        height, width, classes = described(table.schema)
    except ValueError as error:
        return (str(error),)
    expected = schema(height, width, classes)
    if not table.schema.equals(expected, check_metadata=True):
        return (f"the schema must be {_short(expected)}, is {_short(table.schema)}",)
    broken = []
    for name in table.column_names:  # a null would be read as whatever bytes stand there
        if table[name].null_count:
            broken.append(f"{name} must not be null, is in {table[name].null_count} rows")
    if table.num_rows:
        span = pc.min_max(table["class_index"]).as_py()
        if span["min"] is not None and not 0 <= span["min"] <= span["max"] < len(classes):
            broken.append(f"class_index must be in 0..{len(classes) - 1}, is in {span['min']}..{span['max']}")
    n_ids = pc.count_distinct(table["image_id"]).as_py()
    if n_ids != table.num_rows:  # predictions are joined on it
        broken.append(f"image_id must be unique, {table.num_rows} rows have {n_ids}")
    return tuple(broken)


def _short(found: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in found)
