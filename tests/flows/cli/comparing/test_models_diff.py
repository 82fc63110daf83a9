"""`fer models diff` of two versions on this machine."""

import contextlib
import json

import pytest
from typer.testing import CliRunner
from versions import release

from fer.registry import releases
from flows.cli import app as cli


@pytest.fixture
def diff(tmp_path, monkeypatch):
    """The command, with two versions that the registry would bring here; what it prints."""
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    versions = {"demo@1": release(tmp_path / "a", 1, 20), "demo": release(tmp_path / "b", 2, 25)}
    monkeypatch.setattr(releases, "local_copy", lambda spec: contextlib.nullcontext(versions[spec]))

    def run(*arguments):
        done = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["models", "diff", *arguments, "--no-latency"])
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_two_versions_are_shown_figure_by_figure(diff):
    lines = diff("demo@1", "demo").splitlines()
    accuracy = next(line for line in lines if line.strip().startswith("accuracy"))
    assert accuracy.split() == ["accuracy", "0.500", "0.625", "+0.125", "(+0.025", "to", "+0.225)", "p", "=", "0.0625"]
    assert any("40 test images of both" in line for line in lines)


def test_the_document_has_the_same_and_the_images_that_changed_sides(diff):
    found = json.loads(diff("demo@1", "demo", "--json"))
    assert (found["a"], found["b"], found["answers"]["n_gained"], len(found["gained"])) == ("demo@1", "demo@2", 5, 5)
