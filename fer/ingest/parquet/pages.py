"""The pages of a column, by their own headers: Arrow allocates what a header declares, then decompresses into it."""

from collections.abc import Iterator
from typing import NamedTuple

from fer import limits
from fer.ingest.parquet import thrift
from fer.ingest.parquet.footer import Chunk
from fer.ingest.parquet.refusals import Damaged, Refused

_MAX_PAGES = 100_000  # of one column of a row group: an empty page has 20 bytes
_HEADER_VALUES = 64
# PageHeader; of its kinds, the fields that hold their own headers and, in these, their encodings
_KIND, _UNCOMPRESSED, _COMPRESSED = 1, 2, 3
_DATA, _INDEX, _DICTIONARY, _DATA_2 = 0, 1, 2, 3
_DETAILS = {_DATA: (5, 2), _DICTIONARY: (7, 2), _DATA_2: (8, 4)}
_N_VALUES = 1
PLAIN = 0
IN_DICTIONARY = frozenset((2, 8))  # PLAIN_DICTIONARY, RLE_DICTIONARY
_BY_PREFIXES = 7  # DELTA_BYTE_ARRAY: each value repeats the beginning of the one before it


class Pages(NamedTuple):
    """The pages of a column: their bytes once decompressed, and the encodings of their values."""

    uncompressed_bytes: int
    encodings: frozenset[int]


class _Page(NamedTuple):
    """A page: its bytes once decompressed, how many values it says to have, and how these are encoded."""

    uncompressed_bytes: int
    n_values: int
    encoding: int
    is_dictionary: bool


def measure(data: bytes, chunk: Chunk) -> Pages:
    """Walk the pages of a column of a row group.

    Raises Refused for a page beyond the limits, or with values of which no header tells the size; Damaged.
    """
    limit = limits.current().parquet_page_bytes
    total = n_values = 0
    encodings: set[int] = set()
    for page in _pages(data, chunk):
        total += page.uncompressed_bytes
        if not page.is_dictionary:
            n_values += page.n_values
            encodings.add(page.encoding)
        if page.uncompressed_bytes > limit:
            raise Refused(
                f"pages of at most {limit:,} bytes once decompressed",
                f"one of {page.uncompressed_bytes:,} in column {chunk.column!r}",
                "parquet_page_bytes",
            )
        if chunk.is_bytes and page.encoding == _BY_PREFIXES:
            raise Refused("columns whose size its headers tell", f"{chunk.column!r} in the encoding DELTA_BYTE_ARRAY")
    if chunk.is_fixed and encodings & IN_DICTIONARY:
        raise Refused("columns whose size its headers tell", f"{chunk.column!r}, of bytes of one length")
    if n_values > chunk.n_values:
        raise Damaged
    return Pages(total, frozenset(encodings))


def _pages(data: bytes, chunk: Chunk) -> Iterator[_Page]:
    at = chunk.start
    n_pages = 0
    while at < chunk.end:
        n_pages += 1
        if n_pages > _MAX_PAGES:
            raise Refused(f"columns of at most {_MAX_PAGES:,} pages in a row group", f"more in {chunk.column!r}")
        reader = thrift.Reader(data, at, _HEADER_VALUES)
        try:
            header = reader.struct()
            at = reader.at + header[_COMPRESSED]
            if header[_COMPRESSED] < 0 or header[_UNCOMPRESSED] < 0 or at > chunk.end:
                raise Damaged
            yield _page(header)
        except (thrift.Malformed, thrift.TooMany, IndexError, KeyError, TypeError, AttributeError):
            raise Damaged from None


def _page(header: thrift.Struct) -> _Page:
    kind = header[_KIND]
    if kind == _INDEX:
        return _Page(header[_UNCOMPRESSED], 0, PLAIN, is_dictionary=False)
    field, encoding = _DETAILS[kind]
    details = header[field]
    if details[_N_VALUES] < 0:
        raise Damaged
    return _Page(header[_UNCOMPRESSED], details[_N_VALUES], details[encoding], kind == _DICTIONARY)
