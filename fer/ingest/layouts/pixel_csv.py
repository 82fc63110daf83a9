"""The CSV of FER2013: columns emotion (0-6), pixels (numbers 0-255 with blanks between) and, mostly, Usage (the split).

Also with the pixels as a list, `[1, 2, ...]`, with a column for each pixel, and without a header. The first row of
pixels is `fer2013.csv#1`. `icml_face_data.csv` is the same with blanks before the columns' names. Where no column says
the split, the table's name or a folder may: `train.csv` beside `test.csv`.
"""

import dataclasses
import itertools
import math
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fer import errors, limits
from fer.ingest import archives
from fer.ingest.layouts import label_grids, tables
from fer.ingest.naming import labels, split_names

_NUMBERED = re.compile(r"\s*(?:pixels?|pix|px|p)?[_ .-]?[0-9]+\s*", re.IGNORECASE)  # a column a pixel
_PIXELS = re.compile(r"[\s\[(]*[0-9]{1,3}(?:[\s,;]+[0-9]{1,3}){15}")  # the beginning of a cell of them
_ROW = re.compile(rb"(?:[0-9]{1,3}[ ,;\t]+){%d}" % 63)
_LIST_MARKS = str.maketrans(dict.fromkeys("[](),;\t\r\n", " "))  # as lists are printed: [1, 2, 3]
_LEAST_PIXELS = 64  # of an image: 8x8
_LONGEST_LABEL = 40
_USAGES = ("training", "publictest", "privatetest")
_START_BYTES = 1 << 18
_OTHER_COLUMNS = "the CSV row has other than the header's number of columns"


OTHER_SUFFIXES = ("", ".txt", ".dat", ".data")  # what is left of a CSV's name, or takes its place


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
    groups: tuple[tuple[str, str], ...] = ()  # see `IndexConfig.groups`


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where a row has what: places of its cells, `n` of them. Several places of pixels hold one number each."""

    n: int
    label: int
    pixels: tuple[int, ...]
    usage: int | None
    is_fer2013: bool = False  # its labels are FER2013's numbers
    has_header: bool = True
    groups: tuple[tuple[str, int], ...] = ()


class Unlabelled(NamedTuple):
    """Where a row has its pixels, whatever else it has: places of cells, of `n`."""

    n: int
    pixels: tuple[int, ...]
    has_header: bool = True


class Stretch(NamedTuple):
    """`n` rows of a table that are not blank, from number `first` on, from 1; `start`: see `tables.open_csv`."""

    first: int
    start: int
    n: int


def columns(names: Sequence[str], chosen: Mapping[label_grids.Role, str], groups: Sequence[str] = ()) -> Columns | None:
    """Where a table with columns of these names has labels and pixels; None where it has none.

    Without a header the first row stands in their place; `chosen`, `groups`: see `IndexConfig`.
    """
    label = label_grids.columns_of(names, "label", chosen)[:1]
    usage = label_grids.columns_of(names, "split", chosen)[:1]
    pixels = _pixels_of(names, chosen)
    if not label:
        return _columns_of_first_row(names)
    if not pixels:
        return None
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    return Columns(
        len(names),
        places[label[0]],
        tuple(places[name] for name in pixels),
        places[usage[0]] if usage else None,
        is_fer2013=labels.normalised(label[0]) == "emotion",
        groups=tuple((group, places[name]) for group, name in label_grids.groups_of(names, groups).items()),
    )


def _pixels_of(names: Sequence[str], chosen: Mapping[label_grids.Role, str]) -> list[str]:
    """The column of pixels, or those that hold one each; none if there are too few."""
    pixels = label_grids.columns_of(names, "pixels", chosen)[:1] or [
        name for name in names if _NUMBERED.fullmatch(name)
    ]
    return pixels if len(pixels) == 1 or len(pixels) >= _LEAST_PIXELS else []


def _columns_of_first_row(row: Sequence[str]) -> Columns | None:
    pixels = _cells_of_pixels(row)
    label = [place for place, cell in enumerate(row) if place not in pixels and 0 < len(cell.strip()) <= _LONGEST_LABEL]
    if len(pixels) != 1 or not label:
        return None
    usage = next((place for place in label[1:] if labels.normalised(row[place]) in _USAGES), None)
    return Columns(len(row), label[0], tuple(pixels), usage, is_fer2013=usage is not None, has_header=False)


def _cells_of_pixels(row: Sequence[str]) -> list[int]:
    return [place for place, cell in enumerate(row) if len(cell) > _LEAST_PIXELS and _PIXELS.match(cell)]


def unlabelled(names: Sequence[str]) -> Unlabelled | None:
    """Where a table with columns of these names has pixels, whatever else it has; None where it has none.

    Without a header the first row stands in their place.
    """
    if len(cells := _cells_of_pixels(names)) == 1:
        return Unlabelled(len(names), tuple(cells), has_header=False)
    numbers = [int(name) for name in names if name.strip().isdecimal()]
    is_row = len(numbers) == len(names) >= _LEAST_PIXELS and len(set(numbers)) < len(numbers)
    if is_row and math.isqrt(len(numbers)) ** 2 == len(numbers):
        return Unlabelled(len(names), tuple(range(len(names))), has_header=False)
    pixels = set(_pixels_of(names, {}))
    places = tuple(place for place, name in enumerate(names) if name in pixels)
    return Unlabelled(len(names), places) if pixels else None


def stretches(archive: zipfile.ZipFile, table: archives.Member, places: Unlabelled, most: int) -> Iterator[Stretch]:
    """All rows of `table` in stretches of at most `most`, for which it is read once. Raises as `read`."""
    with tables.open_csv(archive, table) as (_, rows, tell):
        if places.has_header:
            next(rows, None)
        first, start, n = 1, tell(), 0
        for number, row in enumerate(rows, start=1):
            n += bool(row)
            if n == most:
                yield Stretch(first, start, n)
                first, start, n = number + 1, tell(), 0
        if n:
            yield Stretch(first, start, n)


def pictures(
    path: Path, table: archives.Member, places: Unlabelled, stretch: Stretch
) -> Iterator[tuple[str, bytes, str | None]]:
    """The paths, PGMs and defects of the images in a stretch of `table` in the archive `path`. Raises as `read`."""
    with zipfile.ZipFile(path) as archive, tables.open_csv(archive, table, stretch.start) as (_, rows, _):
        found = ((number, row) for number, row in enumerate(rows, stretch.first) if row)
        for number, row in itertools.islice(found, stretch.n):
            yield f"{table.name}#{number}", *_file(row, places)


def _file(row: list[str], places: Unlabelled) -> tuple[bytes, str | None]:
    """The PGM of a row, or why there is none."""
    if len(row) != places.n:
        return ",".join(row).encode(), _OTHER_COLUMNS
    text = plain_text(" ".join(row[place] for place in places.pixels))
    try:
        return as_pgm(text), None
    except NoPixels as error:
        return text, str(error)


def may_be(archive: zipfile.ZipFile, member: archives.Member) -> bool:
    """Whether a file begins like text with rows of pixels, whatever its name says."""
    if member.size_bytes < _LEAST_PIXELS * 2:
        return False
    start = archives.read_start(archive, member, _START_BYTES)
    return b"\0" not in start and _ROW.search(start) is not None


def about_n_rows(archive: zipfile.ZipFile, table: archives.Member) -> int:
    """About how many rows a table has, by the length of its first line with numbers."""
    lines = archives.read_start(archive, table, _START_BYTES).splitlines()
    longest = max(map(len, lines), default=0)
    return table.size_bytes // (longest + 1) if longest else 0


def read(path: Path, table: archives.Member, places: Columns, splits: split_names.SplitNames) -> Iterator[Row]:
    """Stream the rows of `table`, a CSV of pixels in the archive `path`.

    Raises SourceError where it can't be read as a CSV, DamagedArchive for damaged bytes.
    """
    split = splits.of_table(table.name) or splits.of_folders(table.name)
    with zipfile.ZipFile(path) as archive, tables.open_csv(archive, table) as (raw, rows, _):
        if places.has_header:
            next(rows, None)
        n_blank = 1
        for n, row in enumerate(rows, start=1):
            if not row:
                n_blank += 1
                continue
            usage = row[places.usage].strip() if places.usage is not None and len(row) == places.n else None
            in_split = split if usage is None else splits.of(usage) or usage or None
            yield _row(table, n, n - n_blank, row, places, in_split, raw.tell())


def _row(
    table: archives.Member,
    n: int,
    number: int,
    row: list[str],
    places: Columns,
    split: str | None,
    read_bytes: int,
) -> Row:
    path = f"{table.name}#{n}"
    if len(row) != places.n:
        return Row(path, number, "", None, ",".join(row).encode(), 0, _OTHER_COLUMNS, read_bytes)
    raw_label = row[places.label].strip()
    if max(len(raw_label), len(split or "")) > tables.MAX_CELL_CHARS:
        raise tables.too_long(table)
    text = plain_text(" ".join(row[place] for place in places.pixels))
    missing = None if raw_label else labels.MISSING
    n_pixels = 0 if missing else n_numbers(text)
    groups = groups_of_cells((group, row[place]) for group, place in places.groups)
    # A text that millions of rows share takes its memory once.
    shared = (sys.intern(raw_label), split and sys.intern(split))
    return Row(path, number, *shared, text, n_pixels, missing, read_bytes, groups)


def groups_of_cells(cells: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The groups of a row (group -> cell) that are known."""
    return tuple((group, sys.intern(value)) for group, cell in cells if (value := label_grids.known(cell.strip())))


def plain_text(pixels: str) -> bytes:
    """Pixels with blanks between them, of text that may be a printed list."""
    return pixels.translate(_LIST_MARKS).strip().encode()


def n_numbers(text: bytes) -> int:
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


def too_many_rows(table: str) -> errors.SourceError:
    """The error for a source of more rows of pixels than it may have, up to this table."""
    return errors.SourceError(
        f"A source must have at most {limits.current().pixel_rows:,} rows of pixels.",
        received=f"more, up to {table!r}",
        todo=f"divide it into several sources; or {limits.to_raise('pixel_rows')}",
    )


def as_pnm(pixels: np.ndarray) -> bytes:
    """Pixels (H, W), (H, W, 1), (H, W, 3) or (N,) of a square, 0-255 or True, as a binary PGM or PPM.

    Raises NoPixels for other shapes and values.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 1 and math.isqrt(len(pixels)) ** 2 == len(pixels):
        pixels = pixels.reshape(math.isqrt(len(pixels)), -1)
    is_colour = pixels.ndim == 3 and pixels.shape[2] == 3
    if not pixels.size or pixels.dtype.kind not in "iufb" or not (pixels.ndim == 2 or is_colour):
        raise NoPixels("the pixels have no shape of a picture")
    if not (pixels.min() >= 0 and pixels.max() <= 255):
        raise NoPixels("the pixels are not all numbers within 0-255")
    if pixels.dtype.kind == "f" and (np.floor(pixels) != pixels).any():
        raise NoPixels("the pixels are not all numbers within 0-255")
    header = b"P%d\n%d %d\n255\n" % (6 if is_colour else 5, pixels.shape[1], pixels.shape[0])
    return header + pixels.astype(np.uint8).tobytes()


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
