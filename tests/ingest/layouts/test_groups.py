import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from indexed import CONFIG, by_path, parquet, picture, png, run

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import index

TABLE = b"file,label,Age group,gender\n0.png,happy,20-29,f\n1.png,angry,,m\n2.png,happy,unknown,f\n"
PICTURES = {f"{n}.png": png(n) for n in range(3)}


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def config(*groups, **changed):
    return index.IndexConfig(classes=CONFIG.classes, groups=groups, **changed)


def groups_of(workspace, files, settings):
    rows = by_path(workspace, run(workspace, files, settings))
    return {path: None if row["groups"] is None else dict(row["groups"]) for path, row in rows.items()}


def test_columns_of_a_table_of_labels_name_groups_where_a_recipe_says_so(workspace):
    assert groups_of(workspace, {**PICTURES, "labels.csv": TABLE}, config("age_group", "gender")) == {
        "0.png": {"age_group": "20-29", "gender": "f"},
        "1.png": {"gender": "m"},
        "2.png": {"gender": "f"},
    }


def test_no_group_is_read_that_no_recipe_names(workspace):
    found = groups_of(workspace, {**PICTURES, "labels.csv": TABLE}, config())
    assert not any(found.values())


@pytest.mark.parametrize(
    "table",
    {
        "people.csv": b"file,gender\n0.png,f\n1.png,m\n",
        "people.json": json.dumps([{"file": "0.png", "gender": "f"}, {"file": "1.png", "gender": "m"}]).encode(),
        "people.parquet": parquet({"file": ["0.png", "1.png"], "gender": ["f", "m"]}),
    }.items(),
)
def test_a_table_beside_class_folders_may_name_them(workspace, table):
    name, data = table
    files = {"happy/0.png": png(0), "angry/1.png": png(1), name: data}
    manifest = run(workspace, files, config("gender"))
    rows = by_path(workspace, manifest)
    assert {path: dict(row["groups"]) for path, row in rows.items()} == {
        "happy/0.png": {"gender": "f"},
        "angry/1.png": {"gender": "m"},
    }
    assert manifest.ignored == {}


def test_where_two_rows_of_an_image_differ_its_group_is_not_known(workspace):
    table = b"file,label,gender\n0.png,happy,f\n0.png,happy,m\n1.png,angry,m\n2.png,happy,f\n"
    found = groups_of(workspace, {**PICTURES, "labels.csv": table}, config("gender"))
    assert found == {"0.png": {}, "1.png": {"gender": "m"}, "2.png": {"gender": "f"}}


def test_tables_that_hold_the_images_name_groups_too(workspace):
    pixels = [" ".join(map(str, picture(n, 8, 8).ravel())) for n in range(2)]
    rows = [f"{label},{text},{group}" for label, text, group in zip(("0", "3"), pixels, ("m", "?"), strict=True)]
    names = index.IndexConfig(classes=("angry", "happy"), groups=("gender",))
    csv = groups_of(workspace, {"fer2013.csv": "\n".join(["emotion,pixels,gender", *rows]).encode()}, names)
    assert csv == {"fer2013.csv#1": {"gender": "m"}, "fer2013.csv#2": {}}


def test_the_groups_of_a_data_hubs_parquet_have_the_names_of_its_metadata(tmp_path):
    features = {"label": {"names": ["angry", "happy"]}, "gender": {"names": ["female", "male"]}}
    columns = {"image": [{"bytes": png(n), "path": ""} for n in range(2)], "label": [0, 1], "gender": [1, 0]}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), buffer)
    found = groups_of(LocalWorkspace(tmp_path), {"train.parquet": buffer.getvalue()}, config("gender"))
    assert found == {"train.parquet#1": {"gender": "male"}, "train.parquet#2": {"gender": "female"}}


def test_a_column_that_no_table_has_is_named_beside_those_that_are_there(workspace):
    with pytest.raises(errors.ConfigError, match=r"'ages'.*labels\.csv.*'Age group'"):
        run(workspace, {**PICTURES, "labels.csv": TABLE}, config("ages"))
