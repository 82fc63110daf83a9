"""The one way in which a Parquet file of a source is opened."""

import contextlib
import zipfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from fer import errors, limits, plain_text
from fer.ingest import archives
from fer.ingest.parquet import footer, pages
from fer.ingest.parquet.refusals import Damaged, Refused

_VALUES_PER_ROW = 16  # of a column of labels that is a list, on average; of all others it is one
_FREE_BYTES = 64 * 2**20  # a column this large costs nothing that matters, however well it was compressed


def schema(archive: zipfile.ZipFile, member: archives.Member) -> pa.Schema:
    """The columns of a Parquet file, of which only the footer is read. Raises as `opened`."""
    with _errors(member):
        return pq.read_schema(pa.BufferReader(_footer(archive, member)))


def n_rows(archive: zipfile.ZipFile, member: archives.Member) -> int:
    """How many rows a Parquet file has by its footer. Raises as `opened`."""
    with _errors(member):
        return footer.read(_footer(archive, member), member.size_bytes).n_rows


def _footer(archive: zipfile.ZipFile, member: archives.Member) -> bytes:
    """The footer of a Parquet file, once it has been read without trust."""
    with archives.damage(plain_text.quoted(member.name)), archive.open(member.name) as file:
        file.seek(max(0, member.size_bytes - footer.END_BYTES))
        file.seek(max(0, member.size_bytes - footer.size(file.read())))
        data = file.read()
    footer.read(data, member.size_bytes)
    return data


@contextlib.contextmanager
def opened(
    archive: zipfile.ZipFile, member: archives.Member, texts: Sequence[str], streamed: Sequence[str] = ()
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file of an archive from `archives.open_safe`, to read the columns `texts` and `streamed` of it.

    A column within another is named with a dot: `image.bytes`. What `texts` hold is kept in memory together, of
    `streamed` a batch of rows at a time. Texts and bytes come as dictionaries, so that what is repeated a million times
    takes its memory once.
    Raises SourceError for a file beyond the limits, which is told from its headers, for one that is encrypted, and for
    a column whose name is that of another; DamagedArchive for bytes that are no whole Parquet file, also while it is
    read within the `with`.
    """
    with _errors(member):
        limit = limits.current().parquet_bytes
        if member.size_bytes > limit:
            raise Refused(f"at most {limit:,} bytes", f"{member.size_bytes:,}", "parquet_bytes")
        data = archives.read(archive, member)
        in_dictionaries = _require_bounded(data, texts, streamed)
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=in_dictionaries, pre_buffer=False) as file:
            _require_distinct(file.schema_arrow.names, {name.split(".")[0] for name in (*texts, *streamed)})
            yield file


def _require_bounded(data: bytes, texts: Sequence[str], streamed: Sequence[str]) -> list[str]:
    """The columns to be read of which Arrow makes dictionaries.

    Raises Refused for more than the limits allow of these; Damaged.
    """
    known = footer.read(data, len(data))
    current = limits.current()
    if known.n_rows > current.table_rows:
        raise Refused(f"at most {current.table_rows:,} rows", f"{known.n_rows:,}", "table_rows")
    bytes_by_column = Counter[str]()
    values_by_column = Counter[str]()
    wanted = {*texts, *streamed}
    chunks = [chunk for chunk in known.chunks if _is_among(chunk.column, wanted)]
    for chunk in chunks:  # the file's own word first: what says that it is too large needs no closer look
        bytes_by_column[chunk.column] += chunk.uncompressed_bytes
    _require_bytes(bytes_by_column, len(data), texts)
    bytes_by_column.clear()
    encodings: dict[str, set[int]] = defaultdict(set)  # of texts and bytes
    for chunk in chunks:
        measured = pages.measure(data, chunk)
        bytes_by_column[chunk.column] += measured.uncompressed_bytes
        values_by_column[chunk.column] += chunk.n_values
        if chunk.is_bytes:
            encodings[chunk.column] |= measured.encodings
    _require_bytes(bytes_by_column, len(data), texts)
    for column, n_values in values_by_column.items():
        if _is_among(column, texts):
            most, limit = _VALUES_PER_ROW * current.table_rows, "table_rows"
        else:
            most, limit = max(_FREE_BYTES, current.archive_ratio * len(data)), None
        if n_values > most:
            raise Refused(f"at most {most:,} values in a column", f"{n_values:,} in {column!r}", limit)
    return sorted(column for column, used in encodings.items() if _is_for_dictionaries(column, used))


def _is_among(column: str, names: Collection[str]) -> bool:
    """Whether `names` have the column, or the one that it is in."""
    return column in names or column.split(".")[0] in names


def _is_for_dictionaries(column: str, encodings: set[int]) -> bool:
    """Whether Arrow makes dictionaries of values that are encoded so.

    Raises Refused where it does not, although some values are: how much they take is told by no header then.
    """
    if encodings <= {pages.PLAIN, *pages.IN_DICTIONARY}:
        return True
    if encodings & pages.IN_DICTIONARY:
        raise Refused("columns whose size its headers tell", f"{column!r}, partly in a dictionary")
    return False


def _require_distinct(names: Sequence[str], wanted: Iterable[str]) -> None:
    repeated = sorted(name for name in wanted if names.count(name) > 1)
    if repeated:
        raise Refused("columns of different names", f"{plain_text.quoted(repeated[0])} more than once")


def _require_bytes(bytes_by_column: Counter[str], file_bytes: int, texts: Sequence[str]) -> None:
    limit = limits.current().parquet_text_bytes
    n_bytes = sum(n for column, n in bytes_by_column.items() if _is_among(column, texts))
    if n_bytes > limit:
        raise Refused(f"labels of at most {limit:,} bytes once decompressed", f"{n_bytes:,}", "parquet_text_bytes")
    most = max(_FREE_BYTES, limits.current().archive_ratio * file_bytes)
    if sum(bytes_by_column.values()) > most:
        raise Refused(
            f"columns of at most {limits.current().archive_ratio} times its own size once decompressed",
            f"{sum(bytes_by_column.values()):,} bytes in a file of {file_bytes:,}",
        )


@contextlib.contextmanager
def _errors(member: archives.Member) -> Iterator[None]:
    """Turn what reading a Parquet file raises into errors that name it."""
    try:
        yield
    except Refused as refused:
        todo = "write it anew in smaller parts, or leave it out of the source"
        raise errors.SourceError(
            f"A Parquet file must have {refused.must_have}.",
            received=f"{refused.received} in {plain_text.quoted(member.name)}",
            todo=todo if refused.limit is None else f"{todo}; or {limits.to_raise(refused.limit)}",
        ) from None
    except (Damaged, pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise archives.DamagedArchive(
            "Every table of the archive must be whole.",
            received=f"{plain_text.quoted(member.name)}, damaged or cut short ({type(error).__name__})",
            todo="get the archive again, or leave the table out",
        ) from None
