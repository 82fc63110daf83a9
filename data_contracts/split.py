"""What a split must look like: one row per image that curation did not put aside, sorted by image_id."""

import pyarrow as pa

EXCLUDED = "excluded"
LABEL_ERROR = {"drop": "label error", "quarantine": "label error, in quarantine"}  # policy -> the reason of its images

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("pixel_sha256", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("class_index", pa.int32(), nullable=False),
        pa.field("soft_label", pa.list_(pa.float32())),
        pa.field("split", pa.string(), nullable=False),  # of files.SPLITS, or EXCLUDED
        pa.field("reason", pa.string()),  # why it is excluded
        # Whether it is in the de-duplicated version of its split, whose figures stand beside the official ones: no
        # duplicate in a split closer to training (excluded or not), the first of its duplicates here, and not dropped.
        pa.field("is_clean", pa.bool_(), nullable=False),
        # pixel_sha256 of its near-duplicates, in this split or not: a model that has seen them has seen this image.
        pa.field("near_duplicates", pa.list_(pa.string()), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)

# assignments.parquet: one row per image that is in a split now or was in one of accepted data, sorted by image_id.
ASSIGNMENTS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("pixel_sha256", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # of files.SPLITS: its own, or its last one
        pa.field("was_tested", pa.bool_(), nullable=False),  # whether it was in test before a rotation
    ]
)

# folds.parquet: one row per image that is tested out of fold, sorted by image_id.
FOLDS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("fold", pa.int32(), nullable=False),  # in which it is tested; it is learned in the others
        pa.field("validation_in", pa.list_(pa.int32()), nullable=False),  # the folds in which it is validated instead
        pa.field("is_learned", pa.bool_(), nullable=False),  # false: its label is in doubt, it is only tested
    ]
)
