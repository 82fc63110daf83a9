"""`fer models list` and `log` for people: what is first, how much, and why."""

import json

import pytest
import signed_registry
from rich.console import Console
from typer.testing import CliRunner

from fer.registry import moves
from fer.registry.registry import Registry
from flows.cli import app as cli
from flows.cli import console

ACCURACIES = (0.7, 0.9, 0.8)


@pytest.fixture
def models(store, store_settings, monkeypatch, tmp_path):
    """Three versions of `demo` with these accuracies: released, kept, refused; and one of `other`."""
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.delenv("FER_STORE_ENDPOINT", raising=False)
    monkeypatch.setattr(console, "out", Console(width=250))
    made = Registry(store)
    (tmp_path / "model.keras").write_bytes(b"weights")
    for number, (status, accuracy) in enumerate(zip(("released", "kept", "refused"), ACCURACIES, strict=True), 1):
        of = {"accuracy": accuracy, "macro": {"f1": 1 - accuracy}}
        reasons = (f"accuracy {accuracy}", f"the decision on {number}")
        registration = signed_registry.registration(number, status=status, metrics=of, reasons=reasons)
        made.register("demo", {"model.keras": tmp_path / "model.keras"}, registration)
    made.register("other", {"model.keras": tmp_path / "model.keras"}, signed_registry.registration())
    made.promote("demo", 1, None)
    return made


def fer(*arguments):
    done = CliRunner(env={"COLUMNS": "250"}).invoke(cli.app, ["models", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def listed(*arguments):
    return [(row["name"], row["version"]) for row in json.loads(fer("list", *arguments, "--json"))]


def test_versions_come_newest_first_or_best_first_and_of_one_model(models):
    assert listed() == [("demo", 3), ("demo", 2), ("demo", 1), ("other", 1)]
    assert listed("demo", "--sort", "accuracy") == [("demo", 2), ("demo", 3), ("demo", 1)]
    assert listed("demo", "--sort", "macro-f1", "--limit", "2") == [("demo", 1), ("demo", 3)]
    assert listed("other") == [("other", 1)]


def test_the_list_says_why_a_version_is_no_champion_and_how_many_are_left_out(models):
    lines = {line.split()[3]: line for line in fer("list", "demo").replace("│", " | ").splitlines() if "demo" in line}
    assert "the decision on 2" in lines["2"]
    assert "accuracy 0.8; the decision on 3" in lines["3"]
    assert "champion" in lines["1"]
    assert "the decision on 1" not in lines["1"]
    assert "1 of 3 versions; --limit 0 shows all." in fer("list", "demo", "--limit", "1")
    moves.rollback(models, "demo", 2, "too [bold]sad")
    assert "too [bold]sad" in fer("list", "demo")


def test_a_model_that_is_not_there_is_said(models):
    assert "There is no version of nobody." in fer("list", "nobody")


def test_the_last_entries_of_the_log_are_enough(models):
    assert [entry["number"] for entry in json.loads(fer("log", "demo", "--limit", "2", "--json"))] == [3, 4]
    shown = fer("log", "demo", "--limit", "1")
    assert "promote version 1" in shown
    assert "register" not in shown
    assert models.log("demo").entries[-1].digest in shown
