import csv
import io
import unicodedata
import zipfile

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexed import CONFIG, by_path, bytes_of, merged, parquet, png, reasons, run, zipped

from data_contracts import manifest as contract
from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import archives, index
from fer.ingest.layouts import detect, file_finder, label_grids, label_tables, tables
from fer.ingest.naming import labels, split_names

IMAGES = {f"images/{n}.png": png(n) for n in range(3)}


def text(*rows, separator=","):
    return "".join(separator.join(row) + "\n" for row in rows).encode()


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def labels_of(workspace, manifest):
    return {path: row["label"] for path, row in by_path(workspace, manifest).items()}


@pytest.mark.parametrize("file", ["path", "File", "file_name", "Image Path", "pth", "img", "image", "name"])
@pytest.mark.parametrize("label", ["label", "Emotion", "class", "expression", "target"])
def test_columns_are_known_by_many_names(workspace, file, label):
    table = text(("", label, file), ("0", "happy", "0.png"), ("1", "Angry", "1.png"), ("2", "suprise", "2.png"))
    manifest = run(workspace, IMAGES | {"images/labels.csv": table})
    assert manifest.layouts == (detect.LABEL_TABLE,)
    assert list(labels_of(workspace, manifest).values()) == ["happy", "angry", "surprise"]


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("images/t.csv", ["0.png", "./1.png", "2.png"]),
        ("t.csv", ["images/0.png", "images\\1.png", "images/2.png"]),
        ("labels/t.csv", ["../images/0.png", "../images/1.png", "../images/x/../2.png"]),
        ("labels/t.csv", ["images/0.png", "images/1.png", "images/2.png"]),
        ("t.tsv", ["0.png", "1.png", "2.png"]),
        ("t.csv", ["/home/me/images/0.png", "/home/me/images/1.png", "/home/me/images/2.png"]),
        ("t.csv", ["C:\\data\\0.png", "C:\\data\\1.png", "C:\\data\\2.png"]),
    ],
)
def test_file_names_count_from_the_table_from_the_root_or_by_their_ends(workspace, table, names):
    rows = [("file", "label"), *zip(names, ["happy", "angry", "happy"], strict=True)]
    manifest = run(workspace, IMAGES | {table: text(*rows, separator="\t" if table == "t.tsv" else ",")})
    assert manifest.n_quarantined == 0
    assert list(labels_of(workspace, manifest).values()) == ["happy", "angry", "happy"]


@pytest.mark.parametrize("before", ["", "/home/me/"])
@pytest.mark.parametrize(("of_file", "of_table"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_an_accent_is_the_same_composed_or_not(workspace, before, of_file, of_table):
    stored, written = (unicodedata.normalize(form, "images/José.png") for form in (of_file, of_table))
    manifest = run(workspace, {stored: png(1), "t.csv": text(("file", "label"), (f"{before}{written}", "happy"))})
    assert manifest.n_quarantined == 0
    assert labels_of(workspace, manifest) == {stored: "happy"}


def test_of_two_files_with_the_same_accent_the_one_is_taken_that_is_written(workspace):
    both = [unicodedata.normalize(form, "José.png") for form in ("NFC", "NFD")]
    files = {name: png(n) for n, name in enumerate(both)}
    manifest = run(workspace, files | {"t.csv": text(("file", "label"), *zip(both, ["happy", "angry"], strict=True))})
    assert labels_of(workspace, manifest) == dict(zip(both, ["happy", "angry"], strict=True))


@pytest.mark.parametrize("unknown", ["unknown", "N/A", "-1", "None", "?"])
def test_what_says_that_the_person_is_not_known_is_no_subject(workspace, unknown):
    rows = [("file", "label", "subject"), ("images/0.png", "happy", unknown), ("images/1.png", "happy", "p1")]
    result = by_path(workspace, run(workspace, IMAGES | {"t.csv": text(*rows)}))
    assert [result[f"images/{n}.png"]["subject"] for n in (0, 1)] == [None, "p1"]


def test_a_name_that_fits_several_files_is_an_error(workspace):
    files = {"train/1.png": png(1), "test/1.png": png(2), "t.csv": text(("file", "label"), ("1.png", "happy"))}
    with pytest.raises(errors.SourceError, match=r"'1.png' in 't.csv', which fits 'test/1.png' and 'train/1.png'"):
        run(workspace, files)


def test_a_column_that_fits_several_files_does_not_matter_beside_one_that_fits_one(workspace):
    rows = [("file", "label", "image"), ("1.png", "happy", "train/1.png"), ("1.png", "angry", "test/1.png")]
    manifest = run(workspace, {"train/1.png": png(1), "test/1.png": png(2), "t.csv": text(*rows)})
    assert labels_of(workspace, manifest) == {"train/1.png": "happy", "test/1.png": "angry"}


def test_the_end_of_a_path_tells_files_of_one_name_apart(workspace):
    rows = [("file", "label"), ("train/1.png", "happy"), ("test/1.png", "angry")]
    manifest = run(workspace, {"x/train/1.png": png(1), "x/test/1.png": png(2), "t.csv": text(*rows)})
    assert labels_of(workspace, manifest) == {"x/train/1.png": "happy", "x/test/1.png": "angry"}


def test_a_missing_file_is_not_taken_for_another_of_its_name_elsewhere(workspace):
    files = {"a/1.png": png(1), "a/2.png": png(2), "b/9.png": png(3)}
    rows = [("file", "label"), ("a/1.png", "happy"), ("a/2.png", "happy"), ("a/9.png", "angry")]
    result = reasons(workspace, run(workspace, files | {"t.csv": text(*rows)}))
    assert result == {
        "a/1.png": None,
        "a/2.png": None,
        "a/9.png": "t.csv names a file that is not there",
        "b/9.png": "no label in t.csv",
    }


def test_the_longest_common_end_of_two_paths_counts(workspace):
    files = {"train/1.png": png(1), "test/1.png": png(2), "set/a/2.png": png(3), "b/2.png": png(4)}
    names = ["/kaggle/input/x/train/1.png", "/kaggle/input/x/test/1.png", "/x/y/a/2.png", "/x/y/b/2.png"]
    rows = [("file", "label"), *zip(names, ["happy", "angry", "happy", "angry"], strict=True)]
    manifest = run(workspace, files | {"t.csv": text(*rows)})
    assert labels_of(workspace, manifest) == dict(zip(files, ["happy", "angry", "happy", "angry"], strict=True))


def test_a_row_of_one_split_does_not_speak_of_a_file_of_another(workspace):
    files = {f"test/{n}.png": png(n) for n in range(3)}
    rows = [("file", "label"), *[(f"data/train/{n}.png", "happy") for n in range(3)]]
    with pytest.raises(errors.LabelError, match=r"'train\.csv' names no file of the source"):
        run(LocalWorkspace(workspace.root / "other"), files | {"train.csv": text(*rows)})
    rows += [("data/test/1.png", "angry"), ("y/2.png", "happy"), ("x/0.png", "happy"), ("z/0.png", "happy")]
    result = reasons(workspace, run(workspace, files | {"t.csv": text(*rows)}))
    assert result == {
        **dict.fromkeys(files),
        **{f"data/train/{n}.png": "t.csv names a file that is not there" for n in range(3)},
    }


def test_splits_of_other_spelling_tell_files_of_one_name_apart(workspace):
    files = {"Training Set/a/1.png": png(1), "TestData/a/1.png": png(2)}
    rows = [("file", "label"), ("train/1.png", "happy"), ("test/1.png", "angry")]
    assert list(labels_of(workspace, run(workspace, files | {"t.csv": text(*rows)})).values()) == ["angry", "happy"]


def test_tables_that_are_named_like_splits_are_these(workspace):
    files = {"images/0.png": png(0), "images/1.png": png(1), "images/2.png": png(2)}
    files["train.csv"] = text(("file", "label"), ("0.png", "happy"), ("2.png", "happy"))
    files["test_labels.csv"] = text(("file", "label"), ("1.png", "angry"), ("2.png", "happy"))
    manifest = run(workspace, files)
    result = by_path(workspace, manifest)
    assert (result["images/0.png"]["raw_split"], result["images/1.png"]["raw_split"]) == ("train", "test")
    assert result["images/2.png"]["reason"] == "two splits in test_labels.csv, train.csv"


def test_a_column_of_splits_wins_over_the_name_of_the_table_and_this_over_folders(workspace):
    files = {"train/0.png": png(0), "train/1.png": png(1), "train/2.png": png(2)}
    files["test.csv"] = text(("file", "label", "split"), ("0.png", "happy", "Train Set"), ("1.png", "angry", ""))
    files["valid.csv"] = text(("file", "label"), ("2.png", "happy"))
    result = by_path(workspace, run(workspace, files))
    assert [result[f"train/{n}.png"]["raw_split"] for n in range(3)] == ["train", "train", "valid"]


def test_two_names_of_one_split_are_no_contradiction(workspace):
    rows = [("file", "label", "split"), ("0.png", "happy", "train"), ("0.png", "happy", "Training")]
    rows += [("1.png", "happy", "val"), ("1.png", "happy", "train"), ("2.png", "happy", "dev")]
    result = by_path(workspace, run(workspace, IMAGES | {"images/t.csv": text(*rows)}))
    assert (result["images/0.png"]["reason"], result["images/0.png"]["raw_split"]) == (None, "Training")
    assert result["images/1.png"]["reason"] == "two splits in images/t.csv"
    assert result["images/2.png"]["raw_split"] == "dev"


def test_a_name_that_cannot_be_printed_is_in_quarantine_under_its_row(workspace):
    for name, table in {
        "t.csv": text(("file", "label"), ("0.png", "happy"), ("\x1b[2J.png", "happy"), ("a\u202e.png", "happy")),
        "t.parquet": parquet({"file": ["0.png", "\x1b[2J.png", "a\u202e.png"], "label": ["happy"] * 3}),
    }.items():
        other = LocalWorkspace(workspace.root / name)
        result = reasons(other, run(other, IMAGES | {name: table}))
        assert [path for path in result if not path.startswith("images/")] == [f"{name}#2", f"{name}#3"]
        assert result[f"{name}#2"] == f"a row of {name} names a file by what can't be printed"


def test_names_that_fit_several_files_are_shown_escaped_and_cut(workspace):
    long = "/".join(["x\x1b[2J" * 200, "1.png"])
    files = {"a/1.png": png(1), "b/1.png": png(2), "t.csv": text(("file", "label"), (long, "happy"))}
    with pytest.raises(errors.SourceError, match=r"which fits 'a/1\.png' and 'b/1\.png'") as caught:
        run(workspace, files)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_what_table_and_images_do_not_share_is_in_quarantine(workspace):
    rows = [("file", "label"), ("images/0.png", "happy"), ("images/1.png", ""), ("gone.png", "angry"), ("", "angry")]
    manifest = run(workspace, IMAGES | {"t.csv": text(*rows)})
    assert reasons(workspace, manifest) == {
        "images/0.png": None,
        "images/1.png": "the label is missing",
        "images/2.png": "no label in t.csv",
        "gone.png": "t.csv names a file that is not there",
        "t.csv#4": "a row of t.csv names no file",
    }
    gone = by_path(workspace, manifest)["gone.png"]
    assert (gone["status"], gone["label"], gone["size_bytes"]) == (contract.QUARANTINED, "angry", 0)
    assert gone["file_sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert bytes_of(workspace, manifest, gone) == b""
    assert (manifest.n_found, manifest.n_quarantined, manifest.ignored) == (5, 4, {})


def test_rows_for_one_file_agree_or_it_is_in_quarantine(workspace):
    files = {f"{n}.png": png(n) for n in range(6)}
    rows = [
        ("file", "label", "split", "person"),
        ("0.png", "happy", "train", "p1"),
        ("0.png", "Happiness", "train", ""),
        ("1.png", "happy", "train", "p1"),
        ("1.png", "angry", "train", "p1"),
        ("2.png", "happy", "train", ""),
        ("2.png", "happy", "test", ""),
        ("3.png", "happy", "train", "p1"),
        ("3.png", "happy", "train", "p2"),
        ("4.png", "", "", ""),
        ("4.png", "happy", "test", "p3"),
        ("5.png", "happy", "", ""),
    ]
    manifest = run(workspace, files | {"t.csv": text(*rows)})
    assert reasons(workspace, manifest) == {
        "0.png": None,
        "1.png": "two labels in t.csv",
        "2.png": "two splits in t.csv",
        "3.png": "two subjects in t.csv",
        "4.png": None,
        "5.png": None,
    }
    result = by_path(workspace, manifest)
    assert (result["0.png"]["raw_label"], result["0.png"]["subject"]) == ("Happiness", "p1")
    assert (result["1.png"]["raw_label"], result["1.png"]["label"]) == ("angry | happy", None)
    assert [result["4.png"][name] for name in ("label", "raw_split", "subject")] == ["happy", "test", "p3"]
    assert result["5.png"]["raw_split"] is None
    assert manifest.ignored == {"second row of a label table for the same file": 5}


def test_numbers_mean_nothing_unless_synonyms_say_so(workspace):
    table = text(("file", "label"), ("images/0.png", "0"), ("images/1.png", "1"), ("images/2.png", "1.0"))
    with pytest.raises(errors.LabelError, match=r"'1' \(1 image\).*index\.synonyms.*numbers mean other things"):
        run(workspace, IMAGES | {"t.csv": table})
    config = index.IndexConfig(classes=CONFIG.classes, synonyms={"0": "happy", "1": "angry"})
    manifest = run(workspace, IMAGES | {"t.csv": table}, config)
    assert list(labels_of(workspace, manifest).values()) == ["happy", "angry", "angry"]


def test_of_several_columns_those_that_find_most_files_and_labels_are_used(workspace):
    rows = [
        ("name", "image", "class", "label"),
        ("Ann", "0.png", "0", "happy"),
        ("Bob", "1.png", "1", "angry"),
        ("1.png", "2.png", "1", "happy"),
    ]
    manifest = run(workspace, IMAGES | {"images/t.csv": text(*rows)})
    assert list(labels_of(workspace, manifest).values()) == ["happy", "angry", "happy"]


@pytest.mark.parametrize(
    ("names", "emotions"),
    [
        (["0.png", "1.png", None], ["happy", "angry", None]),
        (pa.array(["0.png", "1.png", None]).dictionary_encode(), pa.array(["happy", "angry", None], pa.large_string())),
    ],
)
def test_a_parquet_of_labels_is_read_like_a_csv(workspace, names, emotions):
    table = parquet({"file": names, "emotion": emotions, "subject": [7.0, None, None], "vector": [[1], [2], [3]]})
    manifest = run(workspace, IMAGES | {"images/t.parquet": table})
    result = by_path(workspace, manifest)
    assert [result[path]["label"] for path in IMAGES] == ["happy", "angry", None]
    assert [result[path]["subject"] for path in IMAGES] == ["7", None, None]
    assert result["images/2.png"]["reason"] == "no label in images/t.parquet"


def test_several_tables_add_up_and_those_that_name_no_file_are_left_out(workspace):
    files = {"train/0.png": png(0), "test/0.png": png(1)}
    files["train.csv"] = text(("file", "label"), ("train/0.png", "happy"))
    files["test.csv"] = text(("file", "label"), ("test/0.png", "angry"))
    files["classes.csv"] = text(("name", "class"), ("happy", "3"))
    manifest = run(workspace, files)
    assert labels_of(workspace, manifest) == {"train/0.png": "happy", "test/0.png": "angry"}
    assert manifest.ignored == {"label table": 1}


def test_a_file_that_a_table_names_is_an_image_whatever_its_suffix(workspace):
    files = {"0.dat": png(), "1.png": png(1), "t.csv": text(("file", "label"), ("0.dat", "happy"), ("1.png", "angry"))}
    manifest = run(workspace, files)
    assert labels_of(workspace, manifest) == {"0.dat": "happy", "1.png": "angry"}
    assert (manifest.n_quarantined, manifest.ignored) == (0, {})


def test_ignored_labels_in_a_table_leave_their_images_out(workspace):
    config = index.IndexConfig(classes=CONFIG.classes, ignore_labels=("contempt",))
    rows = [("file", "label"), ("0.png", "happy"), ("1.png", "Contempt"), ("2.png", "happy")]
    manifest = run(workspace, IMAGES | {"images/t.csv": text(*rows)}, config)
    assert (manifest.n_found, manifest.ignored) == (2, {"label left out by the recipe": 1})


def test_sources_with_tables_and_with_folders_are_merged(workspace):
    table = text(("file", "label"), *[(path, "happy") for path in IMAGES])
    manifest = merged(workspace, {"b": IMAGES | {"t.csv": table}, "a": {"angry/1.png": png()}})
    assert (manifest.n_found, manifest.layouts) == (4, (detect.CLASS_FOLDERS, detect.LABEL_TABLE))


CELLS = st.sampled_from(["", "happy", "Angry", "sad", "-1", "0.png", "a/0.png", "../0.png", "/", ".", "..", "x\0", "#"])
CELLS |= st.text(max_size=6)
DECISIONS = labels.Decisions(CONFIG.classes)


@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=8), raw=st.none() | st.binary(max_size=80))
def test_any_table_gives_each_image_and_each_missing_file_one_entry(rows, raw):
    data = io.StringIO()
    csv.writer(data).writerows([["file", "label", "split"], *rows, ["0.png", "happy", ""]])
    table = data.getvalue().encode(errors="replace") if raw is None else b"file,label\n0.png,happy\n" + raw
    files = {"0.png": b"", "a/0.png": b"", "a/1.png": b"", "t.csv": table}
    with zipfile.ZipFile(io.BytesIO(zipped(files))) as archive:
        members = archives.list_members(archive)
        splits = split_names.SplitNames()
        finder = file_finder.FileFinder([member.name for member in members[:-1]], splits)
        names = tables.column_names(archive, members[-1])
        try:
            grid = label_grids.from_table(archive, members[-1], names, {}, DECISIONS.known, ())
            result = label_tables.read([grid], members, finder, DECISIONS.known, DECISIONS.meaning, splits)
        except errors.SourceError:
            return
    paths = [file.path for file in result.files]
    assert sorted(set(paths)) == paths
    assert {file.path for file in result.files if file.member is not None} == {"0.png", "a/0.png", "a/1.png"}
    assert all(file.defect or file.raw_label for file in result.files)
    assert all(file.defect for file in result.files if file.member is None)


def test_of_files_of_one_name_a_table_means_that_of_its_own_split(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = {f"images/{folder}/0.png": png(n) for n, folder in enumerate(("train", "dev"))}
    tables = {"train.csv": b"file,label\n0.png,happy\n", "dev_labels.csv": b"file,label\n0.png,angry\n"}
    row_of = by_path(workspace, run(workspace, images | tables))
    assert {path: (row["label"], row["raw_split"]) for path, row in row_of.items()} == {
        "images/train/0.png": ("happy", "train"),
        "images/dev/0.png": ("angry", "dev"),
    }


def test_of_files_of_one_name_a_row_means_that_of_its_own_split(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = {f"{folder}/{n}.png": png(n) for folder in ("train", "test") for n in range(2)}
    rows = "".join(
        f"{n}.png,{label},{split}\n" for n in range(2) for label, split in (("happy", "train"), ("sad", "Test"))
    )
    config = index.IndexConfig(classes=("happy", "sad"))
    row_of = by_path(workspace, run(workspace, images | {"l.csv": f"file,label,split\n{rows}".encode()}, config))
    assert {path: row["label"] for path, row in row_of.items()} == {
        path: "happy" if path.startswith("train") else "sad" for path in images
    }


def test_a_table_of_a_split_without_a_folder_names_files_of_any_folder(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = {f"train/{n}.png": png(n) for n in range(2)}
    tables = {"train.csv": b"file,label\n0.png,happy\n", "test.csv": b"file,label\n1.png,angry\n"}
    row_of = by_path(workspace, run(workspace, images | tables))
    assert [row_of[path]["raw_split"] for path in images] == ["train", "test"]
