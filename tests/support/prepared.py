"""Outputs of the index and split stages, made by hand for the stages that follow."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer.curation.refs import SplitRef
from fer.images import encode
from fer.ingest import image_files
from fer.ingest.refs import ManifestRef

CLASSES = ("angry", "happy", "sad")
SPLIT_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("class_index", pa.int32()),
        ("split", pa.string()),
        ("part", pa.int32()),
        ("row", pa.int32()),
    ]
)


def committed(workspace, stage, key, ref, write):
    def produce(out):
        write(out)
        return ref

    return workspace.run(stage, key, type(ref), produce, resumable=False)


def dataset(workspace, rows, images_by_part, key="k"):
    """Refs of handmade outputs of the index and split stages; rows: (image_id, class_index, split, part, row)."""

    def write_manifest(out):
        (out / "images").mkdir()
        for part, images in enumerate(images_by_part):
            image_files.write(
                out / f"images/part-{part:05d}.arrow", [(f"{part}/{i}.png", data) for i, data in enumerate(images)]
            )

    def write_split(out):
        columns = zip(*sorted(rows), strict=True) if rows else [[] for _ in SPLIT_SCHEMA]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SPLIT_SCHEMA, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=SPLIT_SCHEMA), out / "split.parquet")

    n = len(rows)
    manifest = ManifestRef(source="x", layouts=("x",), classes=CLASSES, n_found=n, n_quarantined=0)
    tally = Counter((split, class_index) for _, class_index, split, _, _ in rows)
    counts = {
        name: {label: tally[name, at] for at, label in enumerate(CLASSES)} for name in ("train", "validation", "test")
    }
    split = SplitRef(classes=CLASSES, counts=counts, origin="drawn")
    return (
        committed(workspace, "index", key, manifest, write_manifest),
        committed(workspace, "split", key, split, write_split),
    )


def drawn(n: int = 45, per_part: int = 10):
    draw = np.random.default_rng(0)
    images = [encode.png(draw.integers(0, 256, (20, 20), np.uint8)) for _ in range(n)]
    splits = ["train", "train", "train", "validation", "test", "excluded"]
    rows = [
        (f"{i:032x}", None if splits[i % 6] == "excluded" else i % 3, splits[i % 6], i // per_part, i % per_part)
        for i in range(n)
    ]
    return rows, [images[start : start + per_part] for start in range(0, n, per_part)]


def files(workspace, ref):
    """The files of an output (name -> bytes) except its record, which holds the time of the commit."""
    paths = (path for path in workspace.folder(ref).iterdir() if path.is_file() and path.name != "_ref.json")
    return {path.name: path.read_bytes() for path in paths}
