"""Shards: Parquet files `{split}-00000.parquet` of a few thousand images each.

In memory an image is (H, W) uint8; a shard's pixels are (N, H, W) uint8, a split's (N, H, W, 1) uint8.
"""

import concurrent.futures
import contextlib
import itertools
import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from data_contracts import shards as contract
from fer import errors
from fer.engine import disk
from fer.engine.processes import process_pool

# A row group is what is decoded at once: 4,096 images of 48x48 are 9 MB, 1,337 of 224x224 are 64 MiB.
_ROW_GROUP_IMAGES = 4_096
_ROW_GROUP_BYTES = 64 * 2**20
# A page is what a reader of a few rows holds. pyarrow ends one only between batches of rows, by default of 1,024, which
# are 51 MB at 224x224; pages of 256 KiB keep it at 1.4 MB, and are written and read no slower.
_PAGE_BYTES = 2**18
_READ_AHEAD_BYTES = 2**16
_DIGESTS = b"xxh3_128"  # in a shard's metadata: of each row group, the digests of its columns


@dataclass(frozen=True)
class Shard:
    """`pixels` is (N, H, W) uint8; of a shard that was read, a read-only view of the memory that Arrow decoded into."""

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
    """Write (N, H, W) uint8 `pixels` with their labels to `path`, whole or not at all, in the same bytes each time.

    Several processes may write one shard at once. The content of the arrays is checked by `checks`. Raises
    ContractViolation for arrays that fit no shard.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or not len(image_ids) == len(class_indexes) == len(pixels):
        raise errors.ContractViolation(
            "A shard must have one id, one class and one (H, W) uint8 image per row.",
            received=f"{len(image_ids)} ids, {len(class_indexes)} classes, {pixels.dtype} pixels of {pixels.shape}",
        )
    n_images, height, width = pixels.shape
    pixels = np.ascontiguousarray(pixels)
    columns = [
        pa.array(image_ids, pa.string()),
        pa.array(class_indexes, pa.int32()),
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(height * width), n_images, [None, pa.py_buffer(pixels.reshape(-1))]
        ),
    ]
    table = pa.Table.from_arrays(columns, schema=contract.schema(height, width, classes))
    at_once = images_that_fit(height, width)
    # A name of its own: a Dask worker that was given up may still be at the shard that another one makes anew.
    with disk.replacing(path) as staging:
        digests = []
        # No compression: zstd-1 saves 2 % at 48x48 and 26 % at 224x224, and more than halves the speed of writing and,
        # at 224x224, of reading; lz4 saves less. No checksums of Parquet's either: `_Hashes` are ten times as fast.
        with pq.ParquetWriter(
            staging,
            table.schema,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            write_batch_size=max(1, _PAGE_BYTES // (height * width)),
            data_page_size=_PAGE_BYTES,
        ) as writer:
            for start in range(0, n_images, at_once):
                here = slice(start, start + at_once)
                hashes = _Hashes()
                hashes.add(image_ids[here], class_indexes[here], pixels[here])
                digests.append(hashes.digests())
                writer.write_table(table.slice(start, at_once), at_once)
            writer.add_key_value_metadata({_DIGESTS: json.dumps(digests)})


class _Hashes:
    """XXH3-128 of the columns of a row group, as they are added: the same in however many slices."""

    def __init__(self) -> None:
        self._columns = (xxhash.xxh3_128(), xxhash.xxh3_128(), xxhash.xxh3_128())

    def add(
        self, image_ids: Sequence[str] = (), class_indexes: np.ndarray | None = None, pixels: np.ndarray | None = None
    ) -> None:
        """Add some images, or some columns of them."""
        of_ids, of_classes, of_pixels = self._columns
        of_ids.update("\0".join([*image_ids, ""]).encode())
        if class_indexes is not None:
            of_classes.update(np.ascontiguousarray(class_indexes, "<i4").data)
        if pixels is not None:
            of_pixels.update(pixels.data)

    def digests(self) -> list[str]:
        """Of image_id, class_index and pixels (hex)."""
        return [column.hexdigest() for column in self._columns]


def read(path: Path) -> Shard:
    """Read a shard. Raises IntegrityError if it is gone, cut short or not what was written."""
    with _reading(path), _open(path) as file:
        groups = [_read_group(file, number) for number in range(file.num_row_groups)]
        if len(groups) == 1:
            return groups[0]
        height, width, classes = contract.metadata(file.schema_arrow)
    return Shard(
        [image_id for group in groups for image_id in group.image_ids],
        np.concatenate([np.empty(0, np.int32), *(group.class_indexes for group in groups)]),
        np.concatenate([np.empty((0, height, width), np.uint8), *(group.pixels for group in groups)]),
        classes,
    )


def read_labels(path: Path) -> tuple[list[str], np.ndarray]:
    """The image ids and (N,) int32 class indexes of a shard, without its pixels. Raises IntegrityError."""
    image_ids: list[str] = []
    class_indexes = [np.empty(0, np.int32)]
    with _reading(path), _open(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, ["image_id", "class_index"], use_threads=False)
            group_ids, labels = table["image_id"].to_pylist(), table["class_index"].to_numpy()
            hashes = _Hashes()
            hashes.add(group_ids, labels)
            _require_same(file, number, hashes.digests()[:2])
            image_ids += group_ids
            class_indexes.append(labels)
    return image_ids, np.concatenate(class_indexes)


def _require_same(file: pq.ParquetFile, number: int, digests: Sequence[str]) -> None:
    """Raise ValueError unless the first columns of a row group are as they were written."""
    if json.loads(file.metadata.metadata[_DIGESTS])[number][: len(digests)] != digests:
        raise ValueError("its bytes are not those that were written")


def finished(path: Path, image_ids: Sequence[str], class_indexes: np.ndarray) -> Shard | None:
    """The shard that an earlier attempt left at `path`, if it is whole and of these rows; else None."""
    if not path.exists():
        return None
    try:
        shard = read(path)
    except errors.IntegrityError:
        return None
    is_same = shard.image_ids == list(image_ids) and np.array_equal(shard.class_indexes, class_indexes)
    return shard if is_same else None


def iterate(folder: Path, split: str) -> Iterator[Shard]:
    """A split's images in order, one row group at a time: memory stays flat, however large the split is.

    Raises IntegrityError.
    """
    for file_name in names(folder, split):
        path = folder / file_name
        with _reading(path), _open(path) as file:
            for number in range(file.num_row_groups):
                yield _read_group(file, number)


def _read_group(file: pq.ParquetFile, number: int) -> Shard:
    """A row group. Raises ValueError if it is not as it was written."""
    shard = _shard(file.read_row_group(number, use_threads=False))
    hashes = _Hashes()
    hashes.add(shard.image_ids, shard.class_indexes, shard.pixels)
    _require_same(file, number, hashes.digests())
    return shard


def row_groups(folder: Path, split: str) -> list[RowGroup]:
    """A split's row groups in order, from the shards' footers alone. Raises IntegrityError as `load_split` does."""
    groups = []
    for file_name in _at_least_one(folder, split):
        with _reading(folder / file_name), _open(folder / file_name) as file:
            for number in range(file.metadata.num_row_groups):
                groups.append(RowGroup(folder / file_name, number, file.metadata.row_group(number).num_rows))
    return groups


def slices(group: RowGroup, n_images: int) -> Generator[Shard]:
    """A row group's images in order, at most `n_images` at a time; of the rest a page or two is held.

    Raises IntegrityError, after the last one if an image is not what was written.
    """
    hashes = _Hashes()
    with _reading(group.path), _open(group.path, buffer_size=_READ_AHEAD_BYTES, pre_buffer=False) as file:
        for rows in file.iter_batches(n_images, row_groups=[group.number], use_threads=False):
            shard = _shard(pa.Table.from_batches([rows]))
            hashes.add(shard.image_ids, shard.class_indexes, shard.pixels)
            yield shard
        _require_same(file, group.number, hashes.digests())


def load_split(folder: Path, split: str) -> Images:
    """Read a split into one array, allocated once, in the order of image_id: the same in whatever shards it is.

    Raises IntegrityError, also if the split has no shards.
    """
    paths = [folder / file_name for file_name in _at_least_one(folder, split)]
    labels = [read_labels(path) for path in paths]
    ids = pa.array([image_id for image_ids, _ in labels for image_id in image_ids], pa.string())
    order = pc.sort_indices(ids).to_numpy()
    places = np.empty(len(ids), np.int64)
    places[order] = np.arange(len(ids))
    with _reading(paths[0]), _open(paths[0]) as file:
        height, width, classes = contract.metadata(file.schema_arrow)
    pixels = np.empty((len(ids), height, width, 1), np.uint8)
    ends = np.cumsum([len(image_ids) for image_ids, _ in labels])
    with concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as threads:  # Arrow reads without the GIL
        list(threads.map(_read_pixels, paths, np.split(places, ends[:-1]), itertools.repeat(pixels)))
    class_indexes = np.concatenate([class_indexes for _, class_indexes in labels])[order]
    return Images(ids.take(pa.array(order)).to_pylist(), class_indexes, pixels, classes)


def _read_pixels(path: Path, places: np.ndarray, pixels: np.ndarray) -> None:
    """Put the pixels of the shard at `path` in their `places` in `pixels`, (N, H, W, 1) uint8."""
    height, width = pixels.shape[1:3]
    start = 0
    with _reading(path), _open(path) as file:
        for number in range(file.num_row_groups):
            group = _pixels(file.read_row_group(number, ["pixels"], use_threads=False)["pixels"])
            if xxhash.xxh3_128_hexdigest(group.data) != json.loads(file.metadata.metadata[_DIGESTS])[number][2]:
                raise ValueError("its bytes are not those that were written")
            pixels[places[start : start + len(group)], :, :, 0] = group.reshape(-1, height, width)
            start += len(group)


def _at_least_one(folder: Path, split: str) -> list[str]:
    file_names = names(folder, split)
    if not file_names:
        raise errors.IntegrityError(
            "A split must have a shard at least.",
            received=f"no {name(split, 0)} in {folder}",
            todo="give this split images: check the source's split folders and the split settings",
        )
    return file_names


def _shard(table: pa.Table) -> Shard:
    height, width, classes = contract.metadata(table.schema)
    return Shard(
        table["image_id"].to_pylist(),
        table["class_index"].to_numpy(),
        _pixels(table["pixels"]).reshape(-1, height, width),
        classes,
    )


def _pixels(column: pa.ChunkedArray) -> np.ndarray:
    """The column's bytes, (N, H*W) uint8; a view where they lie in one piece."""
    size = column.type.byte_width
    chunks = [
        np.frombuffer(chunk.buffers()[1], np.uint8).reshape(-1, size)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate(chunks) if chunks else np.empty((0, size), np.uint8)


def _open(path: Path, **options: Any) -> pq.ParquetFile:
    file = pq.ParquetFile(path, **options)
    if not file.schema_arrow.equals(contract.schema(*contract.metadata(file.schema_arrow))):
        file.close()
        raise ValueError("its columns are not those of a shard")
    return file


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises while reading `path` into IntegrityError."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        raise errors.IntegrityError(
            f"The shard {path.name} must be whole.",
            received=str(error),
            todo=f"remove {path.parent} and run the same command again; it is made anew",
        ) from error
