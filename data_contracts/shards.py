"""What a shard must look like: rows of grey uint8 images, all of one height and width, with their class.

Pixels are `fixed_size_binary(height * width)`, row by row: it reads at more than a million 48x48 images a second,
`list<uint8>` at under a tenth of that. Height, width and class names are in the schema's metadata, so that a
shard can be read by itself.

The rules look at these frames, which grow with the shards and not with the images:

shards      one row per shard as it is on the disk: `shard`, `has_classes`, `height`, `width`, `n_images`, `n_bytes` of
            its file, `n_repeated` (rows whose image_id is in another row of any shard as well),
            `lowest_class`, `highest_class`, null without an image, and `n_flat`, images with every pixel the same
splits      one row per split: `split`, `n_images`
counts      one row per split and class: `split`, `label`, `n_images`, `n_promised`
copies      one row per shard with augmented images: `shard`, `n_copies`, of which `n_without_source` are of no image of
            the source, and `n_of_other_class` of one of another class
"""

import json

import pyarrow as pa

from data_contracts.rules import Rule

MAX_SHARD_BYTES = 128 * 2**20


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


def metadata(file_schema: pa.Schema) -> tuple[int, int, tuple[str, ...]]:
    """(height, width, classes) by the metadata of a shard's schema. Raises ValueError if it has none."""
    values = file_schema.metadata or {}
    try:
        return int(values[b"height"]), int(values[b"width"]), tuple(json.loads(values[b"classes"]))
    except KeyError as error:
        raise ValueError(f"a shard's metadata must have {error}") from error


def rules(classes: tuple[str, ...], *, height: int, width: int) -> tuple[Rule, ...]:
    """The contract, in the order in which it is checked."""
    return (
        Rule(
            "shard_classes", "shards", "expect_column_values_to_be_in_set",
            {"column": "has_classes", "value_set": [True]}, "stop",
            "shard of other classes", "training reads the classes by index",
        ),
        Rule(
            "shard_height", "shards", "expect_column_values_to_be_in_set",
            {"column": "height", "value_set": [height]}, "stop",
            "shard of images of another height", "a model's input has one size",
        ),
        Rule(
            "shard_width", "shards", "expect_column_values_to_be_in_set",
            {"column": "width", "value_set": [width]}, "stop",
            "shard of images of another width", "a model's input has one size",
        ),
        Rule(
            "shard_not_empty", "shards", "expect_column_values_to_be_between",
            {"column": "n_images", "min_value": 1}, "stop",
            "shard without an image", "its images are then missing from the split",
        ),
        Rule(
            "shard_size", "shards", "expect_column_values_to_be_between",
            {"column": "n_bytes", "max_value": MAX_SHARD_BYTES}, "warn",
            "shard of more bytes than usual", "each worker holds a whole shard in memory",
        ),
        Rule(
            "image_id_unique", "shards", "expect_column_values_to_be_between",
            {"column": "n_repeated", "max_value": 0}, "stop",
            "shard with an image_id that occurs more than once", "an image in two splits leaks from one to the other",
        ),
        Rule(
            "lowest_class", "shards", "expect_column_values_to_be_between",
            {"column": "lowest_class", "min_value": 0}, "stop",
            "shard with a class_index below 0", "the model has one output per class",
        ),
        Rule(
            "highest_class", "shards", "expect_column_values_to_be_between",
            {"column": "highest_class", "max_value": len(classes) - 1}, "stop",
            "shard with a class_index of no class", "the model has one output per class",
        ),
        Rule(
            "contrast", "shards", "expect_column_values_to_be_between",
            {"column": "n_flat", "max_value": 0}, "warn",
            "shard with images of one grey", "such an image teaches nothing but its label",
        ),
        Rule(
            "split_not_empty", "splits", "expect_column_values_to_be_between",
            {"column": "n_images", "min_value": 1}, "stop",
            "split without an image", "without one a model can't be trained, chosen or measured",
        ),
        Rule(
            "counts_as_promised", "counts", "expect_column_pair_values_to_be_equal",
            {"column_A": "n_images", "column_B": "n_promised"}, "stop",
            "class with more or fewer images than promised", "images were lost or came twice on the way",
        ),
        Rule(
            "copy_has_source", "copies", "expect_column_values_to_be_between",
            {"column": "n_without_source", "max_value": 0}, "stop",
            "shard with augmented images without their source", "they may be copies of images of another split",
        ),
        Rule(
            "copy_keeps_class", "copies", "expect_column_values_to_be_between",
            {"column": "n_of_other_class", "max_value": 0}, "stop",
            "shard with augmented images of another class than their source",
            "augmentation changes how a face looks, not its class",
        ),
    )  # fmt: skip
