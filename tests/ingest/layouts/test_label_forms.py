"""The forms in which people keep labels, each as a data set of a few images."""

import io
import json
import shlex

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexed import CONFIG, by_path, merged, picture, png, reasons, run

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import index
from fer.ingest.layouts import detect
from fer.recipes import overrides

BY_NUMBER = index.IndexConfig(classes=CONFIG.classes, synonyms={"1": "happy", "2": "angry", "3": "surprise"})


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def labels_of(workspace, files, config=CONFIG):
    """path -> label; none may be in quarantine."""
    manifest = run(workspace, files, config)
    rows = by_path(workspace, manifest)
    assert {path: row["reason"] for path, row in rows.items() if row["reason"]} == {}
    return {path: row["label"] for path, row in rows.items()}


def images(*paths):
    return {path: png(n) for n, path in enumerate(paths)}


def npy(value):
    buffer = io.BytesIO()
    np.save(buffer, np.array(value))
    return buffer.getvalue()


def as_json(value):
    return json.dumps(value).encode()


RECORDS = [{"file_name": "0.png", "label": "happy"}, {"file_name": "1.png", "label": "angry"}]


COCO = {
    "images": [{"id": 7, "file_name": "0.png"}, {"id": 8, "file_name": "1.png"}],
    "annotations": [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9]}, {"image_id": 8, "category_id": 5}],
    "categories": [{"id": 3, "name": "happy"}, {"id": 5, "name": "angry"}],
}


@pytest.mark.parametrize(
    "files",
    [
        # JSON Lines, as `datasets` has it beside an image folder; a list, mappings either way, records by name
        images("d/0.png", "d/1.png") | {"d/metadata.jsonl": b"\n".join(map(as_json, RECORDS))},
        images("d/0.png", "d/1.png") | {"d/l.json": as_json(RECORDS)},
        images("d/0.png", "d/1.png") | {"l.json": as_json({"data": [{"a": record} for record in RECORDS]})},
        images("d/0.png", "d/1.png") | {"d/l.json": as_json({"0.png": "happy", "1.png": "angry"})},
        images("d/0.png", "d/1.png") | {"l.json": as_json({"happy": ["d/0.png"], "angry": ["d/1.png"]})},
        images("0.png", "1.png") | {"l.json": as_json({"0": {"emotion": "happy"}, "1": {"emotion": "angry"}})},
        images("d/0.png", "d/1.png") | {"d/_annotations.coco.json": as_json(COCO)},
        # a column a class
        images("d/0.png", "d/1.png")
        | {"d/_classes.csv": b"filename, angry, happy, sad\n0.png, 0, 1, 0\n1.png, 1, 0, 0\n"},
        # YOLO
        images("train/images/0.png", "valid/images/1.png")
        | {"train/labels/0.txt": b"1 0.5 0.5 1 1\n", "valid/labels/1.txt": b"0 0.5 0.5 1 1\n"}
        | {"data.yaml": b"nc: 2\nnames: ['Anger', 'Joy']\n", "README.txt": b"see the paper\n"},
        images("images/0.png", "images/1.png")
        | {
            "labels/0.txt": b"1 0.5 0.5 1 1\n",
            "labels/1.txt": b"0 0.5 0.5 1 1\n",
            "labels/classes.txt": b"angry\nhappy\n",
        },
        # lists without a header, in several separators, with names that have blanks
        images("d/0.png", "d/1.png") | {"d/list.txt": b"0.png happy\n1.png angry\n"},
        images("d/0.png", "d/1.png") | {"list.lst": b"d/0.png\thappy\r\nd/1.png\tangry\r\n"},
        images("d/0.png", "d/1.png") | {"labels": b"happy 0.png\nangry 1.png\n"},
        images("d/0.png", "d/1.png") | {"l.csv": b"0.png,happy\n1.png,angry\n"},
        images("d/my face 0.png", "d/my face 1.png") | {"l.txt": b"my face 0.png happy\nmy face 1.png angry\n"},
        images("d/0.png", "d/1.png") | {"l.txt": b"image label\n0.png happy\n1.png angry\n"},
        # names without suffix, with another, with something added on either side
        images("d/face_0_aligned.png", "d/face_1_aligned.png") | {"l.txt": b"face_0.jpg happy\nface_1.jpg angry\n"},
        images("d/face_0.png", "d/face_1.png") | {"l.csv": b"image,label\nface_0,happy\nface_1,angry\n"},
    ],
)
def test_labels_are_read_in_many_forms(workspace, files):
    assert list(labels_of(workspace, files).values()) == ["happy", "angry"]


@pytest.mark.parametrize(
    "files",
    [
        # RAF-DB: basic/EmoLabel/list_patition_label.txt
        images("basic/Image/aligned/test_0001_aligned.jpg", "basic/Image/aligned/train_00001_aligned.jpg")
        | {"basic/EmoLabel/list_patition_label.txt": b"train_00001.jpg 2\ntest_0001.jpg 1\n"},
        # ExpW: image_name face_id top left right bottom confidence expression
        images("image/angry_a.jpg", "image/happy_b.jpg")
        | {"label/label.lst": b"happy_b.jpg 0 10 12 90 95 55.2 2\nangry_a.jpg 0 10 12 90 95 35.2 1\n"},
        # CK+: a file for the last image of a sequence
        images("cohn/S005/001/S005_001_00000011.png", "cohn/S010/002/S010_002_00000014.png")
        | {"Emotion/S005/001/S005_001_00000011_emotion.txt": b"   1.0000000e+00\n"}
        | {"Emotion/S010/002/S010_002_00000014_emotion.txt": b"   2.0000000e+00\n"},
        # AffectNet: arrays of one value, of which others are no labels
        images("train_set/images/0.jpg", "val_set/images/0.jpg")
        | {f"{part}/annotations/0_exp.npy": npy(value) for part, value in (("train_set", "1"), ("val_set", 2))}
        | {f"{part}/annotations/0_val.npy": npy(value) for part, value in (("train_set", "0.12"), ("val_set", 0.7))},
    ],
)
def test_numbers_of_research_sets_have_the_classes_that_the_recipe_says(tmp_path, files):
    with pytest.raises(errors.LabelError, match=r"--set 'index\.synonyms=\{\"1\": \"CLASS\", \"2\": \"CLASS\"\}'"):
        run(LocalWorkspace(tmp_path / "a"), files)
    assert list(labels_of(LocalWorkspace(tmp_path / "b"), files, BY_NUMBER).values()) == ["happy", "angry"]


def test_boxes_that_are_not_used_and_columns_that_were_chosen_are_said(workspace):
    names = ["a.jpg", "b.jpg", "c.jpg"]
    rows = "".join(f"{name} 0 1{n} 12 9{n} 95 5{n}.2 {n + 1}\n" for n, name in enumerate(names))
    more = "b.jpg 1 20 22 60 65 35.2 1\n"
    manifest = run(workspace, images(*names) | {"label.lst": (rows + more).encode()}, BY_NUMBER)
    assert reasons(workspace, manifest)["b.jpg"] == "two labels in label.lst"
    (note, *_) = manifest.warnings
    assert "column 1 was taken for files and 8 for labels" in note
    assert "each image is taken whole" in note


@pytest.mark.parametrize(
    ("paths", "pattern", "expected"),
    [
        (["jaffe/KA.AN1.39.tiff", "jaffe/KA.HA2.40.tiff"], r"\.([A-Z]{2})", {"AN": "angry", "HA": "happy"}),
        (["aia/aia_anger/1.png", "aia/aia_joy/1.png"], "_([a-z]+)/", {}),
    ],
)
def test_labels_in_names_are_found_by_a_pattern(tmp_path, paths, pattern, expected):
    config = index.IndexConfig(classes=CONFIG.classes, label_pattern=pattern, synonyms=expected)
    found = labels_of(LocalWorkspace(tmp_path), images(*paths), config)
    assert list(found.values()) == ["angry", "happy"]


def test_an_image_without_a_label_by_the_pattern_is_in_quarantine_and_none_at_all_is_an_error(tmp_path):
    workspace = LocalWorkspace(tmp_path / "a")
    config = index.IndexConfig(classes=CONFIG.classes, label_pattern="_([a-z]+)[.]")
    manifest = run(workspace, images("x/1_happy.png", "x/2.png"), config)
    assert manifest.layouts == (detect.LABEL_PATTERN,)
    assert reasons(workspace, manifest)["x/2.png"] == "index.label_pattern finds no label in its path"
    with pytest.raises(errors.ConfigError, match=r"none in 1 paths, e\.g\. 'x/2\.png'"):
        run(LocalWorkspace(tmp_path / "b"), images("x/2.png"), config)


def test_the_pattern_that_is_proposed_ends_in_labels(tmp_path):
    paths = ["f/KA.AN1.39.tiff", "f/KL.SU2.4.tiff", "f/NA.HA3.7.tiff"]
    with pytest.raises(errors.LabelError) as caught:
        run(LocalWorkspace(tmp_path / "a"), images(*paths))
    line = str(caught.value).partition("say the label: ")[2].removesuffix(".")
    pattern = overrides.parse_settings(shlex.split(line)[1::2]).index.label_pattern
    config = index.IndexConfig(classes=CONFIG.classes, label_pattern=pattern)
    with pytest.raises(errors.LabelError) as caught:
        run(LocalWorkspace(tmp_path / "b"), images(*paths), config)
    line = str(caught.value).splitlines()[1]
    synonyms = overrides.parse_settings(shlex.split(line)[1::2]).index.synonyms
    config = index.IndexConfig(classes=CONFIG.classes, label_pattern=pattern, synonyms=synonyms)
    assert list(labels_of(LocalWorkspace(tmp_path / "c"), images(*paths), config).values()) == [
        "angry", "surprise", "happy",
    ]  # fmt: skip


def test_columns_have_the_names_that_the_recipe_says(tmp_path):
    files = images("AffectNet/train/0.jpg", "AffectNet/train/1.jpg")
    files["train_set.csv"] = b",number,expression,valence\n1,0,happy,0.1\n0,1,angry,0.2\n"
    with pytest.raises(
        errors.LabelError, match=r"--set 'index\.columns=\{\"file\": \"number\", \"label\": \"expression\"\}'"
    ):
        run(LocalWorkspace(tmp_path / "a"), files)
    config = index.IndexConfig(classes=CONFIG.classes, columns={"file": "number", "label": "expression"})
    assert list(labels_of(LocalWorkspace(tmp_path / "b"), files, config).values()) == ["happy", "angry"]
    wrong = index.IndexConfig(classes=CONFIG.classes, columns={"file": "nummer"})
    with pytest.raises(errors.ConfigError, match=r"'nummer' as the column of file; 'train_set\.csv' has '', 'number'"):
        run(LocalWorkspace(tmp_path / "c"), files, wrong)


def test_columns_of_a_list_without_a_header_are_numbered(tmp_path):
    files = images("0.jpg", "1.jpg") | {"l.txt": b"0.jpg happy angry\n1.jpg angry happy\n"}
    config = index.IndexConfig(classes=CONFIG.classes, columns={"label": "2"})
    assert list(labels_of(LocalWorkspace(tmp_path), files, config).values()) == ["happy", "angry"]


VOTES = {"fer0000000.png": (0, 8, 0, 0, 2), "fer0000001.png": (0, 0, 0, 0, 10), "fer0000002.png": (0, 5, 0, 0, 5)}


def votes_of(separator=",", box=False):
    lines = []
    for name, counts in VOTES.items():
        cells = [name, *(['"(0, 0, 48, 48)"'] if box else []), *counts, 0, 0, 0, 0, 0]
        lines.append(separator.join(map(str, cells)) + "\n")
    return "".join(lines)


HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"


def test_votes_beside_images_that_they_name_label_these(tmp_path):
    files = images(*(f"data/FER2013Train/{name}" for name in VOTES), "data/FER2013Test/fer0000009.png")
    files["data/FER2013Train/label.csv"] = votes_of(box=True).encode()
    workspace = LocalWorkspace(tmp_path)
    row_of = by_path(workspace, run(workspace, files))
    assert [row_of[f"data/FER2013Train/{name}"]["label"] for name in [*VOTES][:2]] == ["happy", "angry"]
    assert row_of["data/FER2013Train/fer0000002.png"]["reason"].startswith("two labels in")
    assert row_of["data/FER2013Train/fer0000000.png"]["raw_split"] == "train"


@pytest.mark.parametrize("use", ["soft", "majority", "ignore"])
def test_votes_beside_class_folders_are_joined_by_the_names_of_images(tmp_path, use):
    files = images("train/happy/fer0000000.png", "train/happy/fer0000001.png", "train/angry/fer0000002.png")
    lines = "".join(f"Training,{line}\n" for line in votes_of().splitlines())
    files["fer2013new.csv"] = (HEADER + lines + "Training,,0,0,0,0,0,0,0,0,0,10\n").encode()
    workspace = LocalWorkspace(tmp_path)
    manifest = run(workspace, files, index.IndexConfig(classes=CONFIG.classes, votes=use))
    row_of = by_path(workspace, manifest)
    rows = [row_of[path] for path in files if path.endswith(".png")]
    expected = ["happy", "angry", "angry"] if use == "majority" else ["happy", "happy", "angry"]
    assert [row["label"] for row in rows] == expected
    soft = np.array([[0.2, 0.8, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], np.float32).tolist()
    assert [row["soft_label"] for row in rows] == ([None] * 3 if use == "ignore" else soft)


PIXELS = [" ".join(map(str, picture(n, 8, 8).ravel())) for n in range(2)]
A_COLUMN_A_PIXEL = ",".join(["emotion", *(f"pixel_{n}" for n in range(64))])


def lines(header, form):
    """A CSV with a row for each of PIXELS, of emotions 0 and 3."""
    return "".join(line + "\n" for line in [*header, *(form(3 * n, text) for n, text in enumerate(PIXELS))])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a/fer2013", lines(["emotion,pixels,Usage"], lambda emotion, text: f"{emotion},{text},Training")),
        ("a.csv", lines(["pixels,emotion"], lambda emotion, text: f'"[{text.replace(" ", ", ")}]",{emotion}')),
        ("a.csv", lines([A_COLUMN_A_PIXEL], lambda emotion, text: f"{emotion},{text.replace(' ', ',')}")),
        ("a.csv", lines([], lambda emotion, text: f"{emotion},{text},Training")),
        ("a.txt", lines([], lambda emotion, text: f"{ {0: 'angry', 3: 'happy'}[emotion] },{text}")),
    ],
)
def test_pixels_are_read_in_many_forms(workspace, name, text):
    manifest = run(workspace, {name: text.encode(), "README": b"a paper"})
    rows = by_path(workspace, manifest)
    assert [row["label"] for row in rows.values()] == ["angry", "happy"]
    assert {(row["width"], row["height"]) for row in rows.values()} == {(8, 8)}


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("labels.xlsx", b"PK\x03\x04", r"'labels\.xlsx' is not read: save it as CSV"),
        ("labels.mat", b"MATLAB", r"'labels\.mat' is not read: write it as CSV"),
        (
            "annotations.xml",
            b"<a>\x1b[2J</a>",
            r"'annotations\.xml' \(first line: '<a>\\x1b\[2J</a>'\) is not read as labels",
        ),
        (
            "emotion_labels.txt",
            b"the first image is happy\n" * 3,
            r"'emotion_labels\.txt' \(first line: 'the first image",
        ),
    ],
)
def test_what_looks_like_labels_and_is_not_read_is_named(tmp_path, name, data, expected):
    with pytest.raises(errors.LabelError, match=expected) as caught:
        run(LocalWorkspace(tmp_path), images("x/1.png", "x/2.png") | {name: data})
    assert 'angry"' not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], object), allow_pickle=True)
    files = images("images/0.png", "images/1.png")
    files |= {f"annotations/{n}_exp.npy": buffer.getvalue() for n in range(2)}
    with pytest.raises(errors.LabelError, match="is not read"):
        run(LocalWorkspace(tmp_path), files)


def test_classes_of_two_sources_are_proposed_together(tmp_path, monkeypatch):
    monkeypatch.setattr(index.process_pool, "usable_cores", lambda: 1)
    sources = {"a": images("happy/1.png", "Bored/2.png"), "b": images("angry/1.png", "Tired/3.png")}
    with pytest.raises(errors.LabelError) as caught:
        merged(LocalWorkspace(tmp_path / "a"), sources)
    line = str(caught.value).splitlines()[1]
    classes = overrides.parse_settings(shlex.split(line)[1::2]).index.classes
    assert classes == ("angry", "happy", "Bored", "Tired")
    manifest = merged(LocalWorkspace(tmp_path / "b"), sources, index.IndexConfig(classes=classes))
    assert manifest.n_found == 4


@settings(max_examples=settings.default.max_examples * 2 // 5)
@given(
    st.binary(max_size=200) | st.text("{}[]:,\"' \t\n01.ab-pngx", max_size=80).map(str.encode),
    st.sampled_from(
        ["l.txt", "l.json", "l.jsonl", "l.csv", "0.txt", "0_exp.npy", "data.yaml", "l.lst", "l.parquet", "l"]
    ),
)
def test_any_file_beside_class_folders_is_ignored_or_one_source_error(tmp_path_factory, data, name):
    files = images("happy/0.png", "happy/1.png", "angry/2.png") | {name: data}
    try:
        manifest = run(LocalWorkspace(tmp_path_factory.mktemp("any")), files)
    except errors.FerError:
        return
    assert manifest.n_found >= 3
