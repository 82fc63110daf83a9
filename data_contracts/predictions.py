"""What the predictions of a model on a split must look like: one row per image, in the shards' order.

Metrics and the comparison with the champion are computed from this file alone, so each row carries its image's id,
by which two models' rows are paired, and all probabilities, from which calibration is measured.

The rules look at these frames:

images      one row per image: `image_id`, `class_index`, `predicted`; `class_in_split`, its class in the shards, null
            if it is not there; of its probabilities `most_probable`, `lowest`, `highest`, `sum` and `are_finite`
split       one row: `n_predicted`, `n_images` of the split, `n_missing` among the predictions
model       one row: `n_classes_predicted`, null if the split has one class; `accuracy`, `mean_confidence` and
            `confidence_gap` between the two
"""

import json

import pyarrow as pa

from data_contracts.rules import Rule

SUM_TOLERANCE = 1e-3
MAX_CONFIDENCE_GAP = 0.5


def schema(classes: tuple[str, ...]) -> pa.Schema:
    """The schema for these classes, whose names stand in its metadata."""
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("class_index", pa.int32(), nullable=False),  # the truth
            pa.field("predicted", pa.int32(), nullable=False),  # the most probable
            pa.field("probabilities", pa.list_(pa.float32(), len(classes)), nullable=False),
            pa.field("is_clean", pa.bool_(), nullable=False),  # as in data_contracts.split
        ],
        metadata={"classes": json.dumps(list(classes))},
    )


def classes_of(file_schema: pa.Schema) -> tuple[str, ...]:
    """The class names by the metadata of a file's schema. Raises ValueError if it has none."""
    metadata = file_schema.metadata or {}
    if b"classes" not in metadata:
        raise ValueError("the metadata of predictions must have the classes")
    return tuple(json.loads(metadata[b"classes"]))


def rules(classes: tuple[str, ...]) -> tuple[Rule, ...]:
    """The contract, in the order in which it is checked."""
    last = len(classes) - 1
    return (
        Rule(
            "image_id_unique", "images", "expect_column_values_to_be_unique", {"column": "image_id"}, "stop",
            "image_id occurs more than once", "two models are compared image by image",
        ),
        Rule(
            "class_index_in_range", "images", "expect_column_values_to_be_between",
            {"column": "class_index", "min_value": 0, "max_value": last}, "stop",
            "class_index is that of no class", "the truth must be something that the model can say",
        ),
        Rule(
            "predicted_in_range", "images", "expect_column_values_to_be_between",
            {"column": "predicted", "min_value": 0, "max_value": last}, "stop",
            "predicted is no class", "the model has one output a class",
        ),
        Rule(
            "probabilities_finite", "images", "expect_column_values_to_be_in_set",
            {"column": "are_finite", "value_set": [True]}, "stop",
            "probabilities are not finite", "the model has diverged, and nothing can be measured by them",
        ),
        Rule(
            "probabilities_lowest", "images", "expect_column_values_to_be_between",
            {"column": "lowest", "min_value": 0}, "stop",
            "probability below 0", "the model then ends in something else than a softmax",
        ),
        Rule(
            "probabilities_highest", "images", "expect_column_values_to_be_between",
            {"column": "highest", "max_value": 1 + SUM_TOLERANCE}, "stop",
            "probability above 1", "the model then ends in something else than a softmax",
        ),
        Rule(
            "probabilities_sum", "images", "expect_column_values_to_be_between",
            {"column": "sum", "min_value": 1 - SUM_TOLERANCE, "max_value": 1 + SUM_TOLERANCE}, "stop",
            "probabilities do not add up to 1", "the model then ends in something else than a softmax",
        ),
        Rule(
            "predicted_most_probable", "images", "expect_column_pair_values_to_be_equal",
            {"column_A": "predicted", "column_B": "most_probable"}, "stop",
            "predicted is not the most probable class", "accuracy and calibration would speak of two models",
        ),
        Rule(
            "image_of_split", "images", "expect_column_values_to_not_be_null", {"column": "class_in_split"}, "stop",
            "image is not in the split", "a model is measured on the images of its split and no other",
        ),
        Rule(
            "truth_of_split", "images", "expect_column_pair_values_to_be_equal",
            {"column_A": "class_index", "column_B": "class_in_split", "ignore_row_if": "either_value_is_missing"},
            "stop",
            "class_index is another than in the shards", "the model is measured by a wrong truth",
        ),
        Rule(
            "none_missing", "split", "expect_column_values_to_be_between",
            {"column": "n_missing", "max_value": 0}, "stop",
            "images of the split without a prediction", "what a model can't answer must not be left out of its score",
        ),
        Rule(
            "any_image", "split", "expect_column_values_to_be_between", {"column": "n_predicted", "min_value": 1},
            "stop", "no predictions", "a model must be measured on an image at least",
        ),
        Rule(
            "several_classes", "model", "expect_column_values_to_be_between",
            {"column": "n_classes_predicted", "min_value": 2}, "warn",
            "one class is predicted for every image", "the model has learned nothing but the commonest class",
        ),
        Rule(
            "confidence", "model", "expect_column_values_to_be_between",
            {"column": "confidence_gap", "max_value": MAX_CONFIDENCE_GAP}, "warn",
            "mean confidence is far from accuracy", "the probabilities of such a model say nothing",
        ),
    )  # fmt: skip
