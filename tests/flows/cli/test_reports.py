"""`fer report` as its user meets it."""

import contextlib
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from fer import errors
from fer.registry import releases
from fer.reports import library
from flows.cli import app as cli
from flows.cli import reports


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.delenv("FER_STORE_ENDPOINT", raising=False)
    manifest = SimpleNamespace(name="demo", version=2)
    registry = SimpleNamespace(names=lambda: ("demo",), get=lambda name, which: manifest, store="store")
    monkeypatch.setattr(releases, "open_registry", lambda: contextlib.nullcontext(registry))
    runs = {"a run": library.RunPages(run="a run", run_id="1", name="demo", version=2, top="t", page="p")}
    runs["unfit"] = library.RunPages(run="unfit", run_id="2", top="t", page="quality/quality.html")
    monkeypatch.setattr(library, "of_run", lambda store, run: runs.get(run))
    folder = library.folder_of(tmp_path, "demo", 2)
    folder.mkdir(parents=True)
    (folder / library.PAGE).write_text("page")
    (folder / library.RECORD).write_text('{"release": {"version": 2}}')
    monkeypatch.setattr(library, "of_data", lambda store, home, pages: library.Place(home / pages.page, True))
    return tmp_path


def fer(*arguments):
    done = CliRunner().invoke(cli.app, ["report", *arguments])
    if isinstance(done.exception, errors.FerError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize("which", ["demo", "demo@2", "demo@champion", "a run"])
def test_the_path_of_a_report_is_all_that_is_printed(home, which):
    assert fer(which).stdout.strip() == str(library.folder_of(home, "demo", 2) / "report.html")


def test_a_version_whose_report_is_here_needs_no_store(home, monkeypatch):
    monkeypatch.setattr(releases, "open_registry", lambda: pytest.fail("the store was asked"))
    assert fer("demo@2").stdout.strip().endswith("reports/demo/2/report.html")


def test_a_run_that_ended_before_a_release_has_the_report_of_its_data(home):
    done = fer("unfit")
    assert done.stdout.strip() == str(home / "quality" / "quality.html")
    assert "fetched from the store" in done.stderr


def test_it_is_opened_or_it_is_said_that_no_browser_is_there(home, monkeypatch):
    opened = []
    monkeypatch.setattr(reports.webbrowser, "open", lambda address: not opened.append(address))
    assert "No browser" not in fer("demo", "--open").output
    assert opened == [(library.folder_of(home, "demo", 2) / "report.html").as_uri()]
    monkeypatch.setattr(reports.webbrowser, "open", lambda _: False)
    assert "No browser was found" in fer("demo", "--open").stderr


def test_what_the_page_was_made_of_is_printed_as_json(home):
    assert json.loads(fer("demo", "--json").stdout)["release"]["version"] == 2


def test_what_is_neither_a_model_nor_a_run_is_refused(home):
    with pytest.raises(errors.ConfigError, match="nothing-such, which is neither; the models are demo"):
        fer("nothing-such")
