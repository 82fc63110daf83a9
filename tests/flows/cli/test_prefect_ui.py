"""Where the terminal says that runs are seen."""

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from flows.cli import prefect_ui


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The package as a wheel installs it: without a Makefile above it."""
    monkeypatch.setattr(prefect_ui, "_MAKEFILE", tmp_path / "Makefile")


def test_without_a_server_the_command_that_serves_the_ui_is_named():
    with temporary_settings(restore_defaults={PREFECT_API_URL, PREFECT_UI_URL}):
        assert prefect_ui.where() == "make ui"


def test_outside_a_checkout_there_is_no_make(installed):
    with temporary_settings(restore_defaults={PREFECT_API_URL, PREFECT_UI_URL}):
        assert prefect_ui.where() == "fer ui"
    assert "start it (fer ui)" in prefect_ui.remedy()


def test_a_server_that_is_configured_is_named_by_its_own_address_without_a_password():
    with temporary_settings({PREFECT_API_URL: "http://ann:s3cret@prefect.example:4200/api"}):
        assert prefect_ui.where() == "http://prefect.example:4200"
