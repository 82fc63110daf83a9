"""Where scores are put."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import releases

from data_contracts import scores as contract
from fer import errors
from fer.scoring import destination

PAGES = {"scores.html": b"page", "scores.json": b"{}"}


@pytest.fixture
def shards(tmp_path):
    schema = contract.schema(releases.CLASSES)
    nothing = dict.fromkeys(schema.names) | {"finding": "no face", "model": "m", "model_digest": "d"}
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"scores-{number:05d}.parquet")
        rows = [nothing | {"image_id": f"{number}", "path": f"{number}"}]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), paths[-1])
    return paths


def test_a_folder_gets_the_shards_and_pages_and_keeps_no_shard_of_before(tmp_path, shards):
    goal = tmp_path / "out"
    destination.write(destination.parse(str(goal)), shards, PAGES)
    (goal / "mine.parquet").write_bytes(b"")
    destination.write(destination.parse(str(goal)), shards[:1], PAGES)
    assert sorted(path.name for path in goal.iterdir()) == [
        "mine.parquet",
        "scores-00000.parquet",
        "scores.html",
        "scores.json",
    ]


def test_a_file_gets_all_rows_in_order_and_the_classes(tmp_path, shards):
    goal = tmp_path / "deep" / "mine.parquet"
    outputs = destination.write(destination.parse(str(goal)), shards, PAGES)
    table = pq.read_table(goal)
    assert table["image_id"].to_pylist() == ["0", "1", "2"]
    assert contract.classes_of(table.schema) == releases.CLASSES
    assert outputs == [str(goal), str(goal.with_suffix(".html")), str(goal.with_suffix(".json"))]


def test_a_bucket_gets_them_and_keeps_no_shard_of_before(store, store_settings, shards, monkeypatch):
    monkeypatch.setattr(destination.buckets.settings.Settings, "load", lambda: store_settings)
    goal = destination.parse("s3://fer-scores/a/b")
    assert destination.write(goal, shards, PAGES)[1] == "s3://fer-scores/a/b/scores.html"
    destination.write(goal, shards[:1], PAGES)
    with destination.buckets.opened(goal) as written:
        assert [listed.key for listed in written.list("")] == ["scores-00000.parquet", "scores.html", "scores.json"]


@pytest.mark.parametrize("text", ["", "http://a/b", "s3://UP/x", "s3://bucket/a b", "a\0b"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(errors.ConfigError, match="--output must be"):
        destination.parse(text)


def test_a_plain_name_is_a_folder_here():
    assert destination.parse("scores") == Path.cwd() / "scores"
