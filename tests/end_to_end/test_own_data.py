"""Faces of one's own by the how-to page's commands, twice: a release, and with more faces a second one."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fer import errors
from fer.images import encode
from fer.ingest.demo import faces as demo_faces
from fer.registry import releases
from flows.cli import app as cli

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("in_this_process")]

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "own-data.md").read_text()
DRAWN_AS = {"angry": "angry", "happy": "happy", "other": "neutral"}
# So that it takes seconds, and 10 % of 330 faces are enough; a model of 2 epochs reaches no floor.
QUICK = (
    "gate.min_images=30",
    "gate.min_accuracy=0",
    "gate.min_macro_f1=0",
    "gate.margin=1",
    "gate.max_churn=1",
    "gate.waiver_margin=1",  # so few faces show nothing
    "inspect.folds=2",
    "preprocess.height=16",
    "preprocess.width=16",
    "train.epochs=2",
    "train.model.width=4",
    "train.model.blocks=1",
    "train.model.dense_units=8",
    "robustness.enabled=false",
    "explanations.enabled=false",
    "slices.enabled=false",
    "export.formats=[]",
)


def faces(folder: Path, first: int, last: int) -> None:
    """Draw the faces of these numbers of each class."""
    for label, expression in DRAWN_AS.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(first, last):
            face = demo_faces.draw(expression, np.random.default_rng([9, sorted(DRAWN_AS).index(label), number]))
            (folder / label / f"{number}.png").write_bytes(encode.png(face))


def fer(prefix: str):
    """Run the page's command that begins so, with quick settings."""
    (line,) = [text for text in PAGE.splitlines() if text.startswith(prefix)]
    arguments = shlex.split(line)[1:] + [word for setting in QUICK for word in ("--set", setting)]
    return CliRunner(env={"COLUMNS": "400"}).invoke(cli.app, arguments)


def versions() -> list[tuple[int, str]]:
    with releases.open_registry() as models:
        return [(version.version, version.status) for version in models.versions("my-faces")]


CHECK, RETRAIN = "fer data check folder:faces ", "fer retrain --source folder:faces "


def test_too_few_faces_are_told_before_any_training_and_more_lead_to_two_releases(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    faces(tmp_path / "faces", 0, 40)
    checked = fer(CHECK)
    assert checked.exit_code == 0, checked.output
    message = "12 test images, 18 fewer than gate.min_images=30; add about 180 images, of which test gets 10%"
    assert message in checked.output
    run = fer(RETRAIN)
    assert isinstance(run.exception, errors.ContractViolation)
    assert run.exception.exit_code == 8
    assert "12 test images, 18 fewer than gate.min_images=30" in str(run.exception)
    assert "model my-faces" in run.output.splitlines()[0]
    assert "train  " not in run.output
    assert versions() == []
    for last, expected in ((110, [(1, "released")]), (140, [(1, "released"), (2, "released")])):
        faces(tmp_path / "faces", 40, last)
        checked = fer(CHECK)
        assert "too few to release a model" not in checked.output.rpartition("fit for training")[2]
        run = fer(RETRAIN)
        assert run.exit_code == 0, run.output
        assert versions() == expected
    assert f"compared on {3 * 14} of {3 * 14} test images" in run.output
    assert "exactly one of the two is right on" in run.output
