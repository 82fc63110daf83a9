"""`fer logs`."""

import json
import uuid

import pytest
from prefect import flow, get_run_logger
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from shell import fer_here

from flows.cli import prefect_home

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def named(monkeypatch):
    """The name of a run whose log has a key and control characters in it."""
    name = f"run {uuid.uuid4()}"

    @flow(flow_run_name=name, persist_result=False)
    def body():
        get_run_logger().warning("[bold]at\x1b[31m work\ntoken=s3cret-s3cret")

    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        body()
        APILogWorker.drain_all()
    monkeypatch.setattr(prefect_home, "ensure", lambda home: None)
    return name


def test_people_see_a_runs_lines_without_keys_and_what_would_shape_the_terminal(named, tmp_path, capsys):
    answer = fer_here("logs", named, home=tmp_path, capsys=capsys)
    assert answer.returncode == 0
    assert "WARNING [bold]at\\u001b[31m work\ntoken=…" in answer.stdout
    assert named in answer.stderr


def test_programs_get_an_object_a_line(named, tmp_path, capsys):
    answer = fer_here("logs", named, "--json", home=tmp_path, capsys=capsys)
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    (line,) = [line for line in lines if line["level"] == "warning"]
    assert line["message"] == "[bold]at\x1b[31m work\ntoken=…"


def test_a_run_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prefect_home, "ensure", lambda home: None)
    answer = fer_here("logs", "no such", home=tmp_path, capsys=capsys)
    assert answer.returncode == 2
    assert "fer logs latest" in answer.stderr
