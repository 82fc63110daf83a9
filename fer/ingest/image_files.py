"""Encoded images of a manifest: `images/part-00000.arrow`, uncompressed Arrow files of paths and bytes.

Written in one stream. Read in one stream too, or any image by itself: `spans` tells where its bytes lie without reading
them, and reading some takes no more memory than they have.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_contracts import manifest as contract
from fer import errors
from fer.engine import disk

_BATCH_FILES = 1_000
_BATCH_BYTES = 64 * 2**20  # what a worker holds in memory at most, beside one image
_READ_BYTES = 4 * 2**20


def write(path: Path, images: Iterable[tuple[str, bytes]]) -> None:
    """Write paths and bytes (PART_SCHEMA) to `path`, whole or not at all."""
    with disk.replacing(path) as staging, pa.ipc.new_file(staging, contract.PART_SCHEMA) as file:
        batch: list[tuple[str, bytes]] = []
        batch_bytes = 0
        for image in images:
            if batch and (len(batch) == _BATCH_FILES or batch_bytes + len(image[1]) > _BATCH_BYTES):
                file.write_batch(_record_batch(batch))
                batch, batch_bytes = [], 0
            batch.append(image)
            batch_bytes += len(image[1])
        file.write_batch(_record_batch(batch))


def _record_batch(images: list[tuple[str, bytes]]) -> pa.RecordBatch:
    columns = [pa.array([path for path, _ in images]), pa.array([data for _, data in images], pa.binary())]
    return pa.RecordBatch.from_arrays(columns, schema=contract.PART_SCHEMA)


def n_images(path: Path) -> int:
    """How many images a part holds. Raises FileNotFoundError, pa.ArrowInvalid if it is not whole."""
    with pa.memory_map(str(path)) as file:
        return sum(batch.num_rows for batch in _batches(file))


def stream(path: Path) -> Iterator[bytes]:
    """The bytes of each image in order, one batch in memory at a time."""
    with pa.OSFile(str(path)) as file:
        for batch in _batches(file):
            for data in batch["data"]:
                yield data.as_py()


def spans(path: Path) -> np.ndarray:
    """Where the bytes of each image lie in the file: (N, 2) offset and length, uint32 in a file of less than 4 GiB.

    Arrow maps an uncompressed file without copying it, so that a buffer's address tells its place.
    Raises IntegrityError if the file is gone or not whole.
    """
    try:
        with pa.memory_map(str(path)) as file:
            start = file.read_buffer(1).address
            file.seek(0)
            spans_of_batches = [_spans(batch["data"], start) for batch in _batches(file)]
    except (OSError, pa.ArrowInvalid) as error:
        raise errors.IntegrityError(
            "A manifest's images must be as they were committed.",
            received=f"{path}: {error}",
            todo=f"remove {path.parent.parent} and run the same command again, which writes it anew",
        ) from error
    dtype = np.uint32 if path.stat().st_size < 2**32 else np.int64
    return np.concatenate([np.empty((0, 2), dtype), *(batch.astype(dtype) for batch in spans_of_batches)])


def _spans(data: pa.BinaryArray, start: int) -> np.ndarray:
    _, offsets, values = data.buffers()
    ends = np.frombuffer(offsets, np.int32, len(data) + 1, data.offset * 4).astype(np.int64)
    first = values.address - start if ends[-1] else 0  # a batch of nothing but empty files has no buffer to be read
    return np.column_stack([ends[:-1] + first, np.diff(ends)])


def _batches(file: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(file)
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def read(path: Path, spans_to_read: np.ndarray) -> Iterator[bytes]:
    """The bytes at the (N, 2) spans of the file, in this order; up to 4 MiB are read at once.

    Work on the images is a tenth faster if the system is not called between one and the next.
    """
    lengths = spans_to_read[:, 1].astype(np.int64)
    ends = np.flatnonzero(np.diff(np.cumsum(lengths) // _READ_BYTES)) + 1
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        for chunk in np.split(spans_to_read, ends):
            yield from [os.pread(file, length, offset) for offset, length in chunk.tolist()]
    finally:
        os.close(file)
