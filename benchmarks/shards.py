"""Shards: images/s written and read, beside pyarrow alone and beside pixels as `list<uint8>`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import Row, seconds
from fer import shards

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
                here = slice(start, start + _PER_SHARD)
                shards.write(folder / shards.name("train", number), ids[here], labels[here], pixels[here], _CLASSES)

        def write_raw() -> None:
            pixels.tofile(folder / "raw")

        def read() -> None:
            shards.load_split(folder, "train")

        def read_with_pyarrow() -> None:
            for name in shards.names(folder, "train"):
                pq.ParquetFile(folder / name).read(use_threads=False)

        def read_lists() -> np.ndarray:
            column = pq.ParquetFile(lists).read(use_threads=False)["pixels"].combine_chunks()
            return column.values.to_numpy().reshape(-1, 48, 48, 1)

        written = seconds({"ours": write, "raw": write_raw})
        flat = pa.ListArray.from_arrays(
            pa.array(np.arange(0, pixels.size + 1, 48 * 48), pa.int32()), pa.array(pixels.reshape(-1))
        )
        pq.write_table(pa.table({"pixels": flat}), lists, compression="none", row_group_size=_PER_SHARD)
        # Not all three in turn: what the lists allocate slows whoever comes next.
        beside_pyarrow = seconds({"ours": read, "theirs": read_with_pyarrow}, rounds=9)
        beside_lists = seconds({"ours": read, "theirs": read_lists})
    yield Row(
        "shards written; reference: the bare pixels to one file",
        _N_IMAGES / written["ours"],
        "images/s",
        _N_IMAGES / written["raw"],
    )
    for reference, taken in (
        ("pyarrow's tables alone, without checksums", beside_pyarrow),
        ("from list<uint8>", beside_lists),
    ):
        yield Row(
            f"a split read into one array; reference: {reference}",
            _N_IMAGES / taken["ours"],
            "images/s",
            _N_IMAGES / taken["theirs"],
        )
