"""Parquet, JSON and other files of labels that lie of their sizes or hold too much, beside two images."""

import functools
import io
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hostile_corpus import Accepted, Case, Declared, Outcome, Refused, _grey_png, grey, png, zipped

from fer import errors

_LABELLED = {"file": ["a.png", "b.png"], "label": ["happy", "sad"]}


def beside(name: str, data: bytes) -> bytes:
    """A zip of the images a.png and b.png and this file."""
    return zipped({"a.png": _grey_png(), "b.png": png(255 - grey(), 0), name: data})


def parquet(columns: Any = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    table = columns if isinstance(columns, pa.Table) else pa.table(_LABELLED if columns is None else columns)
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def _with(**columns: Any) -> bytes:
    """A Parquet of the two images' labels in which some columns are others."""
    return parquet(_LABELLED | columns)


def repeated(n_rows: int, text: str) -> pa.DictionaryArray:
    """One text in every row, which takes a few bytes in a file."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n_rows, np.int32)), [text])


def one_cell(n_bytes: int) -> bytes:
    """A Parquet with one cell of so many bytes: 2 GB take 100 KB."""
    label = pa.array([b"x" * n_bytes]).cast(pa.string()) if n_bytes < 2**20 else _long(n_bytes)
    return parquet(
        {"file": ["a.png"], "label": label}, compression="zstd", use_dictionary=False, write_statistics=False
    )


def _long(n_bytes: int) -> pa.Array:
    values = pa.py_buffer(np.full(n_bytes, ord("x"), np.uint8))
    return pa.LargeStringArray.from_buffers(1, pa.py_buffer(np.array([0, n_bytes], np.int64)), values)


def short_cells(n_rows: int) -> bytes:
    """A Parquet with so many rows of short names that no file has."""
    names = pa.array(np.arange(n_rows)).cast(pa.string())
    return parquet({"file": names, "label": repeated(n_rows, "happy")}, compression="zstd")


def _varint(value: int) -> bytes:
    value <<= 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _with_size(kind: str, size: int) -> bytes:
    """A Parquet whose footer, or the header of a page, declares another size than it has."""
    data = _with(file=["a" * 70_000 + ".png", "b.png"])
    place = pq.read_metadata(io.BytesIO(data)).row_group(0).column(0)
    if kind == "footer":
        old = _varint(place.total_uncompressed_size)
        at = data.rindex(old)
    else:
        old = next(_varint(n) for n in range(70_000, 71_000) if _varint(n) in data[:60])
        at = data.index(old)
    new = _varint(size)
    filled = new[:-1] + bytes([new[-1] | 0x80]) + b"\x80" * (len(old) - len(new) - 1) + b"\0"
    return (
        data[:at]
        + (new if len(new) == len(old) else filled if len(new) < len(old) else new[: len(old)])
        + data[at + len(old) :]
    )


def _footer(content: bytes, length: int | None = None) -> bytes:
    return b"PAR1" + content + struct.pack("<I", len(content) if length is None else length) + b"PAR1"


def _nested(depth: int) -> pa.Array:
    column = pa.array([1, 2])
    for _ in range(depth):
        column = pa.StructArray.from_arrays([column], ["x"])
    return column


def _encrypted() -> bytes:
    data = parquet()
    return b"PARE" + data[4:-4] + b"PARE"


def _flipped(at: float) -> bytes:
    data = bytearray(parquet())
    data[int(len(data) * at)] ^= 0xFF
    return bytes(data)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


_RECORDS = [{"file": "a.png", "label": "happy"}, {"file": "b.png", "label": "sad"}]


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode("latin-1")
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


_NO_LABELS = Refused(errors.FerError, ".")
_TWO = Accepted(2)


def _case(name: str, make: Callable[[], bytes], outcome: Outcome) -> Case:
    """`make` gives the file of labels; its name ends the case's."""
    suffix = "." + name.rpartition(".")[2]
    return Case(name, lambda: beside(f"labels{suffix}", make()), outcome, ".zip")


# Those whose making or reading takes seconds.
HEAVY = frozenset(("one-cell.parquet", "missing-files.json", "short-cells.parquet", "columns-of-thousands.parquet"))


def _refused(message: str, error: type[errors.FerError] = errors.SourceError) -> Refused:
    return Refused(error, message)


PARQUETS = (
    _case("usual.parquet", parquet, _TWO),
    _case("zstd.parquet", lambda: parquet(compression="zstd"), _TWO),
    _case("plain.parquet", lambda: parquet(use_dictionary=False), _TWO),
    _case("pages-2.parquet", lambda: parquet(data_page_version="2.0"), _TWO),
    _case("checksums.parquet", lambda: parquet(write_page_checksum=True), _TWO),
    _case("delta-lengths.parquet", lambda: parquet(
        use_dictionary=False, column_encoding={"file": "DELTA_LENGTH_BYTE_ARRAY"}), _TWO),
    _case("prefixes.parquet", lambda: parquet(use_dictionary=False, column_encoding={"file": "DELTA_BYTE_ARRAY"}),
          _refused("whose size its headers tell")),
    _case("of-nothing.parquet", lambda: parquet(
        {"file": pa.array([], pa.string()), "label": pa.array([], pa.string())}), _NO_LABELS),
    _case("of-nulls.parquet", lambda: parquet({"file": pa.nulls(9, pa.string()), "label": pa.nulls(9, pa.string())}),
          _NO_LABELS),
    _case("one-cell.parquet", lambda: one_cell(300 << 20), _refused("at most 268,435,456 bytes once decompressed")),
    _case("long-cells.parquet", lambda: _with(label=["x" * 20_000, "happy"]), _refused("at most 4,096 characters")),
    _case("repeated-long-cell.parquet", lambda: parquet(
        {"file": repeated(300_000, "x" * 200_000), "label": repeated(300_000, "happy")}),
        _refused("at most 4,096 characters")),
    _case("short-cells.parquet", lambda: short_cells(150_000), _refused("at most 100,000 files that are not there")),
    _case("rows-of-millions.parquet", lambda: parquet(
        {"file": repeated(2_000_000, "a.png"), "label": repeated(2_000_000, "happy")}),
        _refused("at most 700,000 rows")),
    _case("other-columns.parquet", lambda: _with(more=["x" * (9 << 20), ""], list=[[1] * 9, []]), _TWO),
    _case("columns-of-thousands.parquet", lambda: _with(**{f"c{n}": [0, 1] for n in range(2_000)}), _TWO),
    _case("deep.parquet", lambda: _with(deep=_nested(40)), _NO_LABELS),
    _case("column-twice.parquet", lambda: parquet(pa.Table.from_arrays(
        [pa.array(["a.png"]), pa.array(["happy"]), pa.array(["sad"])], names=["file", "label", "label"])),
        _refused("columns of different names")),
    _case("label-of-nul.parquet", lambda: _with(label=["happy\0", "sad"]), _refused("happy", errors.LabelError)),
    _case("column-of-nul.parquet", lambda: parquet({"file\0": ["a.png", "b.png"], "label": ["happy", "sad"]}),
          _NO_LABELS),
    _case("footer-understates.parquet", lambda: _with_size("footer", 100), _refused("4,096 characters")),
    _case("footer-overstates.parquet", lambda: _with_size("footer", 1_000_000), _NO_LABELS),
    _case("page-overstates.parquet", lambda: _with_size("page", 1_000_000), _NO_LABELS),
    _case("encrypted.parquet", _encrypted, _NO_LABELS),
    _case("footer-of-gigabytes.parquet", lambda: _footer(b"\x15\x02", 2**32 - 1), _NO_LABELS),
    _case("footer-of-a-list-of-billions.parquet", lambda: _footer(b"\x19\xfc\xff\xff\xff\xff\x0f"), _NO_LABELS),
    _case("footer-of-structs.parquet", lambda: _footer(b"\x1c" * 10_000), _NO_LABELS),
    _case("footer-of-lists.parquet", lambda: _footer(b"\x19\x19" * 5_000), _NO_LABELS),
    _case("footer-without-end.parquet", lambda: _footer(b"\x16" + b"\xff" * 500), _NO_LABELS),
    _case("footer-of-zeros.parquet", lambda: _footer(bytes(500)), _NO_LABELS),
    _case("footer-of-noise.parquet", lambda: _footer(np.random.default_rng(0).bytes(4_000)), _NO_LABELS),
    _case("magic-only.parquet", lambda: b"PAR1", _NO_LABELS),
    _case("magic-twice.parquet", lambda: b"PAR1PAR1", _NO_LABELS),
    _case("cut.parquet", lambda: parquet()[:-20], _NO_LABELS),
    _case("without-pages.parquet", lambda: b"PAR1" + parquet()[60:], _NO_LABELS),
    *(_case(f"flipped-{at}.parquet", functools.partial(_flipped, at / 10), Declared()) for at in range(1, 9)),
    _case("words.parquet", lambda: b"file,label\na.png,happy\n", _NO_LABELS),
)  # fmt: skip

JSONS = (
    _case("records.json", lambda: _json(_RECORDS), _TWO),
    _case("lines.jsonl", lambda: b"".join(_json(record) + b"\n" for record in _RECORDS), _TWO),
    _case("mapping.json", lambda: _json({"a.png": "happy", "b.png": "sad"}), _TWO),
    _case("brackets.json", lambda: b"[" * 200_000, _NO_LABELS),
    _case("braces.json", lambda: b'{"a":' * 100_000, _NO_LABELS),
    _case("deep-and-closed.json", lambda: b"[" * 50_000 + b"]" * 50_000, _NO_LABELS),
    _case("long-number.json", lambda: b'[{"file": "a.png", "label": ' + b"9" * 10**6 + b"}]", _NO_LABELS),
    _case("nan.json", lambda: b'[{"file": "a.png", "label": NaN}, {"file": "b.png", "label": Infinity}]', _NO_LABELS),
    _case("cut.json", lambda: _json(_RECORDS)[:-9], _NO_LABELS),
    _case("not-utf-8.json", lambda: _json(_RECORDS).replace(b"happy", b"h\xffppy"), _NO_LABELS),
    _case("surrogates.json", lambda: b'[{"file": "a.png", "label": "\\ud800"}]', _NO_LABELS),
    _case("nul.json", lambda: b'[{"file": "a.png", "label": "happy\\u0000"}, {"file": "b.png", "label": "sad"}]',
          _NO_LABELS),
    _case("reversed.json", lambda: b'[{"file": "a.png", "label": "\\u202ehappy"}, {"file": "b.png", "label": "sad"}]',
          _NO_LABELS),
    _case("same-key.json", lambda: b'{"a.png": "happy", "a.png": "sad", "b.png": "sad"}', _TWO),
    _case("many-keys.json", lambda: _json([{f"k{n}": n for n in range(50_000)}]), _NO_LABELS),
    _case("long-cell.json", lambda: _json([{"file": "a.png", "label": "x" * 10**6}]),
          _refused("at most 4,096 characters")),
    _case("missing-files.json", lambda: _json([{"file": f"{n}", "label": "happy"} for n in range(200_000)]
                                              + _RECORDS), _refused("at most 100,000 files that are not there")),
    _case("coco-in-circles.json", lambda: _json(
        {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "category_id": [[1]]}] * 9,
         "categories": [{"id": {}, "name": None}]}), _NO_LABELS),
    _case("long-line.jsonl", lambda: b'{"file": "a.png", "label": "' + b"x" * (3 << 20) + b'"}\n', _NO_LABELS),
    _case("line-cut.jsonl", lambda: _json(_RECORDS[0]) + b"\n" + _json(_RECORDS[1])[:-3], _NO_LABELS),
    _case("null.json", lambda: b"null", _NO_LABELS),
    _case("bytes.json", lambda: bytes(range(256)) * 20, _NO_LABELS),
)  # fmt: skip

LISTS = (
    _case("list.txt", lambda: b"a.png happy\nb.png sad\n", _TWO),
    _case("list-of-nul.txt", lambda: b"a.png happy\0\nb.png sad\n", _NO_LABELS),
    _case("list-of-marks.txt", lambda: "a.png \u202ehappy\nb.png sad\n".encode(), _NO_LABELS),
    _case("list-of-controls.txt", lambda: b"a.png \x1b[2Jhappy\nb.png sad\n", _NO_LABELS),
    _case("list-long.txt", lambda: b"a.png " + b"x" * 10**6 + b"\n", _NO_LABELS),
    _case("list-missing.txt", lambda: b"a.png happy\nb.png sad\n"
          + b"".join(b"%d.png happy\n" % n for n in range(150_000)), _NO_LABELS),
    _case("aliases.yaml", lambda: b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nnames: [*c,*c]\n", _NO_LABELS),
    _case("tags.yaml", lambda: b"names: !!python/object/apply:os.system ['true']\n", _NO_LABELS),
)  # fmt: skip


def _arrays(**files: bytes) -> bytes:
    """A zip of the two images and an array for each of them."""
    return zipped({"a.png": _grey_png(), "b.png": png(255 - grey(), 0)} | {f"{n}.npy": d for n, d in files.items()})


def _array(name: str, make: Callable[[], bytes], outcome: Outcome) -> Case:
    return Case(name, make, outcome, ".zip")


_SCALAR = "{'descr': '<i8', 'fortran_order': False, 'shape': (), }"

ARRAYS = (
    _array("npy-of-objects", lambda: _arrays(
        a=npy(_SCALAR.replace("<i8", "|O"), b"\x80\x04cos\nsystem\n."), b=npy(_SCALAR.replace("<i8", "|O"))),
        _NO_LABELS),
    _array("npy-of-petabytes", lambda: _arrays(**dict.fromkeys("ab", npy(_SCALAR.replace("()", "(2**50,)")))),
           _NO_LABELS),
    _array("npy-of-billions", lambda: _arrays(**dict.fromkeys("ab", npy(_SCALAR.replace("()", f"({2**50},)")))),
           _NO_LABELS),
    _array("npy-cut", lambda: _arrays(**dict.fromkeys("ab", npy(_SCALAR, b"\1"))), _NO_LABELS),
    _array("npy-header-of-code", lambda: _arrays(**dict.fromkeys("ab", npy("__import__('os').system('true')"))),
           _NO_LABELS),
    _array("npy-header-deep", lambda: _arrays(**dict.fromkeys("ab", npy("(" * 5_000, version=(2, 0)))), _NO_LABELS),
    _array("npy-header-of-gigabytes", lambda: _arrays(
        **dict.fromkeys("ab", b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + b"{")), _NO_LABELS),
    _array("npy-negative", lambda: _arrays(**dict.fromkeys("ab", npy(_SCALAR.replace("()", "(-1,)")))), _NO_LABELS),
)  # fmt: skip

LABEL_FILES = (*PARQUETS, *JSONS, *LISTS, *ARRAYS)
