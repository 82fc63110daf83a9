"""What twins are worth: accuracy on test images with and without a duplicate among the images that were learned from.

The two parts differ in more than that: what is photographed twice may be easier, and of other classes. So the figure
says how far the official accuracy rests on such images, and is no proof that they were learned by heart.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from data_contracts.curation import KINDS
from data_contracts.split import EXCLUDED
from fer.curation import assignment, groups, official_splits
from fer.curation import split as split_stage
from fer.engine.records import Record
from fer.evaluation import intervals
from fer.evaluation.comparing import differences
from fer.evaluation.comparing.differences import Estimate
from fer.evaluation.predictions import Predictions
from fer.ingest.naming import split_names

NEAR = "near-duplicate"  # of a release: of whatever kind


class Part(Record):
    """Some test images, and the accuracy on them by Wilson's interval."""

    n_images: int
    accuracy: Estimate


class Twins(Record):
    """`of` is what the twins are in. `kinds`: the closest kind of a twin -> the images with one of that kind.

    `difference` is the accuracy with a twin minus that without one; `worth` the accuracy on all images minus that on
    those without one: that difference times the share of images with a twin, which is taken as it is. Both are None
    where all images, or none, have a twin.
    """

    of: str
    n_images: int
    with_twin: Part | None
    without_twin: Part | None
    kinds: dict[str, Part]
    difference: Estimate | None
    worth: Estimate | None


def in_train(
    curation: Path, inspection: Path, split: Path, declared: dict[str, split_names.Split], *, is_official: bool
) -> dict[str, str]:
    """image_id -> the closest kind (data_contracts.curation.KINDS) of its duplicates in the source's train split, of
    images that have one; in the drawn train split where the source has none.
    """
    images = split_stage.read_images(curation / files.CURATION)
    pairs = pq.read_table(inspection / files.PAIRS, columns=["first", "second", "kind"])
    if is_official:
        splits = official_splits.splits_of(images, np.ones(len(images), bool), declared)
    else:
        rows = pq.read_table(split / files.SPLIT, columns=["image_id", "split"])
        rows = rows.filter(pc.not_equal(rows["split"], EXCLUDED))
        at = pc.index_in(images["image_id"], value_set=rows["image_id"].combine_chunks())
        number = pc.index_in(rows["split"], value_set=pa.array(files.SPLITS)).take(at)
        splits = number.fill_null(assignment.NONE).to_numpy().astype(np.int64)
    linked = groups.read(images, pairs).linked_bits(assignment.bits(splits))
    closest = np.full(len(images), "", object)
    for kind in reversed(KINDS):
        closest[getattr(linked, kind) & (1 << assignment.TRAIN) > 0] = kind
    return {image_id: kind for image_id, kind in zip(images["image_id"].to_pylist(), closest, strict=True) if kind}


def in_training(known: pa.ChunkedArray, split: Path) -> dict[str, str]:
    """image_id -> kind, of the images whose pixel_sha256 is `known` to a model, which was trained on them or chosen by
    them, and of near-duplicates of those in this data.
    """
    rows = pq.read_table(split / files.SPLIT, columns=["image_id", "pixel_sha256", "near_duplicates"])
    identical = pc.is_in(rows["pixel_sha256"], known.combine_chunks()).to_numpy(zero_copy_only=False)
    leaked = groups.leaked(rows, known)
    return {
        image_id: KINDS[0] if is_identical else NEAR
        for image_id, is_identical, is_leaked in zip(
            rows["image_id"].to_pylist(), identical.tolist(), leaked.tolist(), strict=True
        )
        if is_leaked
    }


def worth(predictions: Predictions, kinds: dict[str, str], of: str) -> Twins:
    """The accuracy with and without a twin. `kinds`: image_id -> kind, of the images that have one."""
    right = predictions.predicted == predictions.class_indexes
    own = np.array([kinds.get(image_id, "") for image_id in predictions.image_ids], object)
    has_twin = own != ""
    n, n_with = len(right), int(has_twin.sum())
    difference = worth_ = None
    if 0 < n_with < n:
        difference = differences.unpaired_interval(
            int(right[~has_twin].sum()), n - n_with, int(right[has_twin].sum()), n_with
        )
        share = n_with / n
        low, high = difference.interval
        worth_ = Estimate(value=share * difference.value, interval=(share * low, share * high))
    return Twins(
        of=of,
        n_images=n,
        with_twin=_part(right[has_twin]),
        without_twin=_part(right[~has_twin]),
        kinds={kind: part for kind in (*KINDS, NEAR) if (part := _part(right[own == kind])) is not None},
        difference=difference,
        worth=worth_,
    )


def _part(right: np.ndarray) -> Part | None:
    n, n_right = len(right), int(right.sum())
    if not n:
        return None
    return Part(n_images=n, accuracy=Estimate(value=n_right / n, interval=intervals.wilson(n_right, n)))
