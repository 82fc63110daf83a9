"""The pictures of a data set without labels, in parts that are read by themselves: image files and tables of images."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fer import errors
from fer.images import limits as image_limits
from fer.ingest import archives, manifest_parts
from fer.ingest.layouts import class_folders, other_files, pixel_csv, pixel_parquet, tables
from fer.ingest.parquet import opening

_LOCAL_HEADER_BYTES = 30  # without name and extra field (APPNOTE.TXT, 4.3.7)


class Picture(NamedTuple):
    """A picture as found; `defect` says why there is none to be decoded."""

    path: str
    data: bytes
    defect: str | None

    @property
    def image_id(self) -> str:
        """As in the manifest of a data set that has the picture under this path."""
        return manifest_parts.image_id(self.path, hashlib.sha256(self.data).hexdigest())


@dataclass(frozen=True)
class Files:
    """Image files of the archive: their names, and where their bytes lie in it, (N, 2) int64 offset and size."""

    names: tuple[str, ...]
    spans: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def read(self, archive: Path) -> Iterator[Picture]:
        """The pictures in order, one in memory at a time."""
        most = image_limits.current().bytes
        file = os.open(archive, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            for name, (start, size) in zip(self.names, self.spans.tolist(), strict=True):
                if size > most:
                    yield Picture(name, b"", f"too large to be read: over {most:,} bytes")
                else:
                    yield Picture(name, os.pread(file, size, _data_at(file, start)), None)
        finally:
            os.close(file)


@dataclass(frozen=True)
class Rows:
    """Rows of a Parquet file with images: `n` from number `first`, from 0."""

    table: archives.Member
    columns: pixel_parquet.Columns
    first: int
    n: int

    def __len__(self) -> int:
        return self.n

    def read(self, archive: Path) -> Iterator[Picture]:
        """The pictures in order; the table's file is in memory, and a batch of its rows."""
        for path, data, defect in pixel_parquet.pictures(archive, self.table, self.columns, self.first, self.n):
            yield Picture(path, data, defect)


@dataclass(frozen=True)
class CsvRows:
    """Rows of pixels in a CSV."""

    table: archives.Member
    columns: pixel_csv.Unlabelled
    stretch: pixel_csv.Stretch

    def __len__(self) -> int:
        return self.stretch.n

    def read(self, archive: Path) -> Iterator[Picture]:
        """The pictures in order, one in memory at a time."""
        for path, data, defect in pixel_csv.pictures(archive, self.table, self.columns, self.stretch):
            yield Picture(path, data, defect)


Part = Files | Rows | CsvRows


def parts(archive: Path, per_part: int) -> list[Part]:
    """The pictures of a `dataset.zip`, at most `per_part` in each part: files by name, then tables by name.

    Labels, splits and other files are left alone. Raises SourceError where there is no picture, as `archives.open_safe`
    does, and for a table that can't be read.
    """
    found: list[Part] = []
    with archives.open_safe(archive) as opened:
        members = archives.list_members(opened)
        names = [member.name for member in members if class_folders.suffix(member.name) in class_folders.IMAGE_SUFFIXES]
        spans = np.array([_span(opened, name) for name in names], np.int64).reshape(-1, 2)
        for start in range(0, len(names), per_part):
            here = slice(start, start + per_part)
            found.append(Files(tuple(names[here]), spans[here]))
        for table in filter(tables.is_table, members):
            found += _of_table(opened, table, per_part)
    if not found:
        raise errors.SourceError(
            "What is scored must hold pictures: image files, or a table of images, as Parquet or CSV.",
            received=f"{len(members):,} files, none of them one ({', '.join(sorted(_kinds(members)))})",
            todo=f"give a source of {', '.join(sorted(suffix[1:] for suffix in class_folders.READ_SUFFIXES))} files, "
            "of Parquet whose images are bytes, {bytes, path}, lists of numbers, or text, or of CSV with a column "
            "`pixels` as FER2013's",
        )
    return found


def _of_table(archive: zipfile.ZipFile, table: archives.Member, per_part: int) -> Iterator[Part]:
    if class_folders.suffix(table.name) == ".parquet":
        columns = pixel_parquet.unlabelled(archive, table)
        if columns is not None:
            n_rows = opening.n_rows(archive, table)
            for first in range(0, n_rows, per_part):
                yield Rows(table, columns, first, min(per_part, n_rows - first))
    elif pixel_csv.may_be(archive, table):
        places = pixel_csv.unlabelled(tables.column_names(archive, table))
        if places is not None:
            for stretch in pixel_csv.stretches(archive, table, places, per_part):
                yield CsvRows(table, places, stretch)


def _span(archive: zipfile.ZipFile, name: str) -> tuple[int, int]:
    """Where a member's header is, and how many bytes it has, stored as all are in a `dataset.zip`."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name!r} must be stored in a data set's archive.")
    return entry.header_offset, entry.file_size


def _data_at(file: int, header_at: int) -> int:
    header = os.pread(file, _LOCAL_HEADER_BYTES, header_at)
    return (
        header_at
        + _LOCAL_HEADER_BYTES
        + int.from_bytes(header[26:28], "little")
        + int.from_bytes(header[28:], "little")
    )


_SHOWN_KINDS = 5


def _kinds(members: list[archives.Member]) -> list[str]:
    return list(dict.fromkeys(other_files.kind(member) for member in members))[:_SHOWN_KINDS]
