"""How a data set lies in its archive: class folders, or the CSV of FER2013.

class folders   [any/folders/][split/]CLASS/name.jpg, also CLASS/split/name.jpg; the class is the deepest folder that
                is not named like a split. In FER2013's Kaggle set, `test` holds two of the official splits, and the
                file names say which (`PublicTest_123.jpg`): such a prefix wins over the folder.
fer2013 csv     columns emotion (0-6), pixels (numbers 0-255 with blanks between) and, mostly, Usage (the split);
                the row after the header is `fer2013.csv#1`.
"""

import contextlib
import csv
import dataclasses
import io
import lzma
import math
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from fer import archives, errors, labels

CLASS_FOLDERS = "class folders"
FER2013_CSV = "fer2013 csv"

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".tif", ".tiff", ".gif"))
SPLIT_FOLDERS = frozenset(
    {"train", "training"}
    | {"val", "valid", "validation", "public", "publictest"}
    | {"test", "testing", "private", "privatetest"}
)
_SPLIT_PREFIX = re.compile(r"(Training|PublicTest|PrivateTest)_")
_MAX_FIELD_CHARS = 4 << 20  # 1,024 x 1,024 pixels of up to three digits and a blank


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """A file in the archive that should be an image, and what its path says of it."""

    member: archives.Member
    raw_label: str | None
    raw_split: str | None


@dataclasses.dataclass(frozen=True)
class CsvImage:
    """A row of a FER2013 CSV: its pixels as PGM, or as found with the `defect` that makes them no image."""

    path: str
    raw_label: str
    raw_split: str | None
    data: bytes
    defect: str | None
    read_bytes: int  # of the CSV, up to about here


@dataclasses.dataclass(frozen=True)
class Layout:
    """What `find` made of an archive. Either `files` or `tables` is empty; `n_ignored` counts what is neither."""

    name: str
    files: tuple[ImageFile, ...]
    tables: tuple[archives.Member, ...]
    n_ignored: int


def find(archive: zipfile.ZipFile, known_labels: Collection[str]) -> Layout:
    """Tell the layout of an archive from `archives.open_safe`.

    Class folders, if there are images and one of their folders is in `known_labels` (normalised); else the CSVs, if
    some hold pixels; else whatever images there are. Raises SourceError where there are neither.
    """
    members = archives.list_members(archive)
    files = tuple(_image_file(each) for each in members if _suffix(each) in IMAGE_SUFFIXES)
    if not any(labels.normalised(each.raw_label or "") in known_labels for each in files):
        tables = _tables_of_pixels(archive, members)
        if tables:
            return Layout(FER2013_CSV, (), tables, len(members) - len(tables))
    if not files:
        kinds = Counter(_suffix(each) or "no suffix" for each in members)
        raise errors.SourceError(
            "The source must hold images in class folders, or a CSV with the columns emotion and pixels.",
            received=f"{len(members):,} files, none an image ("
            + ", ".join(f"{kind}: {count:,}" for kind, count in kinds.most_common(5))
            + ")",
            todo=f"give a source of {', '.join(sorted(each[1:] for each in IMAGE_SUFFIXES))} files",
        )
    return Layout(CLASS_FOLDERS, files, (), len(members) - len(files))


def _suffix(member: archives.Member) -> str:
    return PurePosixPath(member.name).suffix.lower()


def _image_file(member: archives.Member) -> ImageFile:
    *folders, name = member.name.split("/")
    splits = [each for each in folders if each.lower() in SPLIT_FOLDERS]
    classes = [each for each in folders if each.lower() not in SPLIT_FOLDERS]
    prefix = _SPLIT_PREFIX.match(name)
    return ImageFile(
        member,
        raw_label=classes[-1] if classes else None,
        raw_split=prefix[1] if prefix else splits[-1] if splits else None,
    )


@dataclasses.dataclass(frozen=True)
class _Columns:
    n: int
    emotion: int
    pixels: int
    usage: int | None


def _columns(header: Sequence[str]) -> _Columns | None:
    """Where the columns are, or None if it is no table of pixels. `icml_face_data.csv` has blanks before the names."""
    names = [labels.normalised(each) for each in header]
    if "emotion" not in names or "pixels" not in names:
        return None
    usage = names.index("usage") if "usage" in names else None
    return _Columns(len(names), names.index("emotion"), names.index("pixels"), usage)


def _tables_of_pixels(archive: zipfile.ZipFile, members: list[archives.Member]) -> tuple[archives.Member, ...]:
    """The CSVs with pixels: those with the split, if there are any, since the others then are parts of them."""
    found: dict[archives.Member, _Columns] = {}
    for member in members:
        if _suffix(member) == ".csv":
            with contextlib.suppress(csv.Error), _open_rows(archive, member) as (_, rows):
                columns = _columns(next(rows, []))
                if columns is not None:
                    found[member] = columns
    with_split = tuple(member for member, columns in found.items() if columns.usage is not None)
    return with_split or tuple(found)


def read_csv(path: Path, table: archives.Member) -> Iterator[CsvImage]:
    """Stream the rows of `table`, a CSV that `find` found in the archive `path`.

    Raises SourceError where it can't be read as a CSV, DamagedArchive for damaged bytes.
    """
    number = 0
    with zipfile.ZipFile(path) as archive, _open_rows(archive, table) as (raw, rows):
        try:
            columns = _columns(next(rows, []))
            for number, row in enumerate(rows, start=1):
                if row and columns is not None:
                    yield _csv_image(f"{table.name}#{number}", row, columns, raw.tell())
        except csv.Error as error:
            raise errors.SourceError(
                "The CSV must have one image a row.",
                received=f"'{error}' after row {number:,} of {table.name}",
                todo="get the archive again",
            ) from None


@contextlib.contextmanager
def _open_rows(archive: zipfile.ZipFile, table: archives.Member) -> Iterator[tuple[IO[bytes], Iterator[list[str]]]]:
    limit_before = csv.field_size_limit(_MAX_FIELD_CHARS)
    try:
        with archive.open(table.name) as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")
            yield raw, csv.reader(text)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise archives.DamagedArchive(
            "Every file of the archive must be whole.",
            received=f"{table.name!r}, damaged or cut short ({type(error).__name__})",
            todo="get the archive again",
        ) from None
    finally:
        csv.field_size_limit(limit_before)


def _csv_image(path: str, row: list[str], columns: _Columns, read_bytes: int) -> CsvImage:
    if len(row) != columns.n:
        found = ",".join(row).encode()
        return CsvImage(path, "", None, found, "the CSV row has other than the header's number of columns", read_bytes)
    text = row[columns.pixels]
    usage = None if columns.usage is None else row[columns.usage].strip() or None
    data, defect = _as_pgm(text)
    return CsvImage(path, row[columns.emotion].strip(), usage, data, defect, read_bytes)


def _as_pgm(text: str) -> tuple[bytes, str | None]:
    """Pixels as a binary PGM (netpbm's P5), or the text as it is and what is wrong with it."""
    if not (text.isascii() and text.replace(" ", "").isdigit()):  # `fromstring` would read a lone "-" as 0
        return text.encode(), "the CSV row's pixels are not all numbers within 0-255"
    pixels = np.fromstring(text, dtype=np.int64, sep=" ")  # 36 thousand rows/s at 48x48; `split` does 6 thousand
    if pixels.max() > 255:
        return text.encode(), "the CSV row's pixels are not all numbers within 0-255"
    side = math.isqrt(len(pixels))
    if side * side != len(pixels):
        return text.encode(), "the CSV row's pixels are no square"
    return b"P5\n%d %d\n255\n" % (side, side) + pixels.astype(np.uint8).tobytes(), None
