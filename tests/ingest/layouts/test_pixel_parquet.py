import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from indexed import CONFIG, by_path, bytes_of, parquet, picture, png, reasons, run

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import index
from fer.ingest.layouts import detect

NAMES = ["angry", "happy", "surprise"]


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def with_names(columns, names):
    """A Parquet file as Hugging Face's `datasets` writes one, with the names of the classes in its metadata."""
    features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def files_of(n, first=0):
    return [{"bytes": png(first + i), "path": f"{i}.png"} for i in range(n)]


def test_images_inside_with_names_of_classes_in_the_metadata(workspace):
    files = {
        "data/train-00000-of-00001.parquet": with_names({"image": files_of(3), "label": [0, 1, 2]}, NAMES),
        "data/test-00000-of-00001.parquet": with_names({"image": files_of(2, 9), "label": [1, 1]}, NAMES),
    }
    manifest = run(workspace, files)
    row_of = by_path(workspace, manifest)
    assert (manifest.layouts, manifest.n_quarantined) == ((detect.TABLE_OF_IMAGES,), 0)
    assert {path: (row["label"], row["raw_split"]) for path, row in row_of.items()} == {
        "data/train-00000-of-00001.parquet#1": ("angry", "train"),
        "data/train-00000-of-00001.parquet#2": ("happy", "train"),
        "data/train-00000-of-00001.parquet#3": ("surprise", "train"),
        "data/test-00000-of-00001.parquet#1": ("happy", "test"),
        "data/test-00000-of-00001.parquet#2": ("happy", "test"),
    }
    first = row_of["data/train-00000-of-00001.parquet#1"]
    assert (first["format"], bytes_of(workspace, manifest, first)) == ("PNG", png(0))


@pytest.mark.parametrize(
    "image",
    [
        pa.array([png(n) for n in range(3)], pa.binary()),
        pa.array([picture(n).tolist() for n in range(3)], pa.list_(pa.list_(pa.uint8()))),
        pa.array([picture(n, 4, 4).ravel().tolist() for n in range(3)]),
        pa.array([" ".join(map(str, picture(n, 4, 4).ravel())) for n in range(3)]).dictionary_encode(),
    ],
)
def test_images_may_be_bytes_numbers_or_text(workspace, image):
    name = "image" if not pa.types.is_dictionary(image.type) else "pixels"
    manifest = run(workspace, {"t.parquet": parquet({name: image, "label": ["happy", "angry", "Suprise"]})})
    assert [row["label"] for row in by_path(workspace, manifest).values()] == ["happy", "angry", "surprise"]
    assert manifest.n_quarantined == 0


def test_numbers_mean_fer2013s_classes_in_its_own_columns_alone(workspace):
    text = [" ".join(map(str, picture(n, 4, 4).ravel())) for n in range(2)]
    fer2013 = {"emotion": [0, 3], "pixels": text, "Usage": ["Training", "PublicTest"]}
    manifest = run(workspace, {"t.parquet": parquet(fer2013)})
    assert [(row["label"], row["raw_split"]) for row in by_path(workspace, manifest).values()] == [
        ("angry", "Training"),
        ("happy", "PublicTest"),
    ]
    with pytest.raises(errors.LabelError, match=r'index\.synonyms=\{"0": "CLASS", "3": "CLASS"\}'):
        run(LocalWorkspace(workspace.root / "b"), {"t.parquet": parquet({"label": [0, 3], "pixels": text})})


def test_what_is_no_image_in_a_row_is_in_quarantine(workspace):
    image = [{"bytes": png(), "path": None}, {"bytes": None, "path": "x"}, {"bytes": b"no", "path": None}, None]
    found = reasons(
        workspace, run(workspace, {"t.parquet": parquet({"image": image, "label": ["happy"] * 3 + [None]})})
    )
    assert found["t.parquet#1"] is None
    assert found["t.parquet#2"] == "the row holds no image"
    assert found["t.parquet#3"].startswith("not an image")
    assert found["t.parquet#4"] == "the label is missing"


def test_columns_are_taken_as_the_recipe_names_them(workspace):
    config = index.IndexConfig(classes=CONFIG.classes, columns={"label": "mood", "pixels": "face"})
    numbers = pa.array([np.arange(16).tolist()] * 2)
    table = parquet({"face": files_of(2), "mood": ["happy", "angry"], "image": numbers})
    manifest = run(workspace, {"t.parquet": table}, config)
    assert [row["format"] for row in by_path(workspace, manifest).values()] == ["PNG", "PNG"]
