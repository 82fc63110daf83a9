"""`fer status`: for people, for programs, as a page; its exit code is for cron."""

import json

import overviews
import pytest
import shown_pages
from shell import fer_here

from fer.reports.overview.document import Server
from flows.cli import prefect_home
from flows.operating import overview as overviews_of
from flows.operating import server_state


@pytest.fixture
def status(tmp_path, capsys, monkeypatch):
    """Run `fer status` on an overview."""

    def run(found, *arguments):
        monkeypatch.setattr(overviews_of, "collect", lambda configured: found)
        monkeypatch.setattr(prefect_home, "ensure", lambda home: None)
        return fer_here("status", *arguments, home=tmp_path, capsys=capsys)

    return run


def test_where_all_is_well_it_ends_with_0_and_says_so_last(status):
    answer = status(overviews.overview())
    assert answer.returncode == 0
    assert answer.stdout.strip().endswith("All is well")
    order = [answer.stdout.index(f"\n{heading}\n") for heading in ("processes", "models", "runs", "next", "disk")]
    assert order == sorted(order)
    for shown in ("worker of fer", "accuracy 0.662 (0.646 to 0.678)", "version 4", "120 new", "4 verdicts of at most"):
        assert shown in answer.stdout


def test_where_something_needs_a_person_it_ends_with_12_and_says_what_to_do(status):
    answer = status(overviews.overview(runs=[overviews.run("FAILED", message="It [bold]broke\x1b[31m.\nmore")]))
    assert answer.returncode == 12
    assert "One thing needs a person" in answer.stdout
    assert "It [bold]broke\\u001b[31m." in answer.stdout
    assert answer.stdout.index("→ fer logs") > answer.stdout.index("disk")


def test_programs_get_the_whole_document(status):
    answer = status(overviews.overview(free_gb=0.1), "--json")
    assert answer.returncode == 12
    document = json.loads(answer.stdout)
    assert [matter["subject"] for matter in document["needs"]] == ["disk"]
    assert document["registry"]["models"][0]["champion"]["accuracy_interval"] == [0.6465, 0.6777]


@pytest.mark.parametrize("file", [(), ("page/overview.html",)])
def test_the_page_is_written_where_it_is_wanted(status, tmp_path, file):
    answer = status(overviews.overview(), "--html", *file)
    path = tmp_path.joinpath(*file) if file else tmp_path / "fer/reports/overview.html"
    assert answer.returncode == 0
    assert answer.stdout.strip().endswith(str(file[0] if file else path))
    assert "All is well" in shown_pages.Page(path.read_text()).text


@pytest.mark.parametrize("file", [(), ("fer.prom",)])
def test_metrics_are_printed_or_written_and_a_need_is_no_failure_of_them(status, tmp_path, file, monkeypatch):
    monkeypatch.setattr(server_state, "stage_runs", tuple)
    answer = status(overviews.overview(free_gb=0.1), "--prometheus", *file)
    assert answer.returncode == 0
    text = (tmp_path / "fer.prom").read_text() if file else answer.stdout
    assert 'fer_needs_person{level="stop"} 1.0' in text


def test_two_forms_at_once_are_refused(status):
    assert status(overviews.overview(), "--html", "--json").returncode == 2


def test_a_file_without_html_is_refused(status):
    assert status(overviews.overview(), "overview.html").returncode == 2


def test_before_anything_was_made_nothing_is_made_and_nothing_needs_a_person(tmp_path, capsys, monkeypatch):
    without = Server(problem="no server is configured")
    monkeypatch.setattr(overviews_of.server_state, "read", lambda: without)  # the tests' own may be
    answer = fer_here("status", home=tmp_path, capsys=capsys)
    assert answer.returncode == 0, answer.stdout
    assert "no server is configured" in answer.stdout
    assert "fer retrain" in answer.stdout
    assert not (tmp_path / "fer").exists()
