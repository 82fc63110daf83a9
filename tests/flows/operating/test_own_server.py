"""Which server a command asks: the configured one, else the installation's, else none."""

import os

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.operating import installation, own_server, services
from flows.operating.installation import Installation


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A home whose installation's server runs."""
    installation.folder(tmp_path).mkdir()
    installation.save(tmp_path, Installation(prefect_home=tmp_path, port=4871))
    installation.save_settings(tmp_path, {installation.PASSWORD: "ann:s3cret"})
    monkeypatch.setattr(services, "is_running", lambda home, name: name == installation.SERVER)
    monkeypatch.setattr(services, "answers", lambda asked: True)
    monkeypatch.setattr(own_server.context, "refresh_global_settings_context", lambda: None)
    monkeypatch.setattr(own_server, "_used", [])
    with pytest.MonkeyPatch.context() as patch, temporary_settings(restore_defaults={PREFECT_API_URL}):
        for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
            patch.setenv(name, "")  # and as it was after the test
            patch.delenv(name)
        yield tmp_path


def test_the_installation_s_server_is_asked_with_its_password(running):
    assert own_server.use(running)
    assert own_server.is_used()
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:4871/api"
    assert os.environ["PREFECT_API_AUTH_STRING"] == "ann:s3cret"


def test_a_server_that_is_configured_goes_before_it(running):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert own_server.use(running)
    assert not own_server.is_used()
    assert "PREFECT_API_URL" not in os.environ


def test_where_it_is_configured_as_prefect_s_server_its_password_is_known(running):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4871/api/"}):
        assert own_server.use(running)
    assert os.environ["PREFECT_API_AUTH_STRING"] == "ann:s3cret"


def test_where_none_runs_there_is_none(running, monkeypatch):
    monkeypatch.setattr(services, "is_running", lambda home, name: False)
    assert not own_server.use(running)
    assert not own_server.use(running / "empty")


def test_one_that_does_not_answer_is_said(running, monkeypatch):
    from fer import errors

    monkeypatch.setattr(services, "answers", lambda asked: False)
    with pytest.raises(errors.PrefectUnavailable, match="fer down"):
        own_server.use(running, patience_s=0)
