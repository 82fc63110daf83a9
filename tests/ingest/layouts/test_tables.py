import io
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexed import CONFIG, by_path, parquet, png, reasons, run, zipped

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import archives, index
from fer.ingest.layouts import tables

IMAGES = {f"images/{n}.png": png(n) for n in range(3)}
WHOLE = parquet({"file": [f"{n}.png" for n in range(50)], "label": ["happy"] * 50})


def text(*rows):
    return "".join(",".join(row) + "\n" for row in rows).encode()


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def test_rows_are_counted_as_they_are_in_the_file(workspace):
    table = b"file,label\n\n0.png,happy\n\n,angry\n,\n"
    result = reasons(workspace, run(workspace, IMAGES | {"images/t.csv": table}))
    assert [path for path in result if "#" in path] == ["images/t.csv#4", "images/t.csv#5"]


def test_rows_of_a_parquet_without_anything_are_counted(workspace, monkeypatch):
    monkeypatch.setattr(tables, "_BATCH_ROWS", 2)
    table = parquet({"file": ["0.png", None, "1.png", None, "2.png"], "label": ["happy", None, "happy", "", "happy"]})
    result = reasons(workspace, run(workspace, IMAGES | {"images/t.parquet": table}))
    names_none = "a row of images/t.parquet names no file"
    assert {path: why for path, why in result.items() if why} == {f"images/t.parquet#{n}": names_none for n in (2, 4)}


def test_a_column_name_that_occurs_twice_in_a_parquet_is_a_clear_error(workspace):
    columns = [pa.array(["0.png"]), pa.array(["happy"]), pa.array(["angry"])]
    data = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, names=["file", "label", "label"]), data)
    with pytest.raises(errors.SourceError, match=r"columns of different names.*'label' more than once in .*t\.parquet"):
        run(workspace, IMAGES | {"images/t.parquet": data.getvalue()})


def test_numbers_in_a_parquet_are_written_without_fraction(workspace):
    config = index.IndexConfig(classes=CONFIG.classes, synonyms={"0": "happy", "1": "angry"})
    table = parquet({"file": ["0.png", "1.png", "2.png"], "label": [0.0, 1.0, float("nan")]})
    manifest = run(workspace, IMAGES | {"images/t.parquet": table}, config)
    assert [row["raw_label"] for row in by_path(workspace, manifest).values()] == ["0", "1", ""]
    assert reasons(workspace, manifest)["images/2.png"] == "the label is missing"


@pytest.mark.parametrize("data", [b"", b"PAR1", b"words", WHOLE[:-1], WHOLE[: len(WHOLE) // 2], WHOLE[:9] + WHOLE[60:]])
def test_a_damaged_parquet_is_a_clear_error(workspace, data):
    with pytest.raises(archives.DamagedArchive, match=r"t\.parquet"):
        run(workspace, IMAGES | {"t.parquet": data})


@given(st.data())
def test_a_parquet_with_changed_bytes_is_read_or_refused(data):
    changed = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(WHOLE) - 1))] = data.draw(st.integers(0, 255))
    member = archives.Member("t.parquet", len(changed))
    with zipfile.ZipFile(io.BytesIO(zipped({"t.parquet": bytes(changed)}))) as archive:
        try:
            names = tables.column_names(archive, member)
            rows = [row for _, row in tables.read(archive, member, names)]
        except errors.SourceError:
            return
    assert all(len(row) == len(names) and all(isinstance(cell, str) for cell in row) for row in rows)


def test_a_cell_that_fills_the_memory_is_refused(workspace):
    long = pa.array(["x" * 20_000] * 3).dictionary_encode()
    for name, table in {
        "t.parquet": parquet({"file": ["0.png", "1.png", "2.png"], "label": long}),
        "t.csv": text(("file", "label"), ("0.png", "x" * 20_000)),
    }.items():
        with pytest.raises(errors.SourceError, match="at most 4,096 characters"):
            run(workspace, IMAGES | {f"images/{name}": table})


def test_a_table_of_too_many_rows_is_refused(workspace, limited):
    limited(table_rows=2)
    for name, table in {
        "t.parquet": parquet({"file": ["0.png", "1.png", "2.png"], "label": ["happy"] * 3}),
        "t.csv": text(("file", "label"), *[("0.png", "happy")] * 3),
    }.items():
        with pytest.raises(errors.SourceError, match=r"at most 2 rows.*set FER_LIMIT_TABLE_ROWS higher"):
            run(workspace, IMAGES | {f"images/{name}": table})


def test_short_rows_lack_labels_and_long_ones_are_in_quarantine(workspace):
    table = b"file,label\nimages/0.png\nimages/1.png,happy,,\nimages/2,3.png,happy\nimages/2.png,happy\n\n"
    manifest = run(workspace, IMAGES | {"t.csv": table})
    assert reasons(workspace, manifest) == {
        "images/0.png": "the label is missing",
        "images/1.png": None,
        "images/2.png": None,
        "t.csv#3": "a row of t.csv has more cells than columns",
    }
