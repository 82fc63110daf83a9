"""The CSV of FER2013: columns emotion (0-6), pixels (numbers 0-255 with blanks between) and, mostly, Usage (the split).

The row after the header is `fer2013.csv#1`. `icml_face_data.csv` is the same with blanks before the columns' names.
Where no column says the split, the table's name or a folder may: `train.csv` beside `test.csv`.
"""

import dataclasses
import math
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fer import errors
from fer.ingest import archives, labels, split_names
from fer.ingest.layouts import tables

# Of a source. The largest public set of faces with emotions, AffectNet, has 0.45 M; a few KB may hold millions.
MAX_ROWS = 500_000


class NoPixels(ValueError):
    """Text that is no square of pixels; the message is the reason, fit for a report."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the CSV: the text of its pixels, or of the whole row where a `defect` leaves unclear which they are."""

    path: str
    number: int  # among the rows that are not blank, from 0
    raw_label: str
    raw_split: str | None
    text: bytes
    n_pixels: int  # count of numbers in the text, whatever they are; 0 with a defect
    defect: str | None
    read_bytes: int  # of the CSV, up to about here


@dataclasses.dataclass(frozen=True)
class _Columns:
    n: int
    emotion: int
    pixels: int
    usage: int | None


def is_pixel_table(names: Sequence[str]) -> bool:
    """Whether a table with columns of these names holds pixels."""
    return _columns(names) is not None


def has_split(names: Sequence[str]) -> bool:
    """Whether a table with columns of these names says which split an image belongs to."""
    columns = _columns(names)
    return columns is not None and columns.usage is not None


def _columns(header: Sequence[str]) -> _Columns | None:
    names = [labels.normalised(name) for name in header]
    if "emotion" not in names or "pixels" not in names:
        return None
    usage = names.index("usage") if "usage" in names else None
    return _Columns(len(names), names.index("emotion"), names.index("pixels"), usage)


def read(path: Path, table: archives.Member, splits: split_names.SplitNames) -> Iterator[Row]:
    """Stream the rows of `table`, a CSV of pixels in the archive `path`.

    Raises SourceError where it can't be read as a CSV, DamagedArchive for damaged bytes.
    """
    split = splits.of_table(table.name) or splits.of_folders(table.name)
    with zipfile.ZipFile(path) as archive, tables.open_csv(archive, table) as (raw, rows):
        columns = _columns(next(rows, []))
        n_blank = 1
        for n, row in enumerate(rows, start=1):
            if not row or columns is None:
                n_blank += 1
                continue
            usage = row[columns.usage].strip() if columns.usage is not None and len(row) == columns.n else None
            in_split = split if usage is None else splits.of(usage) or usage or None
            yield _row(table, n, n - n_blank, row, columns, in_split, raw.tell())


def _row(
    table: archives.Member,
    n: int,
    number: int,
    row: list[str],
    columns: _Columns,
    split: str | None,
    read_bytes: int,
) -> Row:
    path = f"{table.name}#{n}"
    if len(row) != columns.n:
        defect = "the CSV row has other than the header's number of columns"
        return Row(path, number, "", None, ",".join(row).encode(), 0, defect, read_bytes)
    raw_label = row[columns.emotion].strip()
    if max(len(raw_label), len(split or "")) > tables.MAX_CELL_CHARS:
        raise tables.too_long(table)
    text = row[columns.pixels].encode()
    missing = None if raw_label else labels.MISSING
    n_pixels = 0 if missing else _n_numbers(text)
    # A text that millions of rows share takes its memory once.
    return Row(path, number, sys.intern(raw_label), split and sys.intern(split), text, n_pixels, missing, read_bytes)


def _n_numbers(text: bytes) -> int:
    """How many numbers with blanks between them the text has, without reading them: 10 µs at 48x48."""
    filled = np.frombuffer(text, np.uint8) != ord(" ")
    return int(np.count_nonzero(filled[1:] & ~filled[:-1])) + int(filled[:1].sum())


def usual_n_pixels(n_rows: Counter[int]) -> int:
    """The most frequent number of pixels that is a square, of equally frequent ones the largest; 0 if none is.

    `n_rows`: number of pixels -> rows of a table.
    """
    squares = [
        (rows, n_pixels) for n_pixels, rows in n_rows.items() if n_pixels and math.isqrt(n_pixels) ** 2 == n_pixels
    ]
    return max(squares, default=(0, 0))[1]


def too_many_rows(table: archives.Member) -> errors.SourceError:
    """The error for a source of more than MAX_ROWS."""
    return errors.SourceError(
        f"A source must have at most {MAX_ROWS:,} rows of pixels.",
        received=f"more, up to {table.name!r}",
        todo="divide it into several sources",
    )


def as_pgm(text: bytes, n_pixels: int = 0) -> bytes:
    """The pixels of `Row.text` as a binary PGM (netpbm's P5).

    Raises NoPixels, also where there are not as many as `n_pixels` (0: any number).
    """
    if text.translate(None, b"0123456789 ") or not text.strip():  # `fromstring` would read a lone "-" as 0
        raise NoPixels("the CSV row's pixels are not all numbers within 0-255")
    pixels = np.fromstring(text, dtype=np.int64, sep=" ")  # 36 thousand rows/s at 48x48; `split` does 6 thousand
    if pixels.max() > 255:
        raise NoPixels("the CSV row's pixels are not all numbers within 0-255")
    side = math.isqrt(len(pixels))
    if side * side != len(pixels):
        raise NoPixels("the CSV row's pixels are no square")
    if n_pixels and n_pixels != len(pixels):
        raise NoPixels("another number of pixels than in the table's other rows")
    return b"P5\n%d %d\n255\n" % (side, side) + pixels.astype(np.uint8).tobytes()
