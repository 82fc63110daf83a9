"""The CSV of FER2013: columns emotion (0-6), pixels (numbers 0-255 with blanks between) and, mostly, Usage (the split).

The row after the header is `fer2013.csv#1`. `icml_face_data.csv` is the same with blanks before the columns' names.
"""

import dataclasses
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fer import archives, labels, tables


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
    """Whether it says which split an image belongs to."""
    columns = _columns(names)
    return columns is not None and columns.usage is not None


def _columns(header: Sequence[str]) -> _Columns | None:
    names = [labels.normalised(each) for each in header]
    if "emotion" not in names or "pixels" not in names:
        return None
    usage = names.index("usage") if "usage" in names else None
    return _Columns(len(names), names.index("emotion"), names.index("pixels"), usage)


def read(path: Path, table: archives.Member) -> Iterator[Row]:
    """Stream the rows of `table`, a CSV of pixels in the archive `path`.

    Raises SourceError where it can't be read as a CSV, DamagedArchive for damaged bytes.
    """
    with zipfile.ZipFile(path) as archive, tables.open_csv(archive, table) as (raw, rows):
        columns = _columns(next(rows, []))
        n_blank = 1
        for n, row in enumerate(rows, start=1):
            if not row or columns is None:
                n_blank += 1
                continue
            yield _row(f"{table.name}#{n}", n - n_blank, row, columns, raw.tell())


def _row(path: str, number: int, row: list[str], columns: _Columns, read_bytes: int) -> Row:
    if len(row) != columns.n:
        wrong = "the CSV row has other than the header's number of columns"
        return Row(path, number, "", None, ",".join(row).encode(), wrong, read_bytes)
    usage = None if columns.usage is None else row[columns.usage].strip() or None
    raw_label = row[columns.emotion].strip()
    defect = None if raw_label else labels.MISSING
    return Row(path, number, raw_label, usage, row[columns.pixels].encode(), defect, read_bytes)


def as_pgm(text: bytes) -> bytes:
    """The pixels of `Row.text` as a binary PGM (netpbm's P5). Raises NoPixels."""
    if text.translate(None, b"0123456789 ") or not text.strip():  # `fromstring` would read a lone "-" as 0
        raise NoPixels("the CSV row's pixels are not all numbers within 0-255")
    pixels = np.fromstring(text, dtype=np.int64, sep=" ")  # 36 thousand rows/s at 48x48; `split` does 6 thousand
    if pixels.max() > 255:
        raise NoPixels("the CSV row's pixels are not all numbers within 0-255")
    side = math.isqrt(len(pixels))
    if side * side != len(pixels):
        raise NoPixels("the CSV row's pixels are no square")
    return b"P5\n%d %d\n255\n" % (side, side) + pixels.astype(np.uint8).tobytes()
