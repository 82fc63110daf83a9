"""What `fer audit` refuses before it starts anything."""

import re

import pytest
from typer.testing import CliRunner

from fer import errors
from fer.models import foreign_file
from fer.models.foreign_file import InputFormat
from fer.recipes import catalog
from flows.cli import app as cli


@pytest.fixture
def audit(tmp_path, monkeypatch):
    """The command with a file of a model; its error."""
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.hdf5").write_bytes(b"")

    def run(*arguments):
        done = CliRunner().invoke(cli.app, ["audit", *arguments])
        assert isinstance(done.exception, errors.FerError), done.output
        return str(done.exception)

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "demo@3", "--classes", "happy,sad"], "a release says so itself"),
        (["--model", "Demo!"], "A model must be NAME"),
        (["--model", "gone.hdf5", "--classes", "happy,sad"], r"gone\.hdf5, which is no file"),
        (["--model", "./model.onnx", "--classes", "happy,sad"], r"ends in \.keras, \.hdf5, \.h5"),
        (["--model", "model.hdf5", "--scale", "0..1"], "no --classes"),
        (["--model", "model.hdf5", "--classes", "happy,sad", "--size", "wide"], "--size 64"),
        (["--model", "model.hdf5", "--classes", "happy,sad", "--size", "4"], "--size: .*greater than or equal to 8"),
        (["--model", "model.hdf5", "--classes", "happy,sad", "--scale", "1..0"], r"--scale: .*LOW\.\.HIGH or MEAN/STD"),
        (["--model", "model.hdf5", "--classes", "happy"], "--classes: .*at least 2"),
    ],
)
def test_what_is_said_of_a_model_must_be_valid(audit, arguments, message):
    assert re.search(message, audit(*arguments))


@pytest.mark.parametrize(
    "scale", ["0..1", "-1..1", "-.5 .. .5", "0..255", "127.5/127.5", "1,2,3/4,5,6", "129/1,2,3", "1e2/6e1"]
)
def test_scales_are_ranges_or_moments(scale):
    assert InputFormat(classes=("a", "b"), scale=scale).scale == scale


@pytest.mark.parametrize("scale", ["", "0", "1..0", "5/0", "1,2/3", "0..1..2", "a..b", "1/2/3", "-1/-1"])
def test_what_is_neither_is_refused(scale):
    with pytest.raises(ValueError, match=r"LOW\.\.HIGH or MEAN/STD"):
        InputFormat(classes=("a", "b"), scale=scale)


def test_a_size_is_one_side_or_two():
    assert (foreign_file.parse_size("64"), foreign_file.parse_size("48x64")) == ((64, 64), (48, 64))


def test_an_audit_takes_the_splits_as_they_are_and_keeps_every_test_image():
    from flows import audit

    recipe = catalog.load("fer2013-cnn")
    audited = audit.as_audited(recipe, tuple(reversed(recipe.index.classes)))
    assert (audited.split.leakage, audited.index) == ("keep", recipe.index)
    assert not {"quarantine", "stop"} & set(audited.curate.policies.model_dump().values())
    assert audit.as_audited(recipe, ("happy", "sad")).index.classes == ("happy", "sad")
