import pytest
from indexed import by_path, csv_row, parquet, png, rows_of, run

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import index
from fer.ingest.layouts import detect

PIXELS = ("emotion,pixels,Usage\n" + csv_row(range(9))).encode()


def test_tables_of_pixels_that_are_named_like_splits_are_these(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    row = b'emotion,pixels\n3,"1 2 3 4"\n'
    files = {"f/train.csv": row, "f/Test Set.csv": row, "val/fer.csv": row, "f/more.csv": row}
    row_of = by_path(workspace, run(workspace, files))
    assert {path: row["raw_split"] for path, row in row_of.items()} == {
        "f/train.csv#1": "train",
        "f/Test Set.csv#1": "test",
        "val/fer.csv#1": "val",
        "f/more.csv#1": None,
    }


def test_a_column_of_splits_wins_over_the_name_of_the_table(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    rows = csv_row(range(4), usage="PublicTest") + csv_row(range(4), usage="Test Set") + csv_row(range(4), usage="")
    row_of = by_path(workspace, run(workspace, {"train.csv": ("emotion,pixels,Usage\n" + rows).encode()}))
    assert [row_of[f"train.csv#{n}"]["raw_split"] for n in (1, 2, 3)] == ["PublicTest", "test", None]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_splits_that_a_table_says_of_images_in_class_folders_are_used(tmp_path, suffix):
    workspace = LocalWorkspace(tmp_path)
    rows = [("happy/1.png", "Training"), ("angry/2.png", "test set"), ("train/happy/3.png", "val"), ("happy/4.png", "")]
    columns = {"file": [file for file, _ in rows], "split": [split for _, split in rows]}
    text = "file,split\n" + "".join(f"{file},{split}\n" for file, split in rows)
    table = {"l.csv": text.encode()} if suffix == "csv" else {"l.parquet": parquet(columns)}
    manifest = run(workspace, {file: png(n) for n, (file, _) in enumerate(rows)} | table)
    row_of = by_path(workspace, manifest)
    assert [row_of[file]["raw_split"] for file, _ in rows] == ["Training", "test", "val", None]
    assert [row_of[file]["label"] for file, _ in rows] == ["happy", "angry", "happy", "happy"]
    assert (manifest.layouts, manifest.n_quarantined, manifest.ignored) == ((detect.CLASS_FOLDERS,), 0, {})


def test_tables_that_are_named_like_splits_say_them_of_images_in_class_folders(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = {"happy/1.png": png(1), "happy/2.png": png(2), "angry/3.png": png(3)}
    tables = {"train.csv": b"image\nhappy/1.png\nhappy/2.png\n", "test.csv": b"image\nhappy/2.png\nangry/3.png\n"}
    row_of = by_path(workspace, run(workspace, images | tables))
    assert (row_of["happy/1.png"]["raw_split"], row_of["angry/3.png"]["raw_split"]) == ("train", "test")
    assert row_of["happy/2.png"]["reason"] == "two splits in test.csv, train.csv"


def test_a_table_of_splits_beside_class_folders_that_cannot_be_joined_is_an_error(tmp_path):
    images = {"happy/1.png": png(1), "angry/1.png": png(2)}
    with pytest.raises(errors.SourceError, match=r"'1\.png' in 'l\.csv', which fits 'angry/1\.png' and 'happy/1\.png'"):
        run(LocalWorkspace(tmp_path / "a"), images | {"l.csv": b"file,label,split\n1.png,happy,train\n"})
    with pytest.raises(errors.SourceError, match="quotes must be closed"):
        run(LocalWorkspace(tmp_path / "b"), images | {"l.csv": b'file,split\nhappy/1.png,"train\nangry/1.png,test\n'})


def test_a_table_of_splits_that_names_none_of_the_images_is_ignored(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    manifest = run(workspace, {"happy/1.png": png(1), "l.csv": b"file,split\n9.png,train\n"})
    assert ([row["raw_split"] for row in rows_of(workspace, manifest)], manifest.ignored) == ([None], {".csv": 1})


def test_an_image_without_the_suffix_of_one_counts_in_the_folder_of_a_known_label(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    files = {"happy/1": png(1), "happy/2.dat": png(2), "angry/3.jpg.bak": png(3), "sad/happy.png": png(4)}
    config = index.IndexConfig(classes=("angry", "happy", "sad"))
    others = {"happy/notes": b"BM: a note", "happy/4.txt": b"", "backup": png(5), "other/6": png(6)}
    manifest = run(workspace, files | others, config)
    assert {path: row["label"] for path, row in by_path(workspace, manifest).items()} == {
        "happy/1": "happy",
        "happy/2.dat": "happy",
        "angry/3.jpg.bak": "angry",
        "sad/happy.png": "sad",
    }
    assert (manifest.n_quarantined, manifest.ignored) == (0, {".txt": 1, "no suffix": 3})


def test_class_folders_whose_images_all_lack_a_suffix_are_known(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    manifest = run(workspace, {"happy/1": png(1), "angry/2": png(2)})
    assert (manifest.layouts, manifest.n_found, manifest.n_quarantined) == ((detect.CLASS_FOLDERS,), 2, 0)


def test_names_of_columns_are_shown_escaped_and_cut(tmp_path):
    header = ",".join(["\x1b[2J"] + ["x" * 3_000] * 20)
    with pytest.raises(errors.LabelError) as caught:
        run(LocalWorkspace(tmp_path), {"images/1.png": png(), "l.csv": f"{header}\n1,2\n".encode()})
    assert "'\\x1b[2J', 'xxx" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2_000


def test_class_folders_win_over_a_csv_but_pictures_without_a_class_do_not(tmp_path):
    beside_classes = run(LocalWorkspace(tmp_path / "a"), {"happy/1.png": png(), "fer2013.csv": PIXELS})
    beside_a_logo = run(LocalWorkspace(tmp_path / "b"), {"docs/logo.png": png(), "fer2013.csv": PIXELS})
    assert (beside_classes.layouts, beside_classes.ignored) == ((detect.CLASS_FOLDERS,), {".csv": 1})
    assert (beside_a_logo.layouts, beside_a_logo.ignored) == ((detect.FER2013_CSV,), {".png": 1})


def table_of(rows):
    return ("file,label\n" + "".join(f"{file},{label}\n" for file, label in rows)).encode()


def test_of_folders_and_a_table_the_one_that_labels_most_images_wins(tmp_path):
    images = {f"images/{n}.png": png(n) for n in range(4)} | {"examples/happy/9.png": png(9)}
    table = table_of((f"images/{n}.png", ["happy", "angry"][n % 2]) for n in range(4))
    manifest = run(LocalWorkspace(tmp_path / "a"), images | {"l.csv": table})
    row_of = by_path(LocalWorkspace(tmp_path / "a"), manifest)
    assert [row_of[f"images/{n}.png"]["label"] for n in range(4)] == ["happy", "angry"] * 2
    assert row_of["examples/happy/9.png"]["reason"] == "no label in l.csv"

    images = {f"{name}/{n}.png": png(n) for name in ("happy", "angry") for n in range(20)}
    manifest = run(LocalWorkspace(tmp_path / "b"), images | {"l.csv": table_of([("happy/1.png", "happy")])})
    assert (manifest.layouts, manifest.ignored) == ((detect.CLASS_FOLDERS,), {"label table": 1})


def test_folders_that_are_shards_do_not_count_beside_a_table_that_names_all_images(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    numbers = {"0": "angry", "1": "happy"}
    rows = [(f"{n % 2}/{n}.png", str(n // 3)) for n in range(6)]
    config = index.IndexConfig(classes=("angry", "happy"), synonyms=numbers)
    files = {file: png(n) for n, (file, _) in enumerate(rows)} | {"l.csv": table_of(rows)}
    manifest = run(workspace, files, config)
    assert {path: row["label"] for path, row in by_path(workspace, manifest).items()} == {
        file: numbers[label] for file, label in rows
    }
    assert manifest.warnings == (
        "2 of 6 images have another class by 'l.csv' than by their folder: the table's label is taken",
    )


def test_folders_that_contradict_a_table_of_fewer_images_stop_the_run_until_one_is_chosen(tmp_path):
    files = {f"{name}/{n}.png": png(n) for name in ("happy", "angry") for n in range(3)}
    table = {"l.csv": table_of([("happy/0.png", "angry"), ("happy/1.png", "happy")])}
    with pytest.raises(errors.LabelError, match=r"1 of 2 images .*'l\.csv'.*--set index\.labels_from=tables or"):
        run(LocalWorkspace(tmp_path / "a"), files | table)
    for place, (source, expected) in {"b": ("folders", "happy"), "c": ("tables", "angry")}.items():
        config = index.IndexConfig(classes=("angry", "happy"), labels_from=source)
        workspace = LocalWorkspace(tmp_path / place)
        manifest = run(workspace, files | table, config)
        assert by_path(workspace, manifest)["happy/0.png"]["label"] == expected
        assert manifest.warnings[0].startswith("1 of 2 images have another class by 'l.csv' than by their folder")


def test_a_table_of_most_images_wins_even_if_its_labels_are_not_known(tmp_path):
    rows = [(f"images/{n}.png", "froh") for n in range(5)]
    files = {file: png(n) for n, (file, _) in enumerate(rows)} | {"x/happy/1.png": png(9), "l.csv": table_of(rows)}
    with pytest.raises(errors.LabelError, match=r"'froh' \(5 images\)"):
        run(LocalWorkspace(tmp_path), files)


def test_a_table_that_says_something_else_of_images_in_class_folders_is_left_alone(tmp_path):
    files = {f"{name}/{n}.png": png(n) for name in ("happy", "angry") for n in range(2)}
    table = table_of((file, "batch 7") for file in files)
    manifest = run(LocalWorkspace(tmp_path), files | {"l.csv": table})
    assert manifest.layouts == (detect.CLASS_FOLDERS,)


def test_a_csv_of_more_rows_than_there_are_images_in_class_folders_wins(tmp_path):
    rows = "".join(csv_row(range(9)) for _ in range(5))
    files = {"examples/happy/1.png": png(), "fer2013.csv": ("emotion,pixels,Usage\n" + rows).encode()}
    manifest = run(LocalWorkspace(tmp_path), files)
    assert (manifest.layouts, manifest.n_found) == ((detect.FER2013_CSV,), 5)


def test_a_table_of_labels_wins_over_folders_that_name_no_known_label(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    files = {"contempt/1.png": png(), "train/2.png": png(1), "labels.csv": b"file,label\n1.png,angry\n2.png,happy\n"}
    manifest = run(workspace, files)
    assert manifest.layouts == (detect.LABEL_TABLE,)
    row_of = by_path(workspace, manifest)
    assert [row_of[path]["label"] for path in ("contempt/1.png", "train/2.png")] == ["angry", "happy"]
    assert row_of["train/2.png"]["raw_split"] == "train"


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
    assert run(LocalWorkspace(tmp_path), files).ignored == {
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
        run(LocalWorkspace(tmp_path), {"happy/a.txt": b"a", "happy/b.txt": b"b", "happy/LICENSE": b"c"})


def test_an_archive_in_the_archive_is_answered_with_what_to_do(tmp_path):
    with pytest.raises(errors.SourceError, match=r"nested archive \(\.tar\.gz\): 1.*Next: unpack the archive inside"):
        run(LocalWorkspace(tmp_path), {"fer2013.tar.gz": b"x", "README.md": b""})


def test_a_table_that_cannot_be_used_is_named_in_the_error(tmp_path):
    with pytest.raises(errors.LabelError, match=r"'labels.csv' has the columns 'who', 'what': .* file, path, image"):
        run(LocalWorkspace(tmp_path / "a"), {"images/1.png": png(), "labels.csv": b"who,what\nme,happy\n"})
    with pytest.raises(errors.LabelError, match=r"the table 'labels.csv' names no file of the source"):
        run(LocalWorkspace(tmp_path / "b"), {"images/1.png": png(), "labels.csv": b"file,label\n2.png,happy\n"})


def test_a_damaged_parquet_beside_class_folders_or_pixels_does_not_matter(tmp_path):
    files = {"fer2013.csv": PIXELS, "other.parquet": parquet({"a": [1]})[:-9]}
    assert run(LocalWorkspace(tmp_path), files).layouts == (detect.FER2013_CSV,)
