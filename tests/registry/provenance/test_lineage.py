"""What a release was made of: the outputs, what their keys were made of, and the assignments that its split kept."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from fer.curation.refs import SplitRef
from fer.engine.code import key_parts
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.refs import Ref
from fer.registry.provenance import lineage


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path / "workspace")


def made(workspace, stage, key, ref, content=None, **inputs):
    """An output made from these inputs."""

    def produce(out):
        for name, data in (content or {"file": key.encode()}).items():
            (out / name).write_bytes(data)
        return ref

    parts = key_parts.of(inputs, {"fer.one": "a" * 64}, {"numpy": "2"})
    return workspace.run(stage, key, type(ref), produce, resumable=False, made_from=parts)


def split_of(workspace, key, **inputs):
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"image_id": [key]}), buffer)
    content = {files.ASSIGNMENTS: buffer.getvalue().to_pybytes()}
    ref = SplitRef(classes=("a", "b"), counts={"train": {"a": 1}}, origin="drawn", digest=key * 64)
    content[files.SPLIT_REPORT] = ref.model_dump_json(exclude={"path", "digest"}).encode()
    return made(workspace, "split", key, ref, content, **inputs)


def test_outputs_come_after_what_they_were_made_of_and_without_what_they_were_compared_with(workspace):
    index = made(workspace, "index", "1", Ref())
    before = split_of(workspace, "b")
    split = split_of(workspace, "c", index=index, previous=before)
    other = made(workspace, "champion", "1", Ref())
    gate = made(workspace, "gate", "1", Ref(), split=split, opponents=(other,), champion=other)
    traced = lineage.trace([gate, split], workspace)
    assert [output.stage for output in traced.stages] == ["index", "split", "gate"]
    assert [output.digest for output in traced.stages] == [index.digest, split.digest, gate.digest]
    assert lineage.previous_split(traced.parts) == Ref(path=before.path, digest=before.digest)


def test_what_is_gone_from_the_workspace_is_left_out(workspace):
    gone = Ref(path="index/9", digest="9")
    split = split_of(workspace, "c", index=gone)
    assert [output.stage for output in lineage.trace([split], workspace).stages] == ["split"]


def test_what_is_written_is_read_again(workspace, tmp_path):
    index = made(workspace, "index", "1", Ref(), config="x")
    traced = lineage.trace([index], workspace)
    lineage.write(traced, tmp_path, workspace)
    assert lineage.read(tmp_path / lineage.FILE) == traced.parts
    assert not (tmp_path / lineage.ASSIGNMENTS_BEFORE).exists()
    assert lineage.read(tmp_path / "none.json") == {}


def test_the_assignments_that_a_split_kept_go_to_a_workspace_that_never_had_them(workspace, tmp_path):
    before = split_of(workspace, "b")
    traced = lineage.trace([split_of(workspace, "c", previous=before)], workspace)
    release = tmp_path / "release"
    release.mkdir()
    lineage.write(traced, release, workspace)
    other = LocalWorkspace(tmp_path / "other")
    restored = lineage.restore_previous_split(release, other)
    assert restored == before
    there, here = (place.folder(before) / files.ASSIGNMENTS for place in (workspace, other))
    assert there.read_bytes() == here.read_bytes()


def test_a_split_that_kept_none_restores_none(workspace, tmp_path):
    lineage.write(lineage.trace([split_of(workspace, "c", previous=None)], workspace), tmp_path, workspace)
    assert lineage.restore_previous_split(tmp_path, workspace) is None
