"""Prefect's temporary server: that it starts, or why it does not."""

import contextlib
import os
import subprocess
import sys
import time

import pytest
from prefect.context import use_profile
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    Profile,
    temporary_settings,
)

from fer import errors
from flows.cli import guard, prefect_ui, temporary_server

TRACEBACK = """
import sys
print("Traceback (most recent call last):", file=sys.stderr)
print("sqlite3.OperationalError: unable to open database file", file=sys.stderr)
print("ERROR:    Application startup failed. Exiting.", file=sys.stderr)
sys.exit(3)
"""
TAKEN = """
import sys
print("ERROR:    [Errno 98] error while attempting to bind on address: address already in use", file=sys.stderr)
sys.exit(1)
"""
SERVES = """
import http.server, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""


@pytest.fixture(autouse=True)
def _no_installation(monkeypatch, tmp_path):
    """None whose server would be asked."""
    monkeypatch.setenv("FER_HOME", str(tmp_path))


@pytest.fixture
def started(monkeypatch):
    """Start processes of these codes, one for each attempt, in the server's place."""

    def run(*codes: str, within_s: int = 60) -> temporary_server.Server:
        left = list(codes)

        def launch(port, environment, log):
            return subprocess.Popen([sys.executable, "-S", "-c", left.pop(0), str(port)], stderr=log)

        monkeypatch.setattr(temporary_server, "_run_uvicorn", launch)
        monkeypatch.setattr(temporary_server, "_running", [])
        monkeypatch.delenv("PREFECT_API_URL", raising=False)
        monkeypatch.setattr(guard, "start", lambda: None)  # else what this process starts later would bear a mark
        own = {PREFECT_SERVER_EPHEMERAL_ENABLED: True, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: within_s}
        entered.enter_context(temporary_settings(own, restore_defaults={PREFECT_API_URL}))
        server = temporary_server.start()
        assert left == []
        return server

    with contextlib.ExitStack() as entered:
        yield run


def test_a_server_that_ends_is_told_at_once_with_what_it_said(started, capfd):
    began = time.monotonic()
    with pytest.raises(errors.PrefectUnavailable, match="unable to open database file") as caught:
        started(TRACEBACK)
    assert time.monotonic() - began < 30
    assert "exit code 3" in str(caught.value)
    assert "PREFECT_HOME" in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def test_a_server_that_never_answers_is_given_up_and_ended(started):
    with pytest.raises(errors.PrefectUnavailable, match="no answer in 2 s"):
        started("import time; time.sleep(60)", within_s=2)


def test_a_port_that_is_taken_is_replaced_by_another(started):
    server = started(TAKEN, SERVES)
    assert temporary_server.process().poll() is None
    server.stop()
    assert temporary_server.process() is None


def test_prefect_asks_the_server_until_it_is_ended_and_knows_of_no_ui_there(started):
    server = started(SERVES)
    assert os.environ["PREFECT_API_URL"].startswith("http://127.0.0.1:")
    with use_profile(Profile(name="bare", settings={})):  # the environment's settings, whatever the tests' server
        assert prefect_ui.where() == prefect_ui.start_command()
    server.stop()
    assert "PREFECT_API_URL" not in os.environ


@pytest.mark.slow
def test_a_command_imports_nothing_of_prefects_server():
    code = "import sys; from flows import retrain; from flows.cli import temporary_server; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in modules if name.startswith("prefect.server")]


def test_where_a_temporary_server_is_forbidden_what_forbids_it_is_named(monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "false")
    with (
        temporary_settings({PREFECT_SERVER_EPHEMERAL_ENABLED: False}, restore_defaults={PREFECT_API_URL}),
        pytest.raises(errors.ConfigError, match="PREFECT_SERVER_ALLOW_EPHEMERAL_MODE") as caught,
    ):
        temporary_server.start()
    assert "the environment" in str(caught.value)
    assert "PREFECT_API_URL" in str(caught.value)


def test_a_server_that_is_configured_is_left_to_answer():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert temporary_server.start() is None
