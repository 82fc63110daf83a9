"""The stage that scores pictures without labels."""

import json

import drawn_photos
import numpy as np
import pyarrow.parquet as pq
import pytest
import releases
from indexed import committed, png

from data_contracts import scores as contract
from fer import errors
from fer.engine import runners
from fer.engine.local_workspace import LocalWorkspace
from fer.exports import serving
from fer.images import encode
from fer.scoring import answers, score
from fer.serving import writing

ONE = runners.Processes(workers=1)
BRIGHT, DARK = (encode.png(np.full((20, 20), level, np.uint8)) for level in (250, 5))
FILES = {"a.png": BRIGHT, "b/c.png": DARK, "d.jpg": b"<html>", "e.png": BRIGHT, "f.png": DARK}


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path / "workspace")


def scored(workspace, files=FILES, *, per_shard=2, calibrated=True, runner=ONE, whole=True):
    model, calibration, config = releases.committed(workspace, calibrated=calibrated)
    config = config.model_copy(update={"pictures_per_shard": per_shard, "whole": whole})
    ref = score.score(committed(workspace, files), model, calibration, config, workspace=workspace, runner=runner)
    rows = [row for path in score.shards(workspace.folder(ref)) for row in pq.read_table(path).to_pylist()]
    return ref, rows


def test_each_picture_has_a_row_with_what_the_release_says_of_it(workspace):
    ref, rows = scored(workspace)
    assert [row["path"] for row in rows] == sorted(FILES)
    assert [row["label"] for row in rows] == ["happy", "sad", None, "happy", "sad"]
    assert (ref.n_pictures, ref.n_faces, ref.n_without, ref.n_unreadable, ref.n_shards) == (5, 4, 0, 1, 3)
    assert "web page" in rows[2]["error"]
    first = rows[0]
    assert (first["p_happy"], first["p_sad"]) == pytest.approx((1.0, 0.0), abs=1e-3)
    assert first["confidence"] == first["p_happy"]
    assert (first["set"], first["unsure"], first["taken"]) == (["happy"], False, "whole")
    assert (first["finding"], first["face"], first["left"]) == ("not looked for", 1, None)
    assert (first["model"], first["model_digest"]) == ("tiny@1", "weights")
    assert first["mean"] == 250
    schema = pq.read_schema(score.shards(workspace.folder(ref))[0])
    assert contract.classes_of(schema) == releases.CLASSES


def test_a_release_without_a_calibration_has_no_sets(workspace):
    _, rows = scored(workspace, calibrated=False)
    assert {row["unsure"] for row in rows} == {None}


def test_a_picture_without_a_face_says_so(workspace):
    ref, rows = scored(workspace, {"noise.png": png(1, 60, 60)}, whole=False)
    assert [(row["finding"], row["label"], row["error"]) for row in rows] == [("no face", None, None)]
    assert ref.n_without == 1


def test_each_face_has_a_row_with_its_place(workspace):
    photo = encode.png(drawn_photos.photo((40, 60, 160), (400, 200, 110)))
    _, rows = scored(workspace, {"two.png": photo}, whole=False)
    assert [(row["finding"], row["face"], row["taken"]) for row in rows] == [
        ("several faces", 1, "face"),
        ("several faces", 2, "face"),
    ]
    assert rows[0]["width"] > rows[1]["width"]
    assert (rows[0]["left"] < rows[1]["left"], rows[0]["upper"] < rows[1]["upper"]) == (True, True)
    assert min(row["face_score"] for row in rows) > 0.5


def test_what_predictions_are_written_with_too_has_the_same_name_and_type(workspace, tmp_path):
    ref, _ = scored(workspace)
    writing.write([], "parquet", releases.CLASSES, tmp_path / "predicted.parquet")
    predicted, found = pq.read_schema(tmp_path / "predicted.parquet"), contract.schema(releases.CLASSES)
    assert found.names == pq.read_schema(score.shards(workspace.folder(ref))[0]).names
    assert {name: found.field(name).type for name in predicted.names if name in found.names} == {
        name: predicted.field(name).type
        for name in predicted.names
        if name not in ("frame", "time_s", "note") and "_eye_" not in name
    }


def test_shards_that_an_attempt_finished_are_kept_by_the_next_one(workspace, monkeypatch):
    real = score._score_part
    done = []

    def failing(folders, item):
        if item.number == 2 and len(done) < 3:
            done.append("failed")
            raise errors.WorkspaceError("A disk must have room.", received="none")
        written = (folders.out / item.names[0]).exists()
        done.append(f"{item.number} {'kept' if written else 'made'}")
        return real(folders, item)

    monkeypatch.setattr(score, "_score_part", failing)
    with pytest.raises(errors.WorkspaceError):
        scored(workspace)
    ref, rows = scored(workspace)
    assert done == ["0 made", "1 made", "failed", "0 kept", "1 kept", "2 made"]
    assert [row["path"] for row in rows] == sorted(FILES)
    assert ref.n_faces == 4


@pytest.mark.slow  # starts two processes
def test_the_same_scores_come_of_one_process_and_of_several(workspace, tmp_path):
    one, _ = scored(workspace)
    several, _ = scored(LocalWorkspace(tmp_path / "other"), runner=runners.Processes(workers=2, alone_s=0))
    assert one.digest == several.digest


def test_a_damaged_shard_of_an_earlier_attempt_is_made_anew(tmp_path):
    path = tmp_path / "scores-00000.parquet"
    path.write_bytes(b"PAR1 cut")
    assert score._finished(path) is None


def test_another_file_than_the_releases_own_does_not_answer(tmp_path):
    releases.write(tmp_path)
    with pytest.raises(errors.IntegrityError, match="must be the one that was released"):
        answers.opened(tmp_path, "tiny@1", serving.ONNX, "0" * 64, None)


def test_the_summary_in_a_shard_says_what_it_holds(workspace):
    ref, _ = scored(workspace)
    metadata = pq.read_metadata(score.shards(workspace.folder(ref))[1]).metadata
    assert json.loads(metadata[b"summary"]) == {"n_pictures": 2, "n_faces": 1, "n_without": 0, "n_unreadable": 1}
