import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import releases

from fer.images import encode
from fer.registry import moves
from fer.registry import releases as registered
from fer.registry.manifest import Registration
from fer.registry.opponents import champion
from fer.training.refs import ModelRef

pytestmark = pytest.mark.end_to_end


def register(folder: Path) -> None:
    """A release that says of bright pictures that they are happy, in the registry."""
    releases.write(folder)
    model = ModelRef(
        digest="weights",
        model="tiny",
        classes=releases.CLASSES,
        n_parameters=1,
        epochs_run=1,
        best_epoch=1,
        validation_accuracy=0.5,
        train_seconds=1.0,
    )
    (folder / champion.MODEL).write_text(model.model_dump_json())
    registration = Registration(
        status="released",
        reasons=(),
        registration_key="tiny",
        model_digest=model.digest,
        recipe={},
        inputs={},
        code_fingerprint="",
        metrics={},
        environment={},
        champion_at_registration=None,
    )
    with registered.open_registry() as models:
        models.register("tiny", {path.name: path for path in folder.iterdir()}, registration)
        moves.promote(models, "tiny", 1)


def test_pictures_are_scored_once_and_written_each_time(home, tmp_path):
    from flows.score import score as flow

    register(tmp_path / "release")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, level in enumerate((250, 5, 250)):
        (pictures / f"{number}.png").write_bytes(encode.png(np.full((20, 20), level, np.uint8)))
    source = f"folder:{pictures}"
    result = flow(source, "tiny@champion", str(tmp_path / "out.parquet"), whole=True)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["label"].to_pylist() == ["happy", "sad", "happy"]
    assert set(table["model"].to_pylist()) == {"tiny@1"}
    assert (result.model, result.scores.n_faces) == ("tiny@1", 3)
    document = json.loads((tmp_path / "out.json").read_text())
    assert document == json.loads(Path(result.reports["as JSON"]).read_text())
    assert document["estimate"]["n_test"] == 200
    again = flow(source, "tiny@1", str(tmp_path / "folder"), whole=True, return_state=True)
    assert again.message.endswith("(every stage cached)")
    assert [path.name for path in (tmp_path / "folder").glob("*.parquet")] == ["scores-00000.parquet"]
