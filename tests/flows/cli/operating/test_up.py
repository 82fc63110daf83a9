"""`fer up` and `fer down`: what they refuse, before anything is started."""

import socket

import pytest
from shell import fer_here

from flows.operating import installation
from flows.operating.installation import Installation


@pytest.fixture
def up(tmp_path, capsys, monkeypatch):
    """`fer up` with these options, where nothing can be started."""

    def started(*arguments: object) -> None:
        raise AssertionError("nothing is to be started")

    monkeypatch.setattr("flows.operating.services.start", started)
    monkeypatch.setattr("fer.engine.store.seaweedfs.up", started)
    return lambda *options, **environment: fer_here("up", *options, home=tmp_path, capsys=capsys, **environment)


def test_a_server_for_others_is_refused_without_a_password(up, tmp_path):
    refused = up("--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "PREFECT_SERVER_API_AUTH_STRING=USER:PASSWORD" in refused.stderr
    assert installation.load(tmp_path / "fer") is None


def test_a_port_that_another_program_has_is_named(up):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = up("--port", port)
    assert refused.returncode == 2
    assert port in refused.stderr
    assert "fer up --port" in refused.stderr


def test_an_option_that_is_not_valid_is_named(up):
    refused = up("--workers", "-1")
    assert refused.returncode == 2
    assert "--workers" in refused.stderr


def test_what_runs_keeps_its_options_and_no_secret_is_shown(up, tmp_path, monkeypatch):
    home = tmp_path / "fer"
    installation.folder(home).mkdir(parents=True)
    installation.save(home, Installation(prefect_home=tmp_path / ".prefect", port=4871))
    monkeypatch.setattr("flows.operating.services.is_running", lambda home, name: True)
    refused = up("--port", "4872", PREFECT_SERVER_DATABASE_CONNECTION_URL="postgresql+asyncpg://a:s3cret@db/runs")
    assert refused.returncode == 2
    assert "--port: 4871 → 4872" in refused.stderr
    assert "PREFECT_SERVER_DATABASE_CONNECTION_URL" in refused.stderr
    assert "s3cret" not in refused.stderr
    assert "fer down" in refused.stderr


def test_where_there_is_no_installation_nothing_is_ended(tmp_path, capsys):
    done = fer_here("down", home=tmp_path, capsys=capsys)
    assert done.returncode == 0
    assert "no installation" in done.stdout


def test_the_ui_of_a_running_installation_is_named(tmp_path, capsys, monkeypatch):
    home = tmp_path / "fer"
    installation.folder(home).mkdir(parents=True)
    installation.save(home, Installation(prefect_home=tmp_path, port=4871))
    monkeypatch.setattr("flows.operating.services.is_running", lambda home, name: True)
    done = fer_here("ui", home=tmp_path, capsys=capsys)
    assert done.returncode == 0
    assert "http://127.0.0.1:4871" in done.stdout
