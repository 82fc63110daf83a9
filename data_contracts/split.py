"""What a split must look like: one row an image that curation did not put aside, sorted by image_id."""

import pyarrow as pa

EXCLUDED = "excluded"

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
        # near-twin on a side closer to training (excluded or not), the first of its near-twins here, not to be dropped.
        pa.field("is_clean", pa.bool_(), nullable=False),
        # pixel_sha256 of its near-twins with other pixels, in this split or not: who met them has met this image.
        pa.field("near_duplicates", pa.list_(pa.string()), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)

# sides.parquet: one row an image that has a side now or had one in an accepted split before, sorted by image_id.
SIDES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("pixel_sha256", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # of files.SPLITS: where it stands, or stood last
    ]
)
