"""What inspection and curation leave about the accepted images."""

from typing import Literal, get_args

import pyarrow as pa

Issue = Literal[
    "exact_duplicate",  # same pixels and label as another image that the source puts in the same split
    "near_duplicate",  # near-duplicate of another image, of whatever kind (see KINDS)
    "conflicting_labels",  # same pixels as an image of another class
    "blank",  # every pixel the same
    "dark",
    "bright",
    "blurry",
    "low_information",
    "odd_size",
    "outlier",  # unlike all the others
    "no_face",  # in which the face detector finds none
]
ISSUES: tuple[Issue, ...] = get_args(Issue)
LABEL_ERROR = "label_error"  # an issue that is only looked for once the splits are known: see LABEL_ERRORS
Action = Literal["keep", "drop", "quarantine"]

# findings.parquet: one row per accepted image, sorted by image_id.
FINDINGS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field(
            "duplicate_group", pa.string(), nullable=False
        ),  # image_id of its first connected duplicate, or its own
        pa.field("outlier_score", pa.float32()),  # the larger, the less like the others; null if it can't be measured
        pa.field("face_score", pa.float32()),  # how sure the face detector is of a face, 0-1; null: not looked for
    ]
)

# label_errors.parquet: one row per image of train, validation or test, sorted by image_id.
LABEL_ERRORS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # of files.SPLITS, before the policy
        pa.field("label", pa.string(), nullable=False),
        pa.field("suggested_label", pa.string()),  # the class that a model of train's labels finds likeliest
        pa.field("label_quality", pa.float32()),  # the probability of its own label, 0-1; of train's images out of fold
        pa.field("is_label_error", pa.bool_(), nullable=False),  # confident learning says that the label is wrong
        pa.field("action", pa.string(), nullable=False),  # of Action; of validation and test always `keep`
    ]
)

# How two images show one photograph; a pair has the first kind that holds.
Kind = Literal[
    "identical",  # the same pixels
    "near",  # as they are their grey levels correlate: other light, compression, blur, some noise
    "shifted",  # they do so once one is moved, zoomed or turned: cropped otherwise, or under a border or a line of text
    "mirrored",  # likewise once one is mirrored
]
KINDS: tuple[Kind, ...] = get_args(Kind)

# pairs.parquet: duplicates, each pair once, sorted.
PAIRS = pa.schema(
    [
        pa.field("first", pa.string(), nullable=False),  # image_id, the smaller of the two
        pa.field("second", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # of KINDS
        # 1 for identical images; of the thumbnails as they are for near ones, of the aligned images for the others
        pa.field("correlation", pa.float32(), nullable=False),
    ]
)

# curation.parquet: one row per accepted image, sorted by image_id.
CURATION = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("pixel_sha256", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("class_index", pa.int32(), nullable=False),
        pa.field("soft_label", pa.list_(pa.float32())),
        pa.field("raw_split", pa.string()),
        pa.field("subject", pa.string()),
        pa.field("duplicate_group", pa.string(), nullable=False),
        pa.field("issues", pa.list_(pa.string()), nullable=False),  # of ISSUES
        pa.field("action", pa.string(), nullable=False),  # of Action: the strictest of its issues' policies
        pa.field("reason", pa.string()),  # the issue that decided the action; null if it is kept
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)
