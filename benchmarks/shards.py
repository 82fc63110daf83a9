"""Shards: images/s written and read, against pyarrow alone and against pixels as `list<uint8>`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import Row, seconds
from fer.shards import parquet

_N_IMAGES = 16_384
_PER_SHARD = 2_048
_CLASSES = ("one", "two")


def run() -> Iterator[Row]:
    pixels = np.random.default_rng(0).integers(0, 256, (_N_IMAGES, 48, 48), np.uint8)
    ids = [f"{number:032x}" for number in range(_N_IMAGES)]
    labels = np.arange(_N_IMAGES, dtype=np.int32) % 2
    starts = range(0, _N_IMAGES, _PER_SHARD)
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        folder, lists = Path(temporary), Path(temporary) / "lists.parquet"

        def write() -> None:
            for number, start in enumerate(starts):
                rows = slice(start, start + _PER_SHARD)
                parquet.write(folder / parquet.name("train", number), ids[rows], labels[rows], pixels[rows], _CLASSES)

        def write_raw() -> None:
            pixels.tofile(folder / "raw")

        def read() -> None:
            for _ in parquet.iterate(folder, "train"):
                pass

        def load() -> None:
            parquet.load_split(folder, "train")

        def read_with_pyarrow() -> None:
            for name in parquet.names(folder, "train"):
                pq.ParquetFile(folder / name).read(use_threads=False)

        def read_lists() -> np.ndarray:
            column = pq.ParquetFile(lists).read(use_threads=False)["pixels"].combine_chunks()
            return column.values.to_numpy().reshape(-1, 48, 48, 1)

        written = seconds({"ours": write, "raw": write_raw})
        flat = pa.ListArray.from_arrays(
            pa.array(np.arange(0, pixels.size + 1, 48 * 48), pa.int32()), pa.array(pixels.reshape(-1))
        )
        pq.write_table(pa.table({"pixels": flat}), lists, compression="none", row_group_size=_PER_SHARD)
        # The lists are measured apart: the memory that they allocate slows the measurement that follows.
        beside_pyarrow = seconds({"read": read, "load": load, "pyarrow": read_with_pyarrow}, rounds=15)
        beside_lists = seconds({"ours": load, "lists": read_lists})
    yield Row(
        "shards written; reference: the bare pixels to one file",
        _N_IMAGES / written["ours"],
        "images/s",
        _N_IMAGES / written["raw"],
    )
    speed = {name: _N_IMAGES / taken for name, taken in beside_pyarrow.items()}
    raw = "pyarrow's tables alone, nothing verified"
    yield Row(f"shards read and verified; reference: {raw}", speed["read"], "images/s", speed["pyarrow"], at_least=0.6)
    yield Row(
        f"a split read into one array, in the order of image_id; reference: {raw}",
        speed["load"],
        "images/s",
        speed["pyarrow"],
    )
    yield Row(
        "a split read into one array; reference: from list<uint8>",
        _N_IMAGES / beside_lists["ours"],
        "images/s",
        _N_IMAGES / beside_lists["lists"],
    )
