"""Shards: Parquet files `{split}-00000.parquet` of a few thousand images each.

In memory an image is (H, W) uint8; a shard's pixels are (N, H, W) uint8, a split's (N, H, W, 1) uint8.
"""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import shards as contract
from fer import errors

# A row group is what is decoded at once: 4,096 images of 48x48 are 9 MB, 1,337 of 224x224 are 64 MiB.
_ROW_GROUP_IMAGES = 4_096
_ROW_GROUP_BYTES = 64 * 2**20
# A page is what a reader of a few rows holds. pyarrow ends one only between batches of rows, by default of 1,024, which
# are 51 MB at 224x224; pages of 256 KiB keep it at 1.4 MB, and are written and read no slower.
_PAGE_BYTES = 2**18
_READ_AHEAD_BYTES = 2**16


@dataclass(frozen=True)
class Shard:
    """`pixels` is (N, H, W) uint8, read-only: a view of the memory that Parquet was decoded into."""

    image_ids: list[str]
    class_indexes: np.ndarray  # (N,) int32
    pixels: np.ndarray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Images:
    """A whole split in memory, in the order of image_id: `pixels` is (N, H, W, 1) uint8."""

    image_ids: list[str]
    class_indexes: np.ndarray  # (N,) int32
    pixels: np.ndarray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class RowGroup:
    """A place in a shard: the row group `number` of the file `path`."""

    path: Path
    number: int
    n_images: int


def name(split: str, number: int) -> str:
    """The file name of a split's shard `number`."""
    return f"{split}-{number:05d}.parquet"


def names(folder: Path, split: str) -> list[str]:
    """The file names of a split's shards, in order."""
    return sorted(path.name for path in folder.glob(f"{split}-*.parquet"))


def images_that_fit(height: int, width: int, at_most: int = _ROW_GROUP_IMAGES) -> int:
    """How many images of this size one row group may hold."""
    return max(1, min(at_most, _ROW_GROUP_IMAGES, _ROW_GROUP_BYTES // (height * width)))


def write(
    path: Path, image_ids: Sequence[str], class_indexes: np.ndarray, pixels: np.ndarray, classes: tuple[str, ...]
) -> None:
    """Write (N, H, W) uint8 `pixels` and what they show to `path`, whole or not at all, in the same bytes each time.

    Whether they are sound is for `shard_checks`. Raises ContractViolation for arrays that fit no shard.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or not len(image_ids) == len(class_indexes) == len(pixels):
        raise errors.ContractViolation(
            "A shard must have one id, one class and one (H, W) uint8 image a row.",
            received=f"{len(image_ids)} ids, {len(class_indexes)} classes, {pixels.dtype} pixels of {pixels.shape}",
        )
    n_images, height, width = pixels.shape
    columns = [
        pa.array(image_ids, pa.string()),
        pa.array(class_indexes, pa.int32()),
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(height * width), n_images, [None, pa.py_buffer(np.ascontiguousarray(pixels).reshape(-1))]
        ),
    ]
    table = pa.Table.from_arrays(columns, schema=contract.schema(height, width, classes))
    aside = path.with_name(path.name + ".tmp")
    # No compression: on FER2013 zstd-1 saves 2 % of the size (blurred: 2 %; zstd-3: 6 %) and more than halves the
    # speed of writing. Checksums cost a third of the reading speed (1.8 to 1.2 million images/s) and find rotten bytes.
    pq.write_table(
        table,
        aside,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        row_group_size=images_that_fit(height, width),
        write_batch_size=max(1, _PAGE_BYTES // (height * width)),
        data_page_size=_PAGE_BYTES,
    )
    aside.replace(path)


def read(path: Path) -> Shard:
    """Read a shard. Raises IntegrityError if it is gone, cut short or not what was written."""
    return _shard(_table(path))


def read_labels(path: Path) -> tuple[list[str], np.ndarray]:
    """The image ids and (N,) int32 class indexes of a shard, without its pixels. Raises IntegrityError."""
    table = _table(path, ["image_id", "class_index"])
    return table["image_id"].to_pylist(), table["class_index"].to_numpy()


def finished(path: Path, image_ids: Sequence[str], class_indexes: np.ndarray) -> Shard | None:
    """The shard that an earlier attempt left at `path`, if it is whole and of these rows; else None."""
    if not path.exists():
        return None
    try:
        found = read(path)
    except errors.IntegrityError:
        return None
    same = found.image_ids == list(image_ids) and np.array_equal(found.class_indexes, class_indexes)
    return found if same else None


def iterate(folder: Path, split: str) -> Iterator[Shard]:
    """A split's images in order, one row group at a time: memory stays flat, however large the split.

    Raises IntegrityError.
    """
    for file_name in names(folder, split):
        path = folder / file_name
        with _reading(path):
            file = _open(path)
        with file:
            for group in range(file.metadata.num_row_groups):
                with _reading(path):
                    table = file.read_row_group(group, use_threads=False)
                yield _shard(table)


def row_groups(folder: Path, split: str) -> list[RowGroup]:
    """A split's row groups in order, from the shards' footers alone. Raises IntegrityError as `load_split` does."""
    found = []
    for file_name in _at_least_one(folder, split):
        with _reading(folder / file_name), _open(folder / file_name) as file:
            for number in range(file.metadata.num_row_groups):
                found.append(RowGroup(folder / file_name, number, file.metadata.row_group(number).num_rows))
    return found


def slices(group: RowGroup, n_images: int) -> Generator[Shard]:
    """A row group's images in order, at most `n_images` at a time; of the rest a page or two is held.

    Raises IntegrityError.
    """
    with _reading(group.path), _open(group.path, buffer_size=_READ_AHEAD_BYTES, pre_buffer=False) as file:
        for rows in file.iter_batches(n_images, row_groups=[group.number], use_threads=False):
            yield _shard(pa.Table.from_batches([rows]))


def load_split(folder: Path, split: str) -> Images:
    """Read a split into one array, allocated once, in the order of image_id: the same however it is cut in shards.

    Raises IntegrityError, also if the split has no shards.
    """
    file_names = _at_least_one(folder, split)
    ids = pa.chunked_array(
        [chunk for each in file_names for chunk in _table(folder / each, ["image_id"])["image_id"].chunks], pa.string()
    )
    order = pc.sort_indices(ids)
    places = np.empty(len(ids), np.int64)
    places[order.to_numpy()] = np.arange(len(ids))
    with _reading(folder / file_names[0]), _open(folder / file_names[0]) as file:
        height, width, classes = contract.described(file.schema_arrow)
    pixels = np.empty((len(ids), height, width, 1), np.uint8)
    class_indexes = np.empty(len(ids), np.int32)
    start = 0
    for shard in iterate(folder, split):
        here = places[start : start + len(shard.class_indexes)]
        pixels[here, :, :, 0] = shard.pixels
        class_indexes[here] = shard.class_indexes
        start += len(here)
    return Images(ids.take(order).to_pylist(), class_indexes, pixels, classes)


def _at_least_one(folder: Path, split: str) -> list[str]:
    file_names = names(folder, split)
    if not file_names:
        raise errors.IntegrityError(
            "A split must have a shard at least.",
            received=f"no {name(split, 0)} in {folder}",
            todo="give this split images: check the source's split folders and the split settings",
        )
    return file_names


def _table(path: Path, columns: list[str] | None = None) -> pa.Table:
    with _reading(path), _open(path) as file:
        return file.read(columns, use_threads=False)


def _shard(table: pa.Table) -> Shard:
    height, width, classes = contract.described(table.schema)
    return Shard(
        table["image_id"].to_pylist(),
        table["class_index"].to_numpy(),
        _pixels(table["pixels"]).reshape(-1, height, width),
        classes,
    )


def _pixels(column: pa.ChunkedArray) -> np.ndarray:
    """The column's bytes, (N, H*W) uint8; a view where they lie in one piece."""
    size = column.type.byte_width
    pieces = [
        np.frombuffer(chunk.buffers()[1], np.uint8).reshape(-1, size)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty((0, size), np.uint8)


def _open(path: Path, **reading: Any) -> pq.ParquetFile:
    file = pq.ParquetFile(path, page_checksum_verification=True, **reading)
    if not file.schema_arrow.equals(contract.schema(*contract.described(file.schema_arrow))):
        file.close()
        raise ValueError("its columns are not those of a shard")
    return file


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises while reading `path` into IntegrityError."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise errors.IntegrityError(
            f"The shard {path.name} must be whole.",
            received=str(error),
            todo=f"remove {path.parent} and run the same command again; it is made anew",
        ) from error
