"""What the manifest of a data set must look like, and why.

The rules are data: `fer.validation` has Great Expectations check them. Each looks at one of these frames:

files       the manifest: one row a file found that should be an image
images      the rows of `files` that could be decoded
accepted    the rows of `images` that broke no rule of severity `quarantine`, with `n_labels`: how many different
            labels the images with the same pixels have
classes     one row a class: `label`, `n_images` accepted
totals      one row: `n_found`, `n_quarantined`, `quarantined_share`
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

ACCEPTED = "accepted"
QUARANTINED = "quarantined"

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # 32 hex: SHA-256 of path, "\0", file_sha256
        pa.field("path", pa.string(), nullable=False),  # in the archive
        pa.field("raw_label", pa.string(), nullable=False),  # as found
        pa.field("label", pa.string()),  # the class; null if undecided
        pa.field("raw_split", pa.string()),  # as found; null if there is none
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("width", pa.int32()),  # null, as what follows of the pixels, if it could not be decoded
        pa.field("height", pa.int32()),
        pa.field("file_sha256", pa.string(), nullable=False),
        pa.field("pixel_sha256", pa.string()),  # of "HxW:" and the decoded grey pixels
        pa.field("mean", pa.float32()),  # of the grey pixels, 0-255
        pa.field("std", pa.float32()),
        pa.field("status", pa.string(), nullable=False),  # ACCEPTED or QUARANTINED
        pa.field("reason", pa.string()),  # why it is in quarantine
        pa.field("part", pa.int32(), nullable=False),  # images/part-{part:05d}.parquet, row `row`, has the bytes
        pa.field("row", pa.int32(), nullable=False),
    ]
)

PART_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("data", pa.binary(), nullable=False),  # encoded, as found
    ]
)

Severity = Literal["stop", "quarantine", "warn"]
Frame = Literal["files", "images", "accepted", "classes", "totals"]

_SHA256 = "^[0-9a-f]{64}$"


@dataclass(frozen=True)
class Rule:
    """One expectation of the manifest.

    `finding` says what is wrong with the rows that break it. `stop` ends the run, `quarantine` takes the rows out,
    `warn` only says.
    """

    id: str
    frame: Frame
    expectation: str  # Great Expectations' name of it
    arguments: Mapping[str, Any]
    severity: Severity
    finding: str
    why: str


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
            "columns", "files", "expect_table_columns_to_match_ordered_list", {"column_list": SCHEMA.names}, "stop",
            "the manifest has other columns", "every later stage reads them by name",
        ),
        Rule(
            "image_id_unique", "files", "expect_column_values_to_be_unique", {"column": "image_id"}, "stop",
            "image_id occurs more than once", "predictions of two models are paired by it",
        ),
        Rule(
            "path_known", "files", "expect_column_values_to_not_be_null", {"column": "path"}, "stop",
            "path is missing", "without it nobody finds the image again",
        ),
        Rule(
            "path_unique", "files", "expect_column_values_to_be_unique", {"column": "path"}, "stop",
            "path occurs more than once", "two rows for one file count it twice",
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
            "blank", "images", "expect_column_values_to_be_between",
            {"column": "std", "min_value": 1, "strict_min": True}, "quarantine",
            "blank", "grey levels that vary by one or less show no face; FER2013 has 12 black images",
        ),
        Rule(
            "copies", "accepted", "expect_column_values_to_be_unique", {"column": "pixel_sha256"}, "warn",
            "same pixels as another image", "copies weigh double; FER2013 has 1,853 redundant ones",
        ),
        Rule(
            "conflicting_labels", "accepted", "expect_column_values_to_be_in_set",
            {"column": "n_labels", "value_set": [1]}, "warn",
            "same pixels as an image of another class",
            "at most one of them is right; FER2013 has 57 such groups",
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
