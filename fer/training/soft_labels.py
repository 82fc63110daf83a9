"""Soft labels: what share of an image's annotators saw each class, as targets of training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine import stage
from fer.engine import workspace as workspaces
from fer.progress import Progress
from fer.training.refs import SoftLabelsRef

FILE = "soft_labels.parquet"
_COPY = "+"  # between the id of an image and the number of its copy: see `fer.shards.balance`


@stage.stage("soft labels")
def collect(out: Path, split: SplitRef, *, workspace: workspaces.Workspace, progress: Progress) -> SoftLabelsRef:
    """Write the soft labels of the train split's images that have votes. Raises ConfigError if none has."""
    columns = ["image_id", "soft_label", "split"]
    table = pq.read_table(workspace.folder(split) / files.SPLIT, columns=columns)
    table = table.filter(pc.and_(pc.equal(table["split"], "train"), pc.is_valid(table["soft_label"])))
    n_train = sum(split.counts["train"].values())
    if not table.num_rows:
        raise errors.ConfigError(
            "Soft labels must come from annotators' votes.",
            received=f"no votes for any of {n_train:,} train images",
            todo="set train.soft_labels to false, or bring a table of votes (docs/explanation/data.md)",
        )
    flat = table["soft_label"].combine_chunks().flatten()
    shares = pa.FixedSizeListArray.from_arrays(flat, len(split.classes))
    pq.write_table(pa.table({"image_id": table["image_id"], "shares": shares}), out / FILE)
    progress(table.num_rows, n_train, "train images with votes")
    return SoftLabelsRef(classes=split.classes, n_images=table.num_rows)


class SoftLabels:
    """The shares (N, C) float32 of some images, by their ids; each row sums to 1."""

    def __init__(self, image_ids: Sequence[str], shares: np.ndarray):
        self._places = {image_id: row for row, image_id in enumerate(image_ids)}
        self._shares = shares / shares.sum(axis=1, keepdims=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Those of a `soft_labels.parquet`."""
        table = pq.read_table(path)
        shares = table["shares"].combine_chunks()
        values = shares.flatten().to_numpy(zero_copy_only=False)
        return cls(table["image_id"].to_pylist(), values.reshape(len(shares), -1))

    def replace_targets(self, targets: np.ndarray, image_ids: Sequence[str]) -> np.ndarray:
        """`targets` (B, C) float32 with the shares of those images, or of those they are copies of, that have any."""
        replaced = targets.copy()
        for row, image_id in enumerate(image_ids):
            place = self._places.get(image_id.partition(_COPY)[0])
            if place is not None:
                replaced[row] = self._shares[place]
        return replaced
