"""`trained_on.parquet` of a release: the images that its model was trained on, or chosen by.

Columns: `pixel_sha256`, and `split`, which is `train`, or `validation` for images that the model was only chosen by.
"""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from fer.engine.store import objectstore


def table(split: Path, model: Path) -> pa.Table:
    """What is to be written for the model in the folder `model`, trained on the split in the folder `split`.

    It holds train and validation of the split, and the images that are known to the release from whose weights the
    model started. An image of both is `train`.
    """
    rows = pq.read_table(split / files.SPLIT, columns=["pixel_sha256", "split"])
    known = rows.filter(pc.is_in(rows["split"], pa.array(["train", "validation"])))
    if (earlier := model / files.WEIGHTS_TRAINED_ON).is_file():
        known = pa.concat_tables([known, read(earlier).cast(known.schema)])
    unique = known.group_by("pixel_sha256").aggregate([("split", "min")])
    return unique.rename_columns(["pixel_sha256", "split"]).sort_by("pixel_sha256")


def fetch(store: objectstore.ObjectStore, key: str, sha256: str) -> pa.Table:
    """The file with this key of the store, as `read` has it. Raises StoreError, IntegrityError."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / files.TRAINED_ON
        store.download_file(key, path, sha256)
        return read(path)


def read(path: Path) -> pa.Table:
    """The file's two columns. A release that names no splits counts as trained on all of its images."""
    rows = pq.read_table(path)
    if "split" not in rows.column_names:
        rows = rows.append_column("split", pa.repeat("train", len(rows)))
    return rows.select(["pixel_sha256", "split"])
