"""What becomes of images that are to be forgotten in a workspace that several machines share in a bucket."""

import numpy as np
import photographs
import pytest
from indexed import CONFIG, run

from fer import plain_text, settings
from fer.engine import connect, disk
from fer.engine.outputs import File
from fer.engine.refs import Ref
from fer.housekeeping.erasure import erase, report
from fer.images import encode

SUBJECTS = CONFIG.model_copy(update={"classes": ("happy", "sad"), "subject_pattern": "(S[0-9]+)_"})
S1 = erase.Asked("subject", "S1", "request 7")


@pytest.fixture
def on(configured, store, tmp_path, monkeypatch):
    """The settings and the workspace on one of the machines, by its name."""
    monkeypatch.setenv("FER_WORKSPACE", f"s3://{store.bucket}/{store.prefix}work")

    def of(machine):
        monkeypatch.setenv("FER_HOME", str(tmp_path / machine))
        configured_there = settings.Settings.load()
        return configured_there, connect.running_workspace(configured_there)

    return of


@pytest.fixture
def manifest(on):
    """The index of a picture of each of two subjects, made on the first machine and fetched by the second."""
    pictures = (photographs.taken(picture) for picture in photographs.photographs(11, 2))
    first, second = (encode.png(np.clip(picture, 0, 255).astype(np.uint8)) for picture in pictures)
    made = run(on("first")[1], {"happy/S1_a.png": first, "sad/S2_a.png": second}, SUBJECTS)
    on("second")[1].folder(made)
    return made


def test_they_go_from_the_bucket_and_from_the_folder_of_each_machine_that_is_asked(on, models, manifest):
    configured, workspace = on("first")
    bucket = workspace.objects.store
    found = erase.forget(S1, configured, models, apply=True)
    assert {thing.name for thing in found.things} == {"download/archive", manifest.path}
    assert {thing.fate for thing in found.things} == {"removed"}
    text = report.markdown(found)
    assert f"workspace: {plain_text.in_markdown(workspace.objects.uri)}, with this machine's copies" in text
    assert "in the bucket until its prefix is removed" in text
    assert not list(bucket.list("objects/"))
    assert not list(bucket.list("index/"))
    assert not (workspace.root / manifest.path).exists()

    configured, workspace = on("second")
    assert (workspace.root / manifest.path).is_dir()
    found = erase.forget(S1, configured, models, apply=True)
    assert manifest.path in {thing.name for thing in found.things}
    assert not (workspace.root / manifest.path).exists()


def test_so_does_what_may_hold_them_of_uploads_and_outputs_that_came_to_nothing(on, models, manifest, tmp_path):
    configured, workspace = on("first")
    bucket = workspace.objects.store
    half = tmp_path / "half"
    half.write_bytes(b"half of an index")
    workspace.objects.upload(half, File(size_bytes=half.stat().st_size, sha256=disk.sha256(half)))
    bucket.put("damaged/abc/1", b"what lay there instead")

    def produce(out):
        (out / "x").write_bytes(b"kept")
        return Ref()

    kept = workspace.run("split", "1", Ref, produce, resumable=False)
    half.write_bytes(b"a shard of Dask's")
    workspace.objects.share_finished(".partial/preprocess/1", "train-0.parquet", half)
    before = {thing.name for thing in erase.forget(S1, configured, models, apply=False).things}
    found = erase.forget(S1, configured, models, apply=True)
    assert {thing.name for thing in found.things} == before
    assert sum(thing.what.startswith("unfinished or damaged") for thing in found.things) == 1
    assert not list(bucket.list("damaged/"))
    assert not list(bucket.list(".partial/"))
    assert len(list(bucket.list("objects/"))) == 1
    assert workspace.committed("split", "1", Ref) == kept
    again = erase.forget(S1, configured, models, apply=True)
    assert again.things == ()
