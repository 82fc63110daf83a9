"""A registry that was written by the version before fer had packages: it is listed, shown, used and compared against.

`data/older_registry.zip` has its objects, four versions of the drawn faces among them: 1 released, 2 and 3 refused
(their manifests say "rejected"), 4 released, rolled back and promoted again. `data/older_images.parquet` is the test
split that their stored predictions are of, `data/older_split.parquet` the split.
"""

import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from registrations import committed, state_for
from rich.console import Console
from typer.testing import CliRunner

from fer import errors
from fer.curation.refs import SplitRef
from fer.evaluation import predictions
from fer.evaluation.config import GateConfig
from fer.evaluation.gates import gate
from fer.evaluation.refs import EvaluationRef, Judged, Opponents
from fer.images import encode
from fer.models import saved_model
from fer.progress import silent
from fer.registry import moves, repair, trained_on
from fer.shards import parquet
from flows.cli import app as cli
from flows.cli import console

DATA = Path(__file__).parent / "data"
CLASSES = ("happy", "sad", "surprise")


@pytest.fixture
def models(models, monkeypatch):
    """That registry, in a store of the test's own."""
    monkeypatch.setattr(console, "out", Console(width=250))
    with zipfile.ZipFile(DATA / "older_registry.zip") as objects:
        for key in objects.namelist():
            models.store.put(key, objects.read(key))
    return models


@pytest.fixture
def test_images(tmp_path):
    """The images of the test split, in the order of their IDs."""
    shards = tmp_path / "shards"
    shards.mkdir()
    shutil.copyfile(DATA / "older_images.parquet", shards / "test-00000.parquet")
    return parquet.load_split(shards, "test")


def fer(*arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "250"}).invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def split_of(workspace):
    """The split that its versions were trained and tested on."""
    rows = pq.read_table(DATA / "older_split.parquet")
    counts = {name: dict.fromkeys(CLASSES, 0) for name in ("train", "validation", "test")}
    for name, label in zip(rows["split"].to_pylist(), rows["label"].to_pylist(), strict=True):
        if name in counts:
            counts[name][label] += 1
    ref = SplitRef(classes=CLASSES, counts=counts, origin="drawn")
    return committed(workspace, "split", "0", ref, {"split.parquet": (DATA / "older_split.parquet").read_bytes()})


def evaluation_of(workspace, models, version):
    """What was stored of how the version did on the test split."""
    manifest = models.get("demo", str(version))
    metrics = manifest.metrics
    ref = EvaluationRef(
        split="test",
        n_images=metrics["n_images"],
        accuracy=metrics["accuracy"],
        accuracy_interval=metrics["accuracy_interval"],
        macro_f1=metrics["macro"]["f1"],
        macro_f1_interval=metrics["macro_f1_interval"],
    )
    stored = models.store.get(manifest.files[predictions.FILE].key)
    return committed(workspace, "evaluate", str(version), ref, {predictions.FILE: stored.data})


def test_its_versions_are_listed_and_what_was_rejected_reads_as_refused(models):
    assert [version.status for version in models.versions("demo")] == ["released", "refused", "refused", "released"]
    listed = fer("models", "list")
    assert "refused" in listed
    assert "rejected" not in listed
    assert models.get("demo").version == 4


def test_a_version_is_shown_with_its_recipe_and_its_reasons(models):
    shown = json.loads(fer("models", "show", "demo@2", "--json"))
    assert shown["status"] == "refused"
    assert "accuracy 0.3913 (95 % interval 0.2216 to 0.5921), floor 0.99" in shown["reasons"]
    shown = json.loads(fer("models", "show", "demo@champion", "--json"))
    assert (shown["version"], shown["recipe"]["train"]["epochs"], shown["inputs"]["source"]) == (4, 6, "demo")


def test_its_log_is_read(models):
    entries = models.log("demo").entries
    assert [(entry.action, entry.version, entry.status) for entry in entries] == [
        ("register", 1, "released"),
        ("promote", 1, None),
        ("register", 2, "refused"),
        ("register", 3, "refused"),
        ("register", 4, "released"),
        ("promote", 4, None),
        ("rollback", 4, None),
        ("promote", 4, None),
    ]
    assert "the rollback was a rehearsal" in fer("models", "log", "demo")


def test_nothing_of_it_is_damaged(models):
    assert repair.repair(models, "demo", apply=False) == []


def test_its_champion_predicts_what_it_predicted_then(models, test_images, tmp_path):
    folder = models.fetch(models.get("demo"), tmp_path)
    then = predictions.read(folder / predictions.FILE)
    now = saved_model.probabilities(saved_model.load(folder), test_images.pixels, 32)
    assert test_images.image_ids == list(then.image_ids)
    np.testing.assert_allclose(now, then.probabilities, atol=1e-5)


def test_its_champion_predicts_an_image(models, test_images, tmp_path):
    (tmp_path / "face.png").write_bytes(encode.png(test_images.pixels[0, :, :, 0]))
    predicted = json.loads(fer("predict", str(tmp_path / "face.png"), "--whole", "--json"))
    assert set(predicted[0]["probabilities"]) == set(CLASSES)


def without_bound(detail):
    """The detail without the bootstrap's bound, whose last digits another way to draw moves."""
    return re.sub(r"confidence at least [+-][0-9.]+,", "", detail)


def test_a_candidate_is_compared_with_its_champion_as_it_was_then(models, workspace):
    moves.rollback(models, "demo", reason="as before version 4", by="ann@host")
    state = state_for(workspace)
    assert state.alias_version == 1
    assert len(trained_on.read(workspace.folder(state.opponents.champion.model) / "trained_on.parquet")) > 100
    met = state.opponents.champion.model_copy(update={"evaluation": evaluation_of(workspace, models, 1)})
    verdict = gate.gate(
        Judged(
            source="demo",
            split=split_of(workspace),
            model=met.model,
            evaluation=evaluation_of(workspace, models, 4),
        ),
        Opponents(champion=met),
        GateConfig(min_images=1, margin=0.5),
        workspace=workspace,
        progress=silent,
    )
    assert verdict.passed
    then = {without_bound(reason) for reason in models.get("demo", "4").reasons}
    assert then <= {without_bound(check.detail) for check in verdict.checks}


def test_its_champion_is_rolled_back_and_what_was_refused_is_not_promoted(models):
    fer("models", "rollback", "demo", "--reason", "too sad")
    assert models.get("demo").version == 1
    with pytest.raises(errors.ConfigError, match="refused"):
        moves.promote(models, "demo", 3)
