"""The exported files of a release, copied for whoever serves them."""

import hashlib
import json

import pytest
import signed_registry
from registrations import CLASSES, PREPROCESSING, candidate, committed, parts
from typer.testing import CliRunner

from fer import errors
from fer.engine.refs import Ref
from fer.evaluation.refs import ChampionState, ExportsRef
from fer.exports import serving
from fer.registry import exported
from fer.registry import register as register_stage
from fer.serving import local_releases
from fer.shards.preprocessing import Preprocessing
from flows.cli import app


def exports(workspace) -> ExportsRef:
    content = {serving.ONNX: b"graph", serving.PREPROCESS: b"code"}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    said = serving.of(
        Preprocessing.model_validate_json(PREPROCESSING), None, (), {"model.int8.onnx": "bad"}, digests, None, None
    )
    ref = ExportsRef(files=(serving.ONNX,), checks=())
    return committed(workspace, "export", "0", ref, content | {serving.FILE: said.model_dump_json().encode()})


def release(workspace, **changes):
    one = candidate(parts(workspace)).model_copy(update=changes)
    report = committed(workspace, "evaluation report", "a", Ref(), {})
    return register_stage.register(one, ChampionState(), report=report, by=None, workspace=workspace)


def test_a_release_holds_the_exported_files_which_are_copied_alone(models, workspace, tmp_path):
    release(workspace, exports=exports(workspace))
    found = exported.copy("demo@champion", tmp_path / "served")
    assert {path.name for path in found.folder.iterdir()} == {serving.ONNX, serving.PREPROCESS, serving.FILE}
    assert (found.folder / serving.ONNX).read_bytes() == b"graph"
    assert found.serving.classes == CLASSES
    assert exported.copy("demo@1", tmp_path / "served").folder == found.folder  # again into the same one


def test_exported_files_of_a_signed_release_can_be_used_where_signatures_are_required(
    models, workspace, tmp_path, monkeypatch, store_settings
):
    key = signed_registry.require(monkeypatch, tmp_path, store_settings)
    release(workspace, exports=exports(workspace))
    folder = exported.copy("demo@champion", tmp_path / "served").folder
    proof = {"manifest.json", f"signatures/signature-{key.public.id}.json"}
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} >= {serving.ONNX, *proof}
    local_releases.in_folder(folder).require_whole(serving.ONNX)
    (folder / serving.ONNX).write_bytes(b"another graph")
    with pytest.raises(errors.IntegrityError, match=r"model\.onnx"):
        local_releases.in_folder(folder).require_whole(serving.ONNX)


def test_what_is_there_under_another_content_stays_as_it_is(models, workspace, tmp_path):
    release(workspace, exports=exports(workspace))
    (tmp_path / serving.PREPROCESS).write_text("my own")
    with pytest.raises(errors.ConfigError, match=r"preprocess\.py in "):
        exported.copy("demo@1", tmp_path)
    assert (tmp_path / serving.PREPROCESS).read_text() == "my own"
    assert not (tmp_path / serving.ONNX).exists()


def test_of_a_release_without_exports_it_is_said(models, workspace, tmp_path):
    release(workspace)
    with pytest.raises(errors.ConfigError, match="none in demo@1"):
        exported.copy("demo@1", tmp_path)


def test_the_command_says_what_it_copied_and_what_was_not_released(models, workspace, tmp_path):
    release(workspace, exports=exports(workspace))
    fer = CliRunner()
    done = fer.invoke(app.app, ["models", "export", "demo@1", "--to", str(tmp_path / "a"), "--json"])
    document = json.loads(done.stdout)
    assert document["files"][serving.ONNX] == hashlib.sha256(b"graph").hexdigest()
    assert document["not_released"] == {"model.int8.onnx": "bad"}
    shown = fer.invoke(app.app, ["models", "export", "demo@1", "--to", str(tmp_path / "b")]).stdout
    assert "model.int8.onnx    not released: bad" in shown
