"""Encoded images of a manifest: `images/part-00000.arrow`, uncompressed Arrow files of paths and bytes.

Written in one stream. Read in one stream too, or any image by itself: where the bytes of each lie in the file is known
without reading them, and reading some takes no more memory than they have.
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
_AT_ONCE_BYTES = 4 * 2**20


def write(path: Path, found: Iterable[tuple[str, bytes]]) -> None:
    """Write paths and bytes (PART_SCHEMA) to `path`, whole or not at all."""
    with disk.replacing(path) as staging, pa.ipc.new_file(staging, contract.PART_SCHEMA) as file:
        group: list[tuple[str, bytes]] = []
        group_bytes = 0
        for each in found:
            if group and (len(group) == _BATCH_FILES or group_bytes + len(each[1]) > _BATCH_BYTES):
                file.write_batch(_batch(group))
                group, group_bytes = [], 0
            group.append(each)
            group_bytes += len(each[1])
        file.write_batch(_batch(group))


def _batch(group: list[tuple[str, bytes]]) -> pa.RecordBatch:
    columns = [pa.array([path for path, _ in group]), pa.array([data for _, data in group], pa.binary())]
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
            found = [_spans(batch["data"], start) for batch in _batches(file)]
    except (OSError, pa.ArrowInvalid) as error:
        raise errors.IntegrityError(
            "A manifest's images must be as they were committed.",
            received=f"{path}: {error}",
            todo=f"remove {path.parent.parent} and run the same command again; it is made anew",
        ) from error
    kind = np.uint32 if path.stat().st_size < 2**32 else np.int64
    return np.concatenate([np.empty((0, 2), kind), *(each.astype(kind) for each in found)])


def _spans(data: pa.BinaryArray, start: int) -> np.ndarray:
    _, offsets, values = data.buffers()
    ends = np.frombuffer(offsets, np.int32, len(data) + 1, data.offset * 4).astype(np.int64)
    first = values.address - start if ends[-1] else 0  # a batch of nothing but empty files has no buffer to be read
    return np.column_stack([ends[:-1] + first, np.diff(ends)])


def _batches(file: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(file)
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def read(path: Path, wanted: np.ndarray) -> Iterator[bytes]:
    """The bytes that lie at the `wanted` (N, 2) spans of the file, in this order; up to 4 MiB of them are read at once.

    What is done with an image runs a tenth faster if the system is not called between each and the next.
    """
    lengths = wanted[:, 1].astype(np.int64)
    ends = np.flatnonzero(np.diff(np.cumsum(lengths) // _AT_ONCE_BYTES)) + 1
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        for some in np.split(wanted, ends):
            yield from [os.pread(file, length, offset) for offset, length in some.tolist()]
    finally:
        os.close(file)
