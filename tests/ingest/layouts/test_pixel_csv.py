import io
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexed import CONFIG, OFFICIAL, by_path, bytes_of, committed, csv_row, picture, reasons, rows_of, run, zipped
from recommit import rewrite

from fer import errors, progress
from fer.engine.local_workspace import LocalWorkspace
from fer.images import decode
from fer.ingest import archives, index, manifest_parts
from fer.ingest.layouts import detect, pixel_csv, tables
from fer.ingest.naming import split_names


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_fer2013s_csv_becomes_images(tmp_path, separator):
    workspace = LocalWorkspace(tmp_path)
    pixels = picture(3, 48, 48)
    table = separator.join(["emotion", " Usage ", "  pixels\n"]) + "".join(
        separator.join([str(emotion), usage, f'"{" ".join(map(str, pixels.ravel()))}"\n'])
        for emotion, usage in ((0, "Training"), (3, "PublicTest"), (5, " PrivateTest"))
    )
    manifest = run(
        workspace, {"fer2013/fer2013.csv": table.encode(), "fer2013/README": b"", "fer2013/bib.csv": b"a,b\n"}
    )
    manifest_rows = rows_of(workspace, manifest)
    assert [row["path"] for row in manifest_rows] == [f"fer2013/fer2013.csv#{n}" for n in (1, 2, 3)]
    assert [row["label"] for row in manifest_rows] == ["angry", "happy", "surprise"]
    assert [row["raw_label"] for row in manifest_rows] == ["0", "3", "5"]
    assert [row["raw_split"] for row in manifest_rows] == ["Training", "PublicTest", "PrivateTest"]
    assert np.array_equal(decode.decode(bytes_of(workspace, manifest, manifest_rows[1])), pixels)
    assert (manifest.layouts, manifest.n_found, manifest.ignored) == (
        (detect.FER2013_CSV,),
        3,
        {".csv": 1, "no suffix": 1},
    )


def test_bad_rows_are_in_quarantine_with_the_reason_and_their_text(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    rows = [
        csv_row(range(4)),
        csv_row(range(10)),
        csv_row([0, 1, 2, 256]),
        csv_row([0, 1, -2, 3]),
        csv_row([0, "x", 2, 3]),
        csv_row([]),
        "0,1 2 3 4\n",
        "\n",
        csv_row([7, 8, 9, 10]),
        csv_row([7, 8, 9, 10], emotion=""),
        csv_row([7, 8, 9, 10], emotion=" "),
    ]
    manifest = run(workspace, {"t.csv": ("emotion,pixels,Usage\n" + "".join(rows)).encode()})
    not_numbers = "the CSV row's pixels are not all numbers within 0-255"
    assert reasons(workspace, manifest) == {
        "t.csv#1": None,
        "t.csv#2": "the CSV row's pixels are no square",
        "t.csv#3": not_numbers,
        "t.csv#4": not_numbers,
        "t.csv#5": not_numbers,
        "t.csv#6": not_numbers,
        "t.csv#7": "the CSV row has other than the header's number of columns",
        "t.csv#9": None,
        "t.csv#10": "the label is missing",
        "t.csv#11": "the label is missing",
    }
    manifest_rows = by_path(workspace, manifest)
    assert bytes_of(workspace, manifest, manifest_rows["t.csv#3"]) == b"0 1 2 256"
    assert bytes_of(workspace, manifest, manifest_rows["t.csv#7"]) == b"0,1 2 3 4"
    assert manifest.n_quarantined == 8


def test_an_unknown_number_is_an_error(tmp_path):
    table = "emotion,pixels,Usage\n" + csv_row(range(9)) + csv_row(range(9), emotion=9) + csv_row([1], emotion=-1)
    with pytest.raises(errors.LabelError, match=r"'-1' \(1 image\), '9' \(1 image\)"):
        run(LocalWorkspace(tmp_path), {"fer2013.csv": table.encode()})


def test_numbers_of_classes_that_the_recipe_lacks_are_left_out_by_the_names_of_these(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    config = index.IndexConfig(classes=CONFIG.classes, ignore_labels=("Disgusted", "sad"))
    table = "emotion,pixels,Usage\n" + "".join(csv_row(range(9), emotion=n) for n in (0, 1, 4))
    manifest = run(workspace, {"fer2013.csv": table.encode()}, config)
    assert ([row["label"] for row in rows_of(workspace, manifest)], manifest.ignored) == (
        ["angry"],
        {"label left out by the recipe": 2},
    )


def test_a_csv_without_the_split_is_left_out_beside_one_that_has_it(tmp_path):
    files = {
        "icml_face_data.csv": ("emotion, Usage, pixels\n" + '0,Training,"1 2 3 4"\n').encode(),
        "train.csv": b'emotion,pixels\n0,"1 2 3 4"\n',
    }
    manifest = run(LocalWorkspace(tmp_path), files)
    assert (manifest.n_found, manifest.ignored) == (1, {".csv": 1})


def test_rows_of_another_square_than_most_are_in_quarantine(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    sizes = [64, 2209, 2304, 2116, 2304, 2500, 2304, 2303, 2304]
    rows = "".join(csv_row([n % 256 for n in range(size)]) for size in sizes)
    manifest_rows = reasons(workspace, run(workspace, {"t.csv": ("emotion,pixels,Usage\n" + rows).encode()}))
    another = "another number of pixels than in the table's other rows"
    expected = {2304: None, 2303: "the CSV row's pixels are no square"}
    assert [manifest_rows[f"t.csv#{n}"] for n in range(1, 10)] == [expected.get(size, another) for size in sizes]


def test_each_table_may_have_its_own_number_of_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_parts, "FILES_PER_PART", 3)
    monkeypatch.setattr("fer.engine.processes.process_pool.usable_cores", lambda: 1)  # others take seconds to start
    workspace = LocalWorkspace(tmp_path)
    small, large = (
        ("emotion,pixels\n" + "".join(f"3,{' '.join(['7'] * n)}\n" for n in sizes)).encode()
        for sizes in ([4, 4, 9, 4], [9, 9])
    )
    manifest = run(workspace, {"a.csv": small, "b.csv": large, "c.csv": b"emotion,pixels\n3,7\n"})
    manifest_rows = by_path(workspace, manifest)
    assert [path for path, row in manifest_rows.items() if row["reason"]] == ["a.csv#3"]
    assert [row["width"] for row in manifest_rows.values()] == [2, 2, None, 2, 3, 3, 1]


@settings(max_examples=20)
@given(order=st.permutations([1, 4, 4, 9, 9, 8, 0]))
def test_which_rows_are_accepted_does_not_depend_on_their_order(tmp_path_factory, order):
    workspace = LocalWorkspace(tmp_path_factory.mktemp("order"))
    rows = "".join(csv_row([7] * n) for n in order)
    manifest_rows = rows_of(workspace, run(workspace, {"t.csv": ("emotion,pixels,Usage\n" + rows).encode()}))
    assert [row["width"] for row in manifest_rows if row["width"]] == [3, 3]


@given(st.text(alphabet="0123456789 -x.\t", max_size=60))
def test_numbers_are_counted_as_they_are_read(text):
    assert pixel_csv.n_numbers(text.encode()) == len([part for part in text.split(" ") if part])


def test_more_rows_than_a_source_may_have_are_refused(tmp_path, limited):
    limited(pixel_rows=3)
    table = b"emotion,pixels\n" + b"3,7\n" * 2
    assert run(LocalWorkspace(tmp_path / "few"), {"a.csv": table}).n_found == 2
    with pytest.raises(errors.SourceError, match=r"at most 3 rows of pixels.*'b\.csv'"):
        run(LocalWorkspace(tmp_path / "many"), {"a.csv": table, "b.csv": table})


def test_a_label_that_fills_the_memory_is_refused(tmp_path):
    table = "emotion,pixels,Usage\n" + csv_row([7] * 4) + csv_row([7] * 4, emotion="h" * 10**6)
    with pytest.raises(errors.SourceError, match="at most 4,096 characters") as caught:
        run(LocalWorkspace(tmp_path), {"t.csv": table.encode()})
    assert len(str(caught.value)) < 300


def test_a_stray_quote_amid_the_rows_ends_the_run_and_swallows_none(tmp_path):
    rows = [f"3,{' '.join([str(n)] * 4)},Training\n" for n in range(99)]
    rows[50] = rows[50].replace("3,", '3,"')
    with pytest.raises(errors.SourceError, match=r"quotes must be closed.*of 'fer2013\.csv'"):
        run(LocalWorkspace(tmp_path), {"fer2013.csv": ("emotion,pixels,Usage\n" + "".join(rows)).encode()})


def test_a_missing_label_is_in_quarantine_whatever_labels_are_left_out(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    config = index.IndexConfig(classes=CONFIG.classes, ignore_labels=("?",))
    rows = "".join(csv_row([7] * 4, emotion=emotion) for emotion in (0, "", "?"))
    manifest = run(workspace, {"t.csv": ("emotion,pixels,Usage\n" + rows).encode()}, config)
    assert reasons(workspace, manifest) == {"t.csv#1": None, "t.csv#2": "the label is missing"}
    assert manifest.ignored == {"label left out by the recipe": 1}


@pytest.mark.parametrize("label", ["\u22123", "- 3", "3?"])
def test_a_number_with_a_sign_or_a_mark_is_an_unknown_label(tmp_path, label):
    table = "emotion,pixels,Usage\n" + csv_row([7] * 4) + csv_row([7] * 4, emotion=label)
    with pytest.raises(errors.LabelError, match=re.escape(repr(label))):
        run(LocalWorkspace(tmp_path), {"t.csv": table.encode()})


def test_a_csv_that_never_ends_a_quote_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_MAX_FIELD_CHARS", 1_000)
    table = "emotion,pixels,Usage\n" + csv_row(range(9)) + '0,"' + "1 2 3\n" * 1_000
    with pytest.raises(errors.SourceError, match=r"at line \d+ of 'fer2013\.csv'"):
        run(LocalWorkspace(tmp_path), {"fer2013.csv": table.encode()})


def test_damaged_bytes_of_the_csv_are_a_clear_error(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    text = ("emotion,pixels,Usage\n" + csv_row([55] * 9)).encode()
    dataset = committed(workspace, {"fer2013.csv": text})
    path = workspace.folder(dataset) / "dataset.zip"
    rewrite(workspace, dataset, path.name, path.read_bytes().replace(b"55 55 55", b"55 54 55", 1))
    with pytest.raises(archives.DamagedArchive, match=r"fer2013\.csv"):
        index.index((dataset,), CONFIG, OFFICIAL, None, workspace=workspace, progress=progress.silent)


@given(
    st.text(alphabet="0123456789 -x.e\t", max_size=60)
    | st.text(max_size=30)
    | st.lists(st.integers(-5, 300)).map(lambda numbers: " ".join(map(str, numbers)))
)
def test_any_text_of_pixels_is_an_image_or_has_a_defect(text):
    try:
        pgm = pixel_csv.as_pgm(text.encode())
    except pixel_csv.NoPixels:
        numbers = text.split(" ")
        plain = all(number == "" or (number.isascii() and number.isdigit() and int(number) < 256) for number in numbers)
        assert not plain or round(sum(map(bool, numbers)) ** 0.5) ** 2 != sum(map(bool, numbers)) or not any(numbers)
    else:
        assert decode.decode(pgm).ravel().tolist() == [int(part) for part in text.split()]


@pytest.mark.parametrize(
    ("mark", "at", "value"),
    [
        (b"PK\x01\x02", 8, 0x20),  # the flag of a patch, in the directory
        (b"PK\x03\x04", 7, 0x08),  # the flag of a name in UTF-8, which it then is not
    ],
)
def test_a_damaged_entry_of_the_csv_is_a_clear_error(tmp_path, mark, at, value):
    data = bytearray(zipped({"fer\xe9.csv": b"emotion,pixels\n3,7\n"}).replace("\xe9".encode(), b"\xff\xfe", 1))
    data[data.index(mark) + at] |= value
    path = tmp_path / "source.zip"
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:
        (member,) = archives.list_members(archive)
        with pytest.raises(archives.DamagedArchive, match="damaged or cut short"):
            tables.column_names(archive, member)
    with pytest.raises(archives.DamagedArchive, match="damaged or cut short"):
        list(pixel_csv.read(path, member, pixel_csv.columns(("emotion", "pixels"), {}), split_names.SplitNames()))


@given(st.text(max_size=80) | st.text(alphabet='0123 ,;"\n\r\t', max_size=80))
def test_any_text_after_the_header_is_rows_or_one_source_error(text):
    packed = io.BytesIO(zipped({"a.csv": b"emotion,pixels,Usage\n" + text.encode(errors="replace")}))
    columns = pixel_csv.columns(("emotion", "pixels", "Usage"), {})
    try:
        rows = list(pixel_csv.read(packed, archives.Member("a.csv", 1), columns, split_names.SplitNames()))
    except errors.SourceError:
        return
    assert [row.number for row in rows] == list(range(len(rows)))
    assert len({row.path for row in rows}) == len(rows)
    with zipfile.ZipFile(packed) as archive:
        assert tables.column_names(archive, archives.Member("a.csv", 1)) == ("emotion", "pixels", "Usage")
