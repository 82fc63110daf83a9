"""Small data sets of generated images, and their manifests by the index stage."""

import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import progress
from fer.images import encode
from fer.ingest import index
from fer.ingest.refs import DatasetRef

CONFIG = index.IndexConfig(classes=("angry", "happy", "surprise"))
OFFICIAL = index.OfficialNames()


def picture(seed=0, height=12, width=10):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def png(seed=0, height=12, width=10):
    return encode.png(picture(seed, height, width))


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # a fixed time stamp
    return buffer.getvalue()


def committed(workspace, files, source="archive"):
    """A dataset of these files (name -> bytes) in the workspace."""

    def produce(out):
        (out / "dataset.zip").write_bytes(zipped(files))
        (out / "source.txt").write_text(source)
        return DatasetRef(source=source, n_files=len(files), size_bytes=1)

    return workspace.run("download", source, DatasetRef, produce, resumable=False)


def run(workspace, files, config=CONFIG, say=progress.silent, official=OFFICIAL, forgotten=None):
    """The manifest of one source of these files."""
    return index.index((committed(workspace, files),), config, official, forgotten, workspace=workspace, progress=say)


def merged(workspace, sources, config=CONFIG):
    """The manifest of several sources (name -> files), made in this process: to start others takes two seconds, and
    the tests of a manifest's parts show that these make the same."""
    datasets = tuple(committed(workspace, files, source) for source, files in sources.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index.process_pool, "usable_cores", lambda: 1)
        return index.index(datasets, config, OFFICIAL, None, workspace=workspace, progress=progress.silent)


def rows_of(workspace, manifest):
    table = pq.read_table(workspace.folder(manifest) / names.MANIFEST)
    assert table.schema.equals(contract.SCHEMA)
    return table.to_pylist()


def by_path(workspace, manifest):
    return {row["path"]: row for row in rows_of(workspace, manifest)}


def reasons(workspace, manifest):
    """path -> the reason of its quarantine, or None."""
    return {path: row["reason"] for path, row in by_path(workspace, manifest).items()}


def bytes_of(workspace, manifest, row):
    part = workspace.folder(manifest) / names.IMAGES / names.image_part(row["part"])
    image = pa.ipc.open_file(part).read_all().slice(row["row"], 1).to_pylist()[0]
    assert image["path"] == row["path"]
    return image["data"]


def thumbnail_of(workspace, manifest, row):
    part = workspace.folder(manifest) / names.THUMBNAILS / names.part(row["part"])
    return pq.read_table(part, schema=contract.THUMBNAIL_SCHEMA).slice(row["row"], 1).to_pylist()[0]["pixels"]


def csv_row(pixels, emotion=0, usage="Training"):
    """A row of a FER2013 CSV."""
    return f'{emotion},"{" ".join(map(str, pixels))}",{usage}\n'


def parquet(columns):
    """A Parquet file of these columns: name -> values, or a pyarrow array."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
