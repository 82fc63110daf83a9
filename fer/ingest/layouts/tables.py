"""Tables in an archive, read as text without trust: CSV, by comma, semicolon or tab, and Parquet."""

import contextlib
import csv
import io
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, cast

import pyarrow as pa
import pyarrow.compute as pc

from fer import errors, limits
from fer.ingest import archives
from fer.ingest.layouts import class_folders
from fer.ingest.naming import text_encodings
from fer.ingest.parquet import opening

SUFFIXES = (".csv", ".tsv", ".parquet")
_MAX_FIELD_CHARS = 4 << 20  # 1,024 x 1,024 pixels of up to three digits and a blank
MAX_CELL_CHARS = 4_096  # of a file's name, a label and the like; as long as a path can be
_LOOKED_AT = 4 * 2**20  # bytes of a table, for its encoding
_LOOKED_AT_WHOLE = 64 * 2**20  # a table of no more bytes is looked at as a whole; one of pixels is ASCII
_EXCEL_SEPARATOR = re.compile(r'\ufeff?"?sep=(.)"?', re.IGNORECASE)  # the first line, as Excel takes and some write it
_LINES_FOR_ADVICE = 200
_BATCH_ROWS = 16_384


def is_table(member: archives.Member) -> bool:
    """Whether the file's name is that of a table."""
    return class_folders.suffix(member.name) in SUFFIXES


def column_names(archive: zipfile.ZipFile, member: archives.Member) -> tuple[str, ...]:
    """The names of the table's columns as they stand there; of Parquet's only those that hold text or numbers.

    Raises SourceError where it can't be read as a table or has too many, DamagedArchive for damaged bytes.
    """
    if class_folders.suffix(member.name) == ".parquet":
        names = tuple(field.name for field in opening.schema(archive, member) if is_plain(field.type))
    else:
        with open_csv(archive, member) as (_, rows, _):
            names = tuple(next(rows, []))
    limit = limits.current().table_columns
    if len(names) > limit:
        raise refused(f"at most {limit:,} columns", f"{len(names):,} in {member.name!r}", "table_columns")
    return names


def read(
    archive: zipfile.ZipFile, member: archives.Member, columns: Sequence[str]
) -> Iterator[tuple[int, tuple[str, ...] | None]]:
    """The rows' numbers, from 1, and their cells of `columns` (of `column_names`) as text, "" where there is none.

    In the table's order. None stands for a row with more cells than columns; an empty line has a number and is left
    out. A number without a fraction is written without one. Raises as `column_names`, for more rows or longer cells
    than a table of labels may have, and for a column of a Parquet whose name is that of another.
    """
    rows_of = _parquet_rows if class_folders.suffix(member.name) == ".parquet" else _csv_rows
    for number, row in rows_of(archive, member, columns):
        require_few_rows(number, member)
        if row is not None and any(len(cell) > MAX_CELL_CHARS for cell in row):
            raise too_long(member)
        yield number, row


@contextlib.contextmanager
def open_csv(
    archive: zipfile.ZipFile, member: archives.Member, start: int | None = None
) -> Iterator[tuple[IO[bytes], Iterator[list[str]], Callable[[], int]]]:
    """The CSV's bytes, to see how far they are read; its rows, the header among them, or those from `start` on; and
    what tells the `start` of the row that comes next.

    Raises SourceError where it can't be read as a CSV, DamagedArchive for damaged bytes; the rows do too.
    """
    limit_before = csv.field_size_limit(_MAX_FIELD_CHARS)
    try:
        encoding = encoding_of(archive, member) or "utf-8-sig"
        with archives.damage(repr(member.name)):
            raw = archive.open(member.name)
        with raw:
            with archives.damage(repr(member.name)):
                beginning = cast(zipfile.ZipExtFile, raw).peek(MAX_CELL_CHARS)
            first_line = re.split(r"[\r\n]", beginning.decode(encoding, "ignore"), maxsplit=1)[0]
            text = io.TextIOWrapper(raw, encoding=encoding, errors="replace", newline="")
            said = _EXCEL_SEPARATOR.fullmatch(first_line)
            delimiter = said[1] if said else max(",", ";", "\t", key=first_line.count)
            with archives.damage(repr(member.name)):
                if start is not None:
                    text.seek(start)
                elif said:
                    text.readline()
            lines = iter(text.readline, "")  # a loop over the text itself would not tell where it is
            yield raw, _whole_rows(lines, delimiter, member), text.tell
    finally:
        csv.field_size_limit(limit_before)


def encoding_of(archive: zipfile.ZipFile, member: archives.Member) -> str | None:
    """The encoding of a table; None if it is none that is sure."""
    given = archive.text_encoding if isinstance(archive, archives.SafeZip) else None
    n_bytes = member.size_bytes if member.size_bytes <= _LOOKED_AT_WHOLE else _LOOKED_AT
    return text_encodings.of_table(archives.read_chunks(archive, member, n_bytes), given)


def _whole_rows(text: Iterable[str], delimiter: str, member: archives.Member) -> Iterator[list[str]]:
    # Not strict, it would take all that follows a stray quote for one cell.
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        with archives.damage(repr(member.name)):
            yield from rows
    except csv.Error as error:
        raise errors.SourceError(
            "The CSV must have one image per row, and its quotes must be closed.",
            received=f"'{error}' at line {rows.line_num:,} of {member.name!r}",
            todo="correct the table, or get the archive again",
        ) from None


def _csv_rows(
    archive: zipfile.ZipFile, member: archives.Member, columns: Sequence[str]
) -> Iterator[tuple[int, tuple[str, ...] | None]]:
    with open_csv(archive, member) as (_, rows, _):
        header = next(rows, [])
        places = [header.index(name) for name in columns]
        for number, row in enumerate(rows, start=1):
            if any("\ufffd" in row[place] for place in places if place < len(row)):
                _require_encoding(archive, member, number)
            if any(row[len(header) :]):
                yield number, None
            elif row:
                yield number, tuple(row[place].strip() if place < len(row) else "" for place in places)


def _require_encoding(archive: zipfile.ZipFile, member: archives.Member, number: int) -> None:
    """Raise SourceError if the encoding of a table with a character that could not be read is not sure."""
    if encoding_of(archive, member) is None:
        start = b"".join(archives.read_chunks(archive, member, _LOOKED_AT))
        lines = [line for line in re.split(rb"[\r\n]+", start) if not line.isascii()]
        raise errors.SourceError(
            "A table must be in UTF-8, or in an encoding that can be told.",
            received=f"other bytes in row {number:,} of {member.name!r}",
            todo=text_encodings.advice(b"\n".join(lines[:_LINES_FOR_ADVICE])) + "; or save the table as CSV UTF-8",
        )


def _parquet_rows(
    archive: zipfile.ZipFile, member: archives.Member, columns: Sequence[str]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    n_before = 0
    with opening.opened(archive, member, columns) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=list(columns), use_threads=False):
            cells = [texts(batch.column(name), member) for name in columns]
            yield from enumerate(zip(*cells, strict=True), start=n_before + 1)
            n_before += batch.num_rows


def is_text(kind: pa.DataType) -> bool:
    """Whether a Parquet's column holds text."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_plain(kind: pa.DataType) -> bool:
    """Whether a Parquet's column holds text or numbers."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
    )


def texts(column: pa.Array, member: archives.Member) -> list[str]:
    """The cells of a column; of those that are equal, one text."""
    if not pa.types.is_dictionary(column.type):
        return [_text(value) for value in column.to_pylist()]
    used = column.indices.drop_null().unique()
    values = column.dictionary.take(used)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        longest_bytes = pc.max(pc.binary_length(values)).as_py() or 0
        if longest_bytes > 4 * MAX_CELL_CHARS:  # up to 4 a character
            raise too_long(member)
    texts = dict(zip(used.to_pylist(), map(_text, values.to_pylist()), strict=True))
    return ["" if index is None else texts[index] for index in column.indices.to_pylist()]


def _text(value: str | float | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def require_few_rows(n_rows: int, member: archives.Member) -> None:
    """Raise SourceError if a table of labels has more rows than it may."""
    limit = limits.current().table_rows
    if n_rows > limit:
        raise refused(f"at most {limit:,} rows", f"more in {member.name!r}", "table_rows")


def too_long(member: archives.Member) -> errors.SourceError:
    """The error for a table with a cell of more than MAX_CELL_CHARS."""
    return refused(f"cells of at most {MAX_CELL_CHARS:,} characters", f"a longer one in {member.name!r}")


def refused(must_have: str, received: str, limit: str | None = None) -> errors.SourceError:
    """The error for a table that must have something else: `must_have` and `received` as in `errors`.

    `limit`: the limit of `fer.limits` that it exceeds, if it is one.
    """
    todo = "correct or divide it, or leave it out of the source"
    return errors.SourceError(
        f"A table must have {must_have}.",
        received=received,
        todo=todo if limit is None else f"{todo}; or {limits.to_raise(limit)}",
    )
