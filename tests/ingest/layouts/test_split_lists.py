import json

import pytest
from indexed import CONFIG, by_path, png, run

from fer.engine.local_workspace import LocalWorkspace

IMAGES = {f"{label}/{n}.png": png(n + 10 * (label == "happy")) for label in ("angry", "happy") for n in range(3)}
TRAIN = [path for path in IMAGES if "0" in path or "1" in path]
TEST = [path for path in IMAGES if "2" in path]


def lines(paths, end="\n"):
    return end.join(paths).encode()


@pytest.mark.parametrize(
    "lists",
    [
        {"train.txt": lines(TRAIN), "test.txt": lines(TEST)},
        {"lists/train_list.lst": lines(TRAIN, "\r\n"), "lists/test": lines(TEST, "\r")},
        {"train.csv": lines(TRAIN), "test.csv": lines(TEST)},
        {
            "ImageSets/train.txt": lines(path[:-4] for path in TRAIN),
            "ImageSets/test.txt": lines(path[:-4] for path in TEST),
        },
        {"splits.json": json.dumps({"train": TRAIN, "test": TEST}).encode()},
        {"fer_train.txt": lines(TRAIN, "\n").decode().encode("utf-16"), "fer_test.txt": lines(TEST)},
    ],
)
def test_lists_of_files_say_the_splits_of_images_in_class_folders(tmp_path, lists):
    workspace = LocalWorkspace(tmp_path)
    manifest = run(workspace, IMAGES | lists)
    row_of = by_path(workspace, manifest)
    assert {path: (row["label"], row["raw_split"]) for path, row in row_of.items()} == {
        path: (path.split("/")[0], "train" if path in TRAIN else "test") for path in IMAGES
    }
    assert manifest.ignored == {}


def test_lists_of_files_say_the_splits_of_images_that_a_table_labels(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = {f"x/{n}.png": png(n) for n in range(4)}
    tables = {
        "labels.csv": b"file,label\n0.png,happy\n1.png,angry\n2.png,happy\n3.png,angry\n3.png,happy\n",
        "train.txt": b"0.png\n1.png\n",
        "val.txt": b"2.png\n3.png\n",
    }
    row_of = by_path(workspace, run(workspace, images | tables))
    assert [row_of[path]["raw_split"] for path in images] == ["train", "train", "val", "val"]
    assert row_of["x/3.png"]["reason"] == "two labels in labels.csv"


def test_texts_that_name_no_files_are_no_lists(tmp_path):
    texts = {"train.txt": b"how to train\nwith these\n", "test.json": b'{"train": 3}', "val": b"\xff\xfe"}
    manifest = run(LocalWorkspace(tmp_path), IMAGES | texts)
    assert manifest.ignored == {".json": 1, ".txt": 1, "no suffix": 1}


@pytest.mark.parametrize("column", ["type", "phase", "Data Split"])
def test_a_column_of_another_name_that_holds_splits_alone_says_them(tmp_path, column):
    workspace = LocalWorkspace(tmp_path)
    rows = "".join(f"{path},{'training' if path in TRAIN else 'Dev'}\n" for path in IMAGES)
    row_of = by_path(workspace, run(workspace, IMAGES | {"l.csv": f"file,{column}\n{rows}".encode()}))
    assert {path: row["raw_split"] for path, row in row_of.items()} == {
        path: "training" if path in TRAIN else "Dev" for path in IMAGES
    }


def test_lists_of_files_say_the_splits_of_images_whose_names_say_the_label(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = {f"x/{label}_{n}.png": png(n) for n, label in enumerate(("happy", "angry"))}
    lists = {"train.txt": b"x/happy_0.png\n", "test.txt": b"x/angry_1.png\n"}
    config = CONFIG.model_copy(update={"label_pattern": "/([a-z]+)_"})
    row_of = by_path(workspace, run(workspace, images | lists, config))
    assert [(row_of[path]["label"], row_of[path]["raw_split"]) for path in images] == [
        ("happy", "train"),
        ("angry", "test"),
    ]
