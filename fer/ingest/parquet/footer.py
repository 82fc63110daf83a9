"""The footer of a Parquet file: its columns and where their bytes lie, by its own word.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift has the numbers of the fields.
"""

import dataclasses
import struct

from fer import limits
from fer.ingest.parquet import thrift
from fer.ingest.parquet.refusals import Damaged, Refused

END_BYTES = 8  # the length of the footer, and the magic bytes
_MAGIC, _ENCRYPTED_MAGIC = b"PAR1", b"PARE"
_MAX_DEPTH = 32  # of nested columns; Arrow's own schemas end at 64
# FileMetaData, SchemaElement, RowGroup, ColumnChunk, ColumnMetaData
_SCHEMA, _N_ROWS, _ROW_GROUPS, _ENCRYPTION = 2, 3, 4, 8
_N_CHILDREN = 5
_COLUMNS, _N_GROUP_ROWS = 1, 3
_OTHER_FILE, _META, _COLUMN_ENCRYPTION = 1, 3, 8
_TYPE, _PATH, _N_VALUES, _UNCOMPRESSED, _COMPRESSED, _DATA_AT, _DICTIONARY_AT = 1, 3, 5, 6, 7, 9, 11
_BYTE_ARRAY, _FIXED_BYTE_ARRAY = 6, 7


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A column of a row group: its path in the schema, with dots, and where its pages lie."""

    column: str
    is_bytes: bool
    is_fixed: bool  # bytes of one length, that of the schema
    n_values: int
    uncompressed_bytes: int
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Footer:
    """What the footer says: the number of rows, and the columns of all row groups."""

    n_rows: int
    chunks: tuple[Chunk, ...]


def size(end: bytes) -> int:
    """How many bytes from its start to its end a footer has, by the END_BYTES bytes that a file ends with.

    Raises Refused beyond the limit or for an encrypted footer, Damaged.
    """
    if end[-4:] == _ENCRYPTED_MAGIC:
        raise Refused("no encryption", "an encrypted footer")
    if len(end) < END_BYTES or end[-4:] != _MAGIC:
        raise Damaged
    n_bytes: int = struct.unpack_from("<I", end, len(end) - END_BYTES)[0]
    limit = limits.current().parquet_footer_bytes
    if n_bytes > limit:
        raise Refused(f"a footer of at most {limit:,} bytes", f"{n_bytes:,}", "parquet_footer_bytes")
    return n_bytes + END_BYTES


def read(data: bytes, file_bytes: int) -> Footer:
    """The footer of a file of so many bytes that ends with `data`. Raises Refused beyond the limits, Damaged."""
    start = len(data) - size(data[-END_BYTES:])
    if start < 0 or file_bytes - len(data) + start < len(_MAGIC):
        raise Damaged
    try:
        return _footer(memoryview(data)[: len(data) - END_BYTES], start, file_bytes - len(data) + start)
    except (thrift.Malformed, IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise Damaged from None


def _footer(data: memoryview, start: int, start_in_file: int) -> Footer:
    n_values = limits.current().parquet_footer_values
    try:
        fields = thrift.Reader(data, start, n_values).struct()
    except thrift.TooMany:
        raise Refused(f"a footer of at most {n_values:,} values", "more", "parquet_footer_values") from None
    if _ENCRYPTION in fields:
        raise Refused("no encryption", "encrypted columns")
    _require_schema(fields[_SCHEMA])
    groups = fields[_ROW_GROUPS]
    n_rows = max(fields[_N_ROWS], sum(group[_N_GROUP_ROWS] for group in groups))
    if n_rows < 0 or any(group[_N_GROUP_ROWS] < 0 for group in groups):
        raise Damaged
    return Footer(n_rows, tuple(_chunk(column, start_in_file) for group in groups for column in group[_COLUMNS]))


def _require_schema(elements: list[thrift.Struct]) -> None:
    """Raise Refused for more columns than are allowed, and for columns too deep within each other."""
    limit = limits.current().table_columns
    n_columns = sum(not element.get(_N_CHILDREN) for element in elements)
    if n_columns > limit:
        raise Refused(f"at most {limit:,} columns", f"{n_columns:,}", "table_columns")
    left_at: list[int] = []  # of each level that is open, how many children are to come
    for element in elements:
        if left_at:
            left_at[-1] -= 1
        left_at.append(element.get(_N_CHILDREN, 0))
        if len(left_at) > _MAX_DEPTH + 1:
            raise Refused(f"columns at most {_MAX_DEPTH} deep", "deeper ones")
        while left_at and left_at[-1] <= 0:
            left_at.pop()


def _chunk(column: thrift.Struct, footer_start: int) -> Chunk:
    if _COLUMN_ENCRYPTION in column:
        raise Refused("no encryption", "encrypted columns")
    if column.get(_OTHER_FILE):
        raise Refused("all of its columns in one file", "columns that are elsewhere")
    meta = column[_META]
    start, dictionary_at = meta[_DATA_AT], meta.get(_DICTIONARY_AT, 0)
    if 0 < dictionary_at < start:
        start = dictionary_at
    end = start + meta[_COMPRESSED]
    if meta[_N_VALUES] == 0:
        start = end = len(_MAGIC)
    if not len(_MAGIC) <= start <= end <= footer_start or meta[_N_VALUES] < 0:
        raise Damaged
    return Chunk(
        ".".join(part.decode() for part in meta[_PATH]),
        meta[_TYPE] in (_BYTE_ARRAY, _FIXED_BYTE_ARRAY),
        meta[_TYPE] == _FIXED_BYTE_ARRAY,
        meta[_N_VALUES],
        meta[_UNCOMPRESSED],
        start,
        end,
    )
