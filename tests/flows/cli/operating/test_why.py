"""`fer why` in this process, on a workspace of two small outputs."""

import json

import pytest
import shell
from two_files import write_two_files

from fer.engine.code import key_parts
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest.refs import DatasetRef


@pytest.fixture
def home(tmp_path):
    workspace = LocalWorkspace(tmp_path / "fer" / "workspace", made_by="run tidy-owl (7)")
    for key, epochs in (("a" * 32, 2), ("b" * 32, 3)):
        parts = key_parts.of({"config": {"epochs": epochs}}, {}, {})
        workspace.run("label errors", key, DatasetRef, write_two_files, resumable=False, made_from=parts)
    return tmp_path


def test_it_says_who_made_the_newest_output_and_what_changed(home, capsys):
    answer = shell.fer_here("why", "label-errors", home=home, capsys=capsys)
    assert answer.returncode == 0, answer.stderr
    assert f"label errors/{'b' * 32}" in answer.stdout
    assert "made by run tidy-owl (7) on" in answer.stdout
    assert "config.epochs: 2 → 3" in answer.stdout


def test_an_output_is_named_by_the_first_digits_of_its_key(home, capsys):
    answer = shell.fer_here("why", "label errors/aa", "--json", home=home, capsys=capsys)
    (document,) = json.loads(answer.stdout)
    assert document["output"] == f"label errors/{'a' * 32}"
    assert document["nearest"] is None


def test_a_stage_without_an_output_is_refused_with_those_that_have_some(home, capsys):
    answer = shell.fer_here("why", "trian", home=home, capsys=capsys)
    assert answer.returncode != 0
    assert "label errors" in answer.stderr


def test_nothing_is_written(home, capsys):
    before = sorted(home.rglob("*"))
    shell.fer_here("why", "label-errors", home=home, capsys=capsys)
    assert sorted(home.rglob("*")) == before
