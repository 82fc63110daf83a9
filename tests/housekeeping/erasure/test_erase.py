"""What knew images that are to be forgotten, and what becomes of it."""

import json

import numpy as np
import photographs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from indexed import CONFIG, run
from registrations import committed, parts, register

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.code import key_parts
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.refs import Ref
from fer.housekeeping.erasure import erase, report, request
from fer.images import encode
from fer.ingest import manifest_parts
from fer.ingest.tombstones import records

SUBJECTS = CONFIG.model_copy(update={"classes": ("happy", "sad"), "subject_pattern": "(S[0-9]+)_"})


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def pictures():
    taken = (photographs.taken(picture) for picture in photographs.photographs(11, 6))
    return [np.clip(picture, 0, 255).astype(np.uint8) for picture in taken]


@pytest.fixture(scope="module")
def source(pictures):
    """Two pictures of each of three subjects, and another framing of one of the first subject's, of nobody known."""
    twin = np.clip(pictures[0].astype(int) + 12, 0, 255).astype(np.uint8)
    names = ("happy/S1_a", "sad/S1_b", "happy/S2_a", "sad/S2_b", "happy/S3_a", "sad/S3_b")
    named = {f"{name}.png": encode.png(picture) for name, picture in zip(names, pictures, strict=True)}
    return named | {"sad/twin.png": encode.png(twin)}


def test_a_subject_names_its_pictures_and_their_twins(workspace, source, pictures):
    manifest = run(workspace, source, SUBJECTS)
    found = request.find("subject", "S1", workspace)
    assert set(found.own) == {manifest_parts.pixel_sha256(picture) for picture in pictures[:2]}
    assert len(found.twins) == 1
    assert len(found.features) == 2
    assert sorted(image.is_twin for image in found.images) == [False, False, True]
    assert {image.index for image in found.images} == {manifest.path}
    assert request.find("subject", "S", workspace).own == ()


@pytest.mark.parametrize("named", ["pixels", "file", "image ID"])
def test_a_digest_may_be_that_of_the_pixels_or_the_file_or_an_image_id(workspace, source, pictures, named):
    manifest = run(workspace, source, SUBJECTS)
    rows = pq.read_table(workspace.folder(manifest) / files.MANIFEST).to_pylist()
    row = next(row for row in rows if row["path"] == "happy/S2_a.png")
    value = row[{"pixels": "pixel_sha256", "file": "file_sha256", "image ID": "image_id"}[named]]
    found = request.find("digest", value, workspace)
    assert (found.own, found.twins) == ((manifest_parts.pixel_sha256(pictures[2]),), ())


def test_a_file_is_known_by_its_pixels_wherever_it_is(workspace, source, pictures, tmp_path):
    path = tmp_path / "own.png"
    path.write_bytes(encode.png(pictures[0]))
    before = request.find("file", str(path), workspace)
    assert (len(before.own), before.images) == (1, ())
    run(workspace, source, SUBJECTS)
    found = request.find("file", str(path), workspace)
    assert (found.own, found.features) == (before.own, before.features)
    assert len(found.twins) == 1
    path.write_bytes(b"no picture")
    with pytest.raises(errors.SourceError, match="must be a picture"):
        request.find("file", str(path), workspace)


def made(workspace, stage, key, ref, content, **inputs):
    """An output that was made from these."""

    def produce(out):
        for name, data in content.items():
            (out / name).write_bytes(data)
        return ref

    return workspace.run(stage, key, type(ref), produce, resumable=False, made_from=key_parts.of(inputs, {}, {}))


def prepared(workspace, manifest, key, digests, excluded=()):
    """The split of these images, and their shards, as they are and balanced."""
    table = pa.table(
        {
            "pixel_sha256": [*digests, *excluded],
            "split": ["train"] * len(digests) + ["excluded"] * len(excluded),
        }
    )
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    ref = SplitRef(classes=("happy", "sad"), counts={}, origin="drawn")
    split = made(workspace, "split", key, ref, {files.SPLIT: buffer.getvalue().to_pybytes()}, manifest=manifest)
    shards = made(workspace, "preprocess", key, Ref(), {"train-0.parquet": b"x"}, manifest=manifest, split=split)
    made(workspace, "balance", key, Ref(), {"train-0.parquet": b"x"}, source=shards)


@pytest.fixture
def installation(configured, models, workspace, source, pictures):
    """Data of all subjects, prepared with the first one's pictures and without, and releases of a model."""
    manifest = run(workspace, source, SUBJECTS)
    digests = [manifest_parts.pixel_sha256(picture) for picture in pictures]
    prepared(workspace, manifest, "with", digests)
    prepared(workspace, manifest, "without", digests[2:], excluded=digests[:2])
    (configured.home / "faces" / "demo").mkdir(parents=True)
    (configured.home / "faces" / "demo" / "1.html").write_text("faces")
    (workspace.root / ".partial" / "index" / "x").mkdir(parents=True)
    (workspace.root / ".partial" / "index" / "x" / "part").write_bytes(b"half")
    return configured, models


def forget(installation, asked, *, apply=True) -> erase.Erasure:
    configured, models = installation
    return erase.forget(asked, configured, models, apply=apply)


S1 = erase.Asked("subject", "S1", "request 7")


def test_what_is_only_looked_at_is_not_changed(installation, workspace):
    before = sorted(workspace.root.rglob("*"))
    found = forget(installation, S1, apply=False)
    assert not found.is_done
    assert {thing.fate for thing in found.things} == {"to be removed"}
    assert records.read(installation[1].store) is None
    assert [path for path in before if not path.exists()] == []


def test_what_holds_their_pixels_is_removed_and_nothing_else(installation, workspace):
    found = forget(installation, S1)
    names = {thing.name for thing in found.things}
    index = next(image.index for image in found.images)
    assert names == {
        "faces/demo/1.html", ".partial/index/x", "preprocess/with", "balance/with", "download/archive", index,
    }  # fmt: skip
    assert {thing.fate for thing in found.things} == {"removed"}
    assert not any((workspace.root / name).exists() for name in names)
    assert not (installation[0].home / "faces" / "demo" / "1.html").exists()
    assert (workspace.root / "preprocess" / "without").is_dir()
    assert (workspace.root / "split" / "with").is_dir()
    known = records.read(installation[1].store)
    assert (len(known.digests()), len(known.features())) == (3, 2)
    assert (known.all[0].reason, known.all[0].asked_by) == ("request 7", "subject")
    assert "S1" not in json.dumps(known.all[0].model_dump(mode="json"))


def test_the_same_again_finds_nothing_more_to_do(installation):
    first, second = forget(installation, S1), forget(installation, S1)
    assert (first.n_asked_for, second.n_asked_for) == (2, 0)
    assert (second.tombstone, second.things, second.n_earlier_tombstones) == ("", (), 1)
    assert (first.did_something, second.did_something) == (True, False)
    assert len(records.read(installation[1].store).all) == 1


def test_what_a_kill_left_the_same_command_removes(installation, workspace, monkeypatch):
    removed = erase.WorkspaceFolder.remove
    left = iter([True, True])

    def remove(self, item):
        if not next(left, False):
            raise KeyboardInterrupt
        return removed(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(erase.WorkspaceFolder, "remove", remove)
        with pytest.raises(KeyboardInterrupt):
            forget(installation, S1)
    assert list((workspace.root / "index").iterdir())
    found = forget(installation, S1)
    assert found.tombstone == ""
    assert {thing.name.partition("/")[0] for thing in found.things} >= {"download", "index"}
    assert not list((workspace.root / "index").iterdir())


def test_releases_that_knew_them_are_named(installation, workspace):
    _, models = installation
    refs = parts(workspace)
    digests = request.find("subject", "S1", workspace)
    rows = {"pixel_sha256": [digests.own[0], digests.twins[0], "a" * 64], "split": ["train", "validation", "test"]}
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(rows), buffer)
    split = committed(workspace, "split", "2", refs[0].model_copy(update={"path": "", "digest": ""}), {
        files.SPLIT: buffer.getvalue().to_pybytes()
    })  # fmt: skip
    register(workspace, (split, *refs[1:]))
    found = forget(installation, S1, apply=False)
    assert [(known.release, known.n_train, known.n_validation, known.n_test) for known in found.releases] == [
        ("demo@1", 1, 1, 0)
    ]
    assert found.retrained == ("demo@1",)
    assert found.releases[0].is_champion
    text = report.markdown(found)
    assert "| yes | champion | 1 | 1 | 0 |" in text
    assert "fer models withdraw demo@1" in text
    assert models.alias("demo").version == 1


def test_a_name_of_nobody_is_an_error_where_nothing_is_to_be_forgotten(installation):
    with pytest.raises(errors.ConfigError, match="no image of this subject"):
        forget(installation, erase.Asked("subject", "S9"))


def test_while_a_run_is_at_work_nothing_is_removed(installation, workspace):
    from fer.engine import usage

    with usage.working(workspace.root), pytest.raises(errors.WorkspaceError, match="at work"):
        forget(installation, S1)
    assert records.read(installation[1].store) is None


def test_the_report_has_neither_a_picture_nor_the_subject(installation, tmp_path):
    found = forget(installation, S1)
    written = report.write(found, tmp_path / "report")
    for path in written.values():
        text = path.read_text()
        assert "S1" not in text.replace("happy/S1", "")
        assert "<img" not in text
    assert "request 7" in written["report"].read_text()
    assert json.loads(written["as JSON"].read_text())["tombstone"] == found.tombstone


def test_a_twin_that_is_gone_is_known_by_the_tombstone(installation, workspace):
    digests = request.find("subject", "S1", workspace)
    refs = parts(workspace)
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"pixel_sha256": [digests.twins[0]], "split": ["train"]}), buffer)
    split = committed(workspace, "split", "2", refs[0].model_copy(update={"path": "", "digest": ""}), {
        files.SPLIT: buffer.getvalue().to_pybytes()
    })  # fmt: skip
    register(workspace, (split, *refs[1:]))
    forget(installation, S1)
    again = forget(installation, erase.Asked("digest", digests.own[0]))
    assert (again.n_twins, again.retrained) == (0, ("demo@1",))
