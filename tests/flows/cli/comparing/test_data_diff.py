"""`fer data diff` of data that is in the workspace."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from data_contracts import files, properties
from fer import errors
from fer.curation.refs import SplitRef, ValidationRef
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest.refs import ManifestRef
from fer.settings import Settings
from flows.cli import app as cli

LABELS = ("happy", "sad")


def bring_in(workspace, key, rows):
    """A version of (image_id, label, split) rows as the stages leave it; returns its quality.json's content."""
    ids, labels, splits = zip(*rows, strict=True)
    n = len(rows)
    images = pa.table(
        {
            "image_id": ids, "source": ["demo"] * n, "path": [f"{name}\x1b.png" for name in ids], "label": labels,
            "pixel_sha256": [f"pixels of {name}" for name in ids], "status": ["accepted"] * n,
            **{name: pa.array(np.arange(n), pa.float32()) for name in properties.EDGES},
        }
    )  # fmt: skip
    manifest = ManifestRef(
        digest=f"{key}0" * 32, source="demo", layouts=("class folders",), classes=LABELS, n_found=n, n_quarantined=0
    )
    validation = ValidationRef(
        digest=f"{key}1" * 32, classes=LABELS, n_found=n, n_accepted=n, quarantined={}, failures=(), warnings=()
    )
    split = SplitRef(digest=f"{key}2" * 32, classes=LABELS, counts={}, origin="drawn")
    assigned = pa.table({"image_id": ids, "split": splits})
    for stage, ref, name, table in (
        ("index", manifest, files.MANIFEST, images),
        ("validate", validation, files.ACCEPTED, images),
        ("split", split, files.SPLIT, assigned),
    ):

        def produce(out, ref=ref, name=name, table=table):
            pq.write_table(table, out / name)
            return ref

        workspace.run(stage, key, type(ref), produce, resumable=False)
    return {"provenance": {"digests": {"validation": validation.digest, "split": split.digest}}}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two versions: a label, a split and a file of the second are others."""
    monkeypatch.setenv("FER_HOME", str(tmp_path / "fer"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    workspace = LocalWorkspace(Settings.load().workspace_folder)
    first = bring_in(workspace, "a", [("1", "happy", "train"), ("2", "sad", "train"), ("3", "sad", "test")])
    second = bring_in(workspace, "b", [("1", "happy", "test"), ("2", "happy", "train"), ("4", "sad", "test")])
    for name, document in (("a.json", first), ("b.json", second)):
        (tmp_path / name).write_text(json.dumps(document))
    return tmp_path


def diff(*arguments):
    """What the command prints; its errors are raised."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["data", "diff", *map(str, arguments)])
    if isinstance(done.exception, errors.FerError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_two_reports_name_versions_whose_images_are_compared(data):
    found = json.loads(diff(data / "a.json", data / "b.json", "--json"))
    counts = {kind: found[f"n_{kind}"] for kind in ("added", "removed", "relabelled", "moved", "renamed", "same")}
    assert counts == {"added": 1, "removed": 1, "relabelled": 1, "moved": 1, "renamed": 0, "same": 0}
    assert found["relabelled"] == {"sad": {"happy": 1}}
    assert found["examples"]["moved"] == ["1"]


def test_the_page_and_all_changes_are_beside_the_document(data):
    lines = diff(data / "a.json", data / "b.json").splitlines()
    paths = {line[:13].strip(): Path(line[13:].strip()) for line in lines[-3:]}
    assert len(pq.read_table(paths["all changes"])) == 4
    assert json.loads(paths["as JSON"].read_bytes())["n_moved"] == 1
    page = paths["page"].read_text()
    assert "Moved between splits" in page
    assert "<td>train</td>\n<td>test</td>" in page


def test_a_manifest_is_named_by_the_begin_of_its_digest(data):
    found = json.loads(diff("a0a0a0a0a0", "b0b0b0b0b0", "--json"))
    assert (found["digest_a"], found["n_added"], found["n_moved"]) == ("a0" * 32, 1, None)


def test_what_is_not_in_the_workspace_is_said(data):
    with pytest.raises(errors.WorkspaceError, match="nothing of ffffffff in "):
        diff("ffffffff", "b0b0b0b0b0")
    (data / "other.json").write_text("[]")
    with pytest.raises(errors.ConfigError, match=r"TypeError on reading .*other.json"):
        diff(data / "other.json", "b0b0b0b0b0")
