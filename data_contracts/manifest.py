"""What the manifest of a data set must look like, and why.

Each rule looks at one of these frames:

columns     the manifest without its rows
files       the manifest: one row per file found that should be an image
images      the rows of `files` that could be decoded
classes     one row per class: `label`, `n_images` accepted: in `images`, and no rule of severity `quarantine` broken
totals      one row: `n_found`, `n_quarantined`, `quarantined_share`
"""

from collections.abc import Iterable

import pyarrow as pa

from data_contracts.rules import Rule

ACCEPTED = "accepted"
QUARANTINED = "quarantined"

THUMBNAIL_SIDE = 48  # pixels

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # 32 hex: SHA-256 of path, "\0", file_sha256
        pa.field("source", pa.string(), nullable=False),  # as in `DatasetRef.source`
        pa.field("path", pa.string(), nullable=False),  # in the source
        pa.field("raw_label", pa.string(), nullable=False),  # as found
        pa.field("label", pa.string()),  # the class; null if undecided
        pa.field("soft_label", pa.list_(pa.float32())),  # annotators' votes as shares, in the order of the classes
        pa.field("raw_split", pa.string()),  # as found; null if there is none
        pa.field("subject", pa.string()),  # who is shown, as found; null if unknown
        pa.field("groups", pa.map_(pa.string(), pa.string())),  # column -> group, as found, of those that are known
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("format", pa.string()),  # JPEG, PNG, ...; null, as what follows of the pixels, if it was not decoded
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("file_sha256", pa.string(), nullable=False),
        pa.field("pixel_sha256", pa.string()),  # of "HxW:" and the decoded grey pixels
        pa.field("mean", pa.float32()),  # of the grey pixels, 0-255
        pa.field("std", pa.float32()),
        pa.field("p05", pa.float32()),  # 5th percentile of the grey pixels: a bright image's is high
        pa.field("p99", pa.float32()),  # 99th percentile: a dark image's is low
        pa.field("entropy", pa.float32()),  # of the grey levels, bits, 0-8
        pa.field("sharpness", pa.float32()),  # see fer.images.Properties
        pa.field("status", pa.string(), nullable=False),  # ACCEPTED or QUARANTINED
        pa.field("reason", pa.string()),  # why it is in quarantine
        pa.field("part", pa.int32(), nullable=False),  # images/part-{part:05d}.arrow, row `row`, has the bytes
        pa.field("row", pa.int32(), nullable=False),
    ]
)

PART_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("data", pa.binary(), nullable=False),  # encoded, as found
    ]
)

# thumbnails/part-*.parquet, row by row as images/part-*.arrow: grey, area-averaged to a square, uint8.
THUMBNAIL_SCHEMA = pa.schema([pa.field("pixels", pa.binary(THUMBNAIL_SIDE * THUMBNAIL_SIDE))])  # null: not decoded

_SHA256 = "^[0-9a-f]{64}$"


def rules(
    classes: Iterable[str],
    *,
    min_side_px: int,
    max_side_px: int,
    min_images_per_class: int,
    max_quarantined_share: float,
) -> tuple[Rule, ...]:
    """The contract, in the order in which it is checked."""
    return (
        Rule(
            "columns", "columns", "expect_table_columns_to_match_ordered_list", {"column_list": SCHEMA.names}, "stop",
            "the manifest has other columns", "every later stage reads them by name",
        ),
        Rule(
            "image_id_unique", "files", "expect_column_values_to_be_unique", {"column": "image_id"}, "stop",
            "image_id occurs more than once", "predictions of two models are paired by it",
        ),
        Rule(
            "path_unique", "files", "expect_compound_columns_to_be_unique", {"column_list": ["source", "path"]}, "stop",
            "path occurs more than once in a source", "two rows for one file count it twice",
        ),
        Rule(
            "file_digest", "files", "expect_column_values_to_match_regex",
            {"column": "file_sha256", "regex": _SHA256}, "stop",
            "file_sha256 is no SHA-256", "the bytes that a model learned from are proven by it",
        ),
        Rule(
            "status_known", "files", "expect_column_values_to_be_in_set",
            {"column": "status", "value_set": [ACCEPTED, QUARANTINED]}, "stop",
            "status is unknown", "an image is used or not; there is nothing between",
        ),
        Rule(
            "label_known", "images", "expect_column_values_to_not_be_null", {"column": "label"}, "stop",
            "label is undecided", "training on an unlabelled image is not defined",
        ),
        Rule(
            "label_in_classes", "images", "expect_column_values_to_be_in_set",
            {"column": "label", "value_set": list(classes)}, "stop",
            "label is none of the classes", "the model has one output a class",
        ),
        Rule(
            "pixel_digest_known", "images", "expect_column_values_to_not_be_null", {"column": "pixel_sha256"}, "stop",
            "pixel_sha256 is missing", "copies are kept on one side of the split by it",
        ),
        Rule(
            "pixel_digest", "images", "expect_column_values_to_match_regex",
            {"column": "pixel_sha256", "regex": _SHA256}, "stop",
            "pixel_sha256 is no SHA-256", "copies are kept on one side of the split by it",
        ),
        Rule(
            "width", "images", "expect_column_values_to_be_between",
            {"column": "width", "min_value": min_side_px, "max_value": max_side_px}, "quarantine",
            "too narrow or too wide", "an icon shows no expression; a huge picture is no cropped face",
        ),
        Rule(
            "height", "images", "expect_column_values_to_be_between",
            {"column": "height", "min_value": min_side_px, "max_value": max_side_px}, "quarantine",
            "too low or too high", "an icon shows no expression; a huge picture is no cropped face",
        ),
        Rule(
            "images_per_class", "classes", "expect_column_values_to_be_between",
            {"column": "n_images", "min_value": min_images_per_class}, "stop",
            "class with too few images", "a class with hardly any image can be neither learned nor measured",
        ),
        Rule(
            "quarantined_share", "totals", "expect_column_values_to_be_between",
            {"column": "quarantined_share", "max_value": max_quarantined_share}, "stop",
            "too large a share of the images is in quarantine", "the source is then damaged, or another than expected",
        ),
    )  # fmt: skip
