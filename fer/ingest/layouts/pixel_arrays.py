"""Images and labels in NumPy's arrays: `X_train.npy` beside `y_train.npy`, or both in an `.npz`. Nothing is unpickled.

Images are (N, H, W), (N, H, W, 1), (N, H, W, 3) or (N, H * W) of whole numbers 0-255, labels (N,) or a column a class.
"""

import contextlib
import dataclasses
import io
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from fer import limits
from fer.ingest import archives
from fer.ingest.layouts import arrays, class_folders, pixel_csv
from fer.ingest.naming import labels, split_names

SUFFIXES = (".npy", ".npz")
_START_BYTES = 16_384
_LEAST_PIXELS = 64
_MOST_LABEL_BYTES = 256 * 2**20
_MOST_COLUMNS = 1_000  # of labels, one for each class
_MOST_FILES = 1_000  # more are arrays of single images, which `sidecars` reads
_ROLES = re.compile(
    r"images?|imgs?|faces|pixels|data|features|labels?|targets?|emotions?|expressions?|classes|[xy](?![a-z])"
)


@dataclasses.dataclass(frozen=True)
class _Array:
    """An array in a file of the archive: `inner` is its name in an `.npz`, "" in an `.npy`."""

    member: archives.Member
    inner: str
    header: arrays.Header

    @property
    def key(self) -> str:
        """What tells it from other arrays, without the words that tell images from labels."""
        name = self.inner.removesuffix(".npy") or self.member.name.rpartition("/")[2].removesuffix(".npy")
        return _ROLES.sub("", name.lower()).strip("_-. ")


@dataclasses.dataclass(frozen=True)
class Columns:
    """Arrays of images and of their labels."""

    images: _Array
    labels: _Array
    usage: str | None = None
    is_fer2013: bool = False


def find(archive: zipfile.ZipFile, members: Sequence[archives.Member]) -> list[tuple[archives.Member, Columns, int]]:
    """The arrays of images with their labels: the file, what it holds, and how many images.

    Raises DamagedArchive for damaged bytes.
    """
    files = [member for member in members if class_folders.suffix(member.name) in SUFFIXES]
    if len(files) > _MOST_FILES:
        return []
    found = [array for member in files for array in _arrays(archive, member)]
    pairs = []
    for images in filter(_holds_images, found):
        n = images.header.shape[0]
        of_same = [
            array
            for array in found
            if _holds_labels(array) and array.header.shape[0] == n and _place(array) == _place(images)
        ]
        named = [array for array in of_same if array.key == images.key]
        fitting = named if len(named) == 1 else of_same
        if len(fitting) == 1:
            pairs.append((images.member, Columns(images, fitting[0]), n))
    return pairs


def _place(array: _Array) -> str:
    return array.member.name if array.inner else array.member.name.rpartition("/")[0]


def _holds_images(array: _Array) -> bool:
    shape, kind = array.header.shape, array.header.dtype.kind
    side = math.isqrt(shape[1]) if len(shape) == 2 else 0
    is_picture = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3)) or (side > 0 and side * side == shape[1])
    return kind in "uif" and not array.header.fortran_order and is_picture and math.prod(shape[1:]) >= _LEAST_PIXELS


def _holds_labels(array: _Array) -> bool:
    shape, dtype = array.header.shape, array.header.dtype
    is_column = len(shape) == 1 or (len(shape) == 2 and shape[1] <= _MOST_COLUMNS and not array.header.fortran_order)
    return (
        is_column
        and dtype.kind in "uifUSb"
        and array.header.size * dtype.itemsize <= _MOST_LABEL_BYTES
        and not (len(shape) == 2 and _holds_images(array))
    )


def _arrays(archive: zipfile.ZipFile, member: archives.Member) -> Iterator[_Array]:
    if class_folders.suffix(member.name) == ".npy":
        header = arrays.header(archives.read_start(archive, member, _START_BYTES))
        if header is not None:
            yield _Array(member, "", header)
        return
    with archives.damage(repr(member.name)), zipfile.ZipFile(io.BytesIO(archives.read(archive, member))) as inner:
        for entry in inner.infolist():
            if entry.file_size > max(limits.current().archive_ratio * entry.compress_size, _START_BYTES):
                continue
            with inner.open(entry) as file:
                header = arrays.header(file.read(_START_BYTES))
            if header is not None:
                yield _Array(member, entry.filename, header)


@contextlib.contextmanager
def _opened(archive: zipfile.ZipFile, array: _Array) -> Iterator[IO[bytes]]:
    """The bytes of an array after its header."""
    with archives.damage(repr(array.member.name)), contextlib.ExitStack() as stack:
        if array.inner:
            archive = stack.enter_context(zipfile.ZipFile(io.BytesIO(archives.read(archive, array.member))))
        file = stack.enter_context(archive.open(array.inner or array.member.name))
        file.read(array.header.data_at)
        yield file


def read(
    path: Path, table: archives.Member, places: Columns, splits: split_names.SplitNames
) -> Iterator[pixel_csv.Row]:
    """Stream the images of an array in the archive `path`. Raises DamagedArchive for damaged bytes."""
    name = f"{table.name}/{places.images.inner}" if places.images.inner else table.name
    split = splits.of(places.images.key) or splits.of_table(table.name) or splits.of_folders(table.name)
    shape, dtype = places.images.header.shape[1:], places.images.header.dtype
    row_bytes = math.prod(shape) * dtype.itemsize
    with zipfile.ZipFile(path) as archive:
        raw_labels = _labels(archive, places.labels)
        with _opened(archive, places.images) as file:
            for number, raw_label in enumerate(raw_labels):
                data, defect = b"", labels.MISSING if not raw_label else None
                values = file.read(row_bytes)
                if len(values) < row_bytes:
                    raise EOFError
                try:
                    data = pixel_csv.as_pnm(np.frombuffer(values, dtype).reshape(shape))
                except pixel_csv.NoPixels as error:
                    defect = defect or str(error)
                yield pixel_csv.Row(
                    f"{name}#{number + 1}", number, raw_label, split, data, 0, defect, number * row_bytes
                )


def _labels(archive: zipfile.ZipFile, array: _Array) -> list[str]:
    header = array.header
    with _opened(archive, array) as file:
        data = file.read(header.size * header.dtype.itemsize)
        values = np.frombuffer(data, header.dtype, header.size).reshape(header.shape)
    if values.ndim == 2:
        values = values.argmax(axis=1) if values.shape[1] > 1 else values[:, 0]
    texts = (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values.tolist())
    return [text.strip()[:256] for text in texts]
