import pytest
from indexed import by_path, csv_row, parquet, png, rows_of, run

from fer import errors, layouts
from fer.workspace import Workspace

PIXELS = ("emotion,pixels,Usage\n" + csv_row(range(9))).encode()


@pytest.mark.parametrize(
    ("name", "raw_split"),
    [
        ("happy/1.png", None),
        ("data/train/happy/1.png", "train"),
        ("Test/happy/1.png", "Test"),
        ("happy/validation/1.png", "validation"),
        ("train/happy/Training_1.png", "Training"),
        ("test/happy/PublicTest_1.png", "PublicTest"),
        ("test/happy/PrivateTest_1.png", "PrivateTest"),
        ("a/b/c/d/happy/1.jfif", None),
    ],
)
def test_the_split_is_that_of_the_file_name_or_else_of_the_folder(tmp_path, name, raw_split):
    workspace = Workspace(tmp_path)
    (row,) = rows_of(workspace, run(workspace, {name: png()}))
    assert (row["label"], row["raw_split"]) == ("happy", raw_split)


def test_class_folders_win_over_a_csv_but_pictures_without_a_class_do_not(tmp_path):
    beside_classes = run(Workspace(tmp_path / "a"), {"happy/1.png": png(), "fer2013.csv": PIXELS})
    beside_a_logo = run(Workspace(tmp_path / "b"), {"docs/logo.png": png(), "fer2013.csv": PIXELS})
    assert (beside_classes.layouts, beside_classes.ignored) == ((layouts.CLASS_FOLDERS,), {".csv": 1})
    assert (beside_a_logo.layouts, beside_a_logo.ignored) == ((layouts.FER2013_CSV,), {".png": 1})


def test_class_folders_win_over_a_table_of_labels(tmp_path):
    workspace = Workspace(tmp_path)
    made = run(workspace, {"happy/1.png": png(), "labels.csv": b"file,label\n1.png,angry\n"})
    assert (made.layouts, made.ignored) == ((layouts.CLASS_FOLDERS,), {"label table": 1})
    assert [row["label"] for row in rows_of(workspace, made)] == ["happy"]


def test_a_table_of_labels_wins_over_folders_that_name_no_known_label(tmp_path):
    workspace = Workspace(tmp_path)
    files = {"contempt/1.png": png(), "train/2.png": png(1), "labels.csv": b"file,label\n1.png,angry\n2.png,happy\n"}
    made = run(workspace, files)
    assert made.layouts == (layouts.LABEL_TABLE,)
    found = by_path(workspace, made)
    assert [found[path]["label"] for path in ("contempt/1.png", "train/2.png")] == ["angry", "happy"]
    assert found["train/2.png"]["raw_split"] == "train"


def test_everything_else_is_counted_by_its_kind(tmp_path):
    files = {
        "happy/1.png": png(),
        "happy/notes.TXT": b"",
        "README": b"",
        "more.zip": b"",
        "more.tar.gz": b"",
        "data.tgz": b"",
        "labels.csv": b"file,label\n",
        "table.parquet": b"no parquet, and not needed",
        "broken.csv": b"a," + b'"' + b"x" * 100,
    }
    assert run(Workspace(tmp_path), files).ignored == {
        ".csv": 1,
        ".parquet": 1,
        ".txt": 1,
        "label table": 1,
        "nested archive (.tar.gz)": 1,
        "nested archive (.tgz)": 1,
        "nested archive (.zip)": 1,
        "no suffix": 1,
    }


def test_a_folder_of_non_images_is_a_clear_error(tmp_path):
    with pytest.raises(errors.SourceError, match=r"3 files, none an image \(.txt: 2, no suffix: 1\)"):
        run(Workspace(tmp_path), {"happy/a.txt": b"a", "happy/b.txt": b"b", "happy/LICENSE": b"c"})


def test_an_archive_in_the_archive_is_answered_with_what_to_do(tmp_path):
    with pytest.raises(errors.SourceError, match=r"nested archive \(\.tar\.gz\): 1.*Next: unpack the archive inside"):
        run(Workspace(tmp_path), {"fer2013.tar.gz": b"x", "README.md": b""})


def test_a_table_that_cannot_be_used_is_named_in_the_error(tmp_path):
    with pytest.raises(errors.LabelError, match=r"'labels.csv' has the columns who, what: .* file, path, image"):
        run(Workspace(tmp_path / "a"), {"images/1.png": png(), "labels.csv": b"who,what\n1.png,happy\n"})
    with pytest.raises(errors.LabelError, match=r"the table 'labels.csv' names no file of the source"):
        run(Workspace(tmp_path / "b"), {"images/1.png": png(), "labels.csv": b"file,label\n2.png,happy\n"})


def test_a_damaged_parquet_beside_class_folders_or_pixels_does_not_matter(tmp_path):
    files = {"fer2013.csv": PIXELS, "other.parquet": parquet({"a": [1]})[:-9]}
    assert run(Workspace(tmp_path), files).layouts == (layouts.FER2013_CSV,)
