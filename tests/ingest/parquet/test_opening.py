"""What headers declare is refused before it is allocated; what they understate is found in the headers of pages."""

import io
import struct
import zipfile

import numpy as np
import peak_memory
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from indexed import parquet, zipped

from fer import errors
from fer.ingest import archives
from fer.ingest.parquet import footer, opening, pages, refusals

SMALL = {"file": [f"{n}.png" for n in range(50)], "label": ["happy", "sad"] * 25}


def read(data, texts=("file", "label"), streamed=()):
    """The rows of these columns, as lists."""
    with zipfile.ZipFile(io.BytesIO(zipped({"t.parquet": data}))) as archive:
        member = archives.Member("t.parquet", len(data))
        with opening.opened(archive, member, texts, streamed) as file:
            return file.read(columns=[*texts, *streamed]).to_pylist()


def refusal(data, **columns):
    """The message with which the file is refused, for which little memory is taken, and none is kept."""
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    with peak_memory.risen() as rise, pytest.raises(errors.SourceError) as caught:
        read(data, **columns)
    assert rise[0] < 100 * 2**20
    assert pool.bytes_allocated() <= before
    return str(caught.value)


def patched(data, found, *, into):
    """The file with one of its numbers, a varint, replaced by another of as many bytes."""
    assert data.count(found) >= 1
    assert len(found) == len(into)
    return data.replace(found, into)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "none"},
        {"compression": "zstd", "use_dictionary": False},
        {"data_page_version": "2.0", "row_group_size": 7, "write_page_index": True, "write_page_checksum": True},
        {"data_page_size": 64, "write_batch_size": 8},
        {"column_encoding": {"file": "DELTA_LENGTH_BYTE_ARRAY"}, "use_dictionary": False},
    ],
)
def test_what_arrow_writes_is_read(options):
    buffer = io.BytesIO()
    pq.write_table(pa.table(SMALL), buffer, **options)
    assert read(buffer.getvalue()) == pa.table(SMALL).to_pylist()


def test_columns_within_columns_are_read_by_their_path():
    pictures = [{"bytes": b"x" * n, "path": f"{n}.png"} for n in range(50)]
    data = parquet({"image": pictures, "label": SMALL["label"]})
    rows = read(data, texts=("label",), streamed=("image.bytes",))
    assert [row["image"]["bytes"] for row in rows] == [picture["bytes"] for picture in pictures]
    assert read(data, texts=("label",), streamed=("image",))[3]["image"] == pictures[3]


def test_pages_are_those_that_the_footer_declares():
    data = parquet({"file": ["x" * 300] * 10, "n": list(range(10))})
    known = footer.read(data, len(data))
    metadata = pq.read_metadata(io.BytesIO(data))
    assert known.n_rows == metadata.num_rows
    for place, chunk in enumerate(known.chunks):
        column = metadata.row_group(0).column(place)
        assert (chunk.column, chunk.n_values) == (column.path_in_schema, column.num_values)
        assert chunk.uncompressed_bytes == column.total_uncompressed_size
        assert 0 < pages.measure(data, chunk).uncompressed_bytes <= chunk.uncompressed_bytes  # which counts headers too


def test_one_cell_too_large_is_refused_by_the_footer_alone(limited):
    limited(parquet_text_bytes=10_000_000)
    data = parquet({"file": ["x" * (20 << 20)], "label": ["happy"]})
    assert len(data) < 2 << 20
    assert "labels of at most 10,000,000 bytes once decompressed. Received: 20,9" in refusal(data)


def test_the_schema_is_read_without_the_rest():
    data = parquet(SMALL)
    start = len(data) - footer.size(data[-8:])
    blank = b"PAR1" + bytes(start - 4) + data[start:]
    with zipfile.ZipFile(io.BytesIO(zipped({"t.parquet": blank}))) as archive:
        assert opening.schema(archive, archives.Member("t.parquet", len(data))).names == ["file", "label"]


def test_a_page_that_is_larger_than_the_footer_says_is_refused_by_its_own_header(limited):
    data = parquet({"file": ["x" * 100_000], "label": ["happy"]})
    size = next(chunk.uncompressed_bytes for chunk in footer.read(data, len(data)).chunks if chunk.column == "file")
    lying = data[:-2000] + patched(data[-2000:], varint(size), into=varint(70_000))
    assert footer.read(lying, len(lying)).chunks[0].uncompressed_bytes == 70_000
    limited(parquet_page_bytes=90_000)
    message = refusal(lying)
    assert "pages of at most 90,000 bytes" in message
    assert "'file' in 't.parquet'" in message
    assert "FER_LIMIT_PARQUET_PAGE_BYTES" in message


def varint(value):
    value = value << 1 ^ value >> 63
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def test_columns_that_are_not_read_cost_nothing():
    data = parquet({"file": ["a.png"], "label": ["happy"], "more": ["x" * (20 << 20)]})
    assert read(data) == [{"file": "a.png", "label": "happy"}]


def test_a_value_that_is_repeated_a_million_times_takes_its_memory_once():
    repeated = pa.DictionaryArray.from_arrays(np.zeros(500_000, np.int32), ["x" * 50_000])
    data = parquet({"file": repeated, "label": ["happy"] * 500_000})
    member = archives.Member("t.parquet", len(data))
    with (
        zipfile.ZipFile(io.BytesIO(zipped({"t.parquet": data}))) as archive,
        opening.opened(archive, member, ("file",)) as file,
    ):
        table = file.read(columns=["file"])
    assert table.nbytes < 10 << 20


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("table_rows", 49, "at most 49 rows.*Received: 50 in 't.parquet'.*FER_LIMIT_TABLE_ROWS"),
        ("table_columns", 1, "at most 1 columns.*Received: 2 in"),
        ("parquet_bytes", 500, "at most 500 bytes"),
        ("parquet_footer_bytes", 100, "a footer of at most 100 bytes"),
        ("parquet_footer_values", 20, "a footer of at most 20 values"),
        ("parquet_text_bytes", 100, "labels of at most 100 bytes once decompressed"),
        ("parquet_page_bytes", 10, "pages of at most 10 bytes"),
    ],
)
def test_each_limit_is_heeded_and_named(limited, limit, value, message):
    limited(**{limit: value})
    with pytest.raises(errors.SourceError, match=message):
        read(parquet(SMALL))


def test_a_size_that_no_header_tells_is_refused():
    buffer = io.BytesIO()
    encodings = {"file": "DELTA_BYTE_ARRAY"}
    pq.write_table(pa.table(SMALL), buffer, use_dictionary=False, column_encoding=encodings)
    assert "DELTA_BYTE_ARRAY" in refusal(buffer.getvalue())
    fixed = parquet({"file": pa.array([b"x" * 1000] * 1000, pa.binary(1000)), "label": ["happy"] * 1000})
    assert "'file', of bytes of one length" in refusal(fixed)


def test_lists_of_more_values_than_the_file_can_hold_are_refused_and_those_of_pixels_are_not(monkeypatch, limited):
    monkeypatch.setattr(opening, "_FREE_BYTES", 60_000)
    column = pa.LargeListArray.from_arrays([0, 500_000], pa.array(np.zeros(500_000, np.int8)))
    data = parquet({"file": ["a"], "label": ["b"], "boxes": column})
    assert "values in a column. Received: 500,000 in 'boxes.list.element'" in refusal(
        data, texts=("file",), streamed=("boxes",)
    )
    limited(table_rows=10)
    assert "at most 160 values in a column" in refusal(data, texts=("file", "boxes"))
    noise = np.random.default_rng(0).integers(0, 256, 9 * 48 * 48, np.uint8)
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(noise), 48 * 48)
    assert len(read(parquet({"label": ["b"] * 9, "pixels": pixels}), texts=("label",), streamed=("pixels",))) == 9


def test_columns_deep_within_each_other_are_refused():
    column = pa.array([1])
    for _ in range(40):
        column = pa.StructArray.from_arrays([column], ["x"])
    assert "at most 32 deep" in refusal(parquet({"file": ["a"], "label": ["b"], "deep": column}))


def test_encryption_is_refused():
    class Plain(pe.KmsClient):
        def wrap_key(self, key_bytes, _):
            return key_bytes

    factory = pe.CryptoFactory(lambda _: Plain())
    for plaintext_footer in (False, True):
        configuration = pe.EncryptionConfiguration(
            footer_key="footer", column_keys={"columns": ["file"]}, plaintext_footer=plaintext_footer
        )
        properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), configuration)
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, pa.table(SMALL).schema, encryption_properties=properties) as writer:
            writer.write_table(pa.table(SMALL))
        assert "no encryption" in refusal(buffer.getvalue())


@pytest.mark.parametrize(
    "lie",
    [
        lambda data: data[:-8] + struct.pack("<I", 2**32 - 1) + b"PAR1",
        lambda data: data[:-8] + struct.pack("<I", 0) + b"PAR1",
        lambda data: data[:-8] + struct.pack("<I", 8) + b"PAR1",
        lambda data: b"PAR1" + b"\x19\xfc\xff\xff\xff\x0f" + struct.pack("<I", 6) + b"PAR1",  # a list of billions
        lambda data: b"PAR1" + b"\x1c" * 5000 + struct.pack("<I", 5000) + b"PAR1",  # structs within structs
        lambda data: b"PAR1" + b"\x19\x19" * 2500 + struct.pack("<I", 5000) + b"PAR1",  # lists within lists
        lambda data: b"PAR1" + b"\x16" + b"\xff" * 90 + struct.pack("<I", 91) + b"PAR1",  # a number without an end
    ],
)
def test_a_footer_that_lies_of_itself_is_refused(lie):
    lying = lie(parquet(SMALL))
    assert "'t.parquet'" in refusal(lying)
    with pytest.raises((refusals.Damaged, refusals.Refused)):
        footer.read(lying, len(lying))
