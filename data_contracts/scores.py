"""What a release says of pictures without labels: a row for each face, or for a picture that shows none.

A row says which picture it is of, what the model was shown of it, the calibrated probabilities, and which release
answered, so that it can be understood without the run that made it. What `fer predict` writes too has the same name
and type there.
"""

import json

import pyarrow as pa

BOX = ("left", "upper", "width", "height")  # of the face, in pixels of the upright picture
PROPERTIES = ("mean", "std", "p05", "p99", "entropy", "sharpness")  # of what the model was shown


def probability_columns(classes: tuple[str, ...]) -> list[str]:
    """The columns of the probabilities, in the order of the classes."""
    return [f"p_{name}" for name in classes]


def schema(classes: tuple[str, ...]) -> pa.Schema:
    """The schema for these classes, whose names stand in its metadata, in the order of the probabilities."""
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),  # as in data_contracts.manifest
            pa.field("path", pa.string(), nullable=False),  # in the source; TABLE#ROW of a table, from 1
            pa.field("finding", pa.string()),  # fer.serving.results.Finding; null of a picture that can't be read
            pa.field("face", pa.int32()),  # of the picture's, from 1, the largest first; null without one
            pa.field("label", pa.string()),  # the most probable class; null where nothing was scored
            pa.field("confidence", pa.float32()),  # its probability
            *(pa.field(column, pa.float32()) for column in probability_columns(classes)),  # calibrated
            pa.field("set", pa.list_(pa.string())),  # the conformal set, the most probable first; null without one
            pa.field("coverage", pa.float64()),  # the share of such faces whose true class is in the set
            pa.field("unsure", pa.bool_()),  # several classes are in the set; null without one
            pa.field("unlike", pa.bool_()),  # what the training held; null of a release that can't tell
            pa.field("taken", pa.string()),  # what the model was shown: `face` or `whole`
            *(pa.field(column, pa.int32()) for column in BOX),
            pa.field("face_score", pa.float64()),  # the detector's confidence, 0-1
            pa.field("error", pa.string()),  # why the picture can't be read
            *(pa.field(name, pa.float32()) for name in PROPERTIES),  # see fer.images.properties
            pa.field("model", pa.dictionary(pa.int32(), pa.string()), nullable=False),  # NAME@VERSION
            pa.field("model_digest", pa.dictionary(pa.int32(), pa.string()), nullable=False),  # of its weights
        ],
        metadata={"classes": json.dumps(list(classes))},
    )


def classes_of(file_schema: pa.Schema) -> tuple[str, ...]:
    """The class names by the metadata of a file's schema. Raises ValueError if it has none."""
    metadata = file_schema.metadata or {}
    if b"classes" not in metadata:
        raise ValueError("the metadata of scores must have the classes")
    return tuple(json.loads(metadata[b"classes"]))
