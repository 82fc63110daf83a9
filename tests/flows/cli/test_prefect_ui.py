"""Where the terminal says that runs are seen."""

import pytest
from prefect.context import use_profile
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_PROFILES_PATH,
    PREFECT_UI_URL,
    Profile,
    load_profiles,
    temporary_settings,
)

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


def test_what_names_the_server_is_named_where_it_does_not_answer(monkeypatch, tmp_path):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    profile = Profile(
        name="team", settings={PREFECT_API_URL: "http://127.0.0.1:9/api"}, source=tmp_path / "profiles.toml"
    )
    with use_profile(profile):
        remedy = prefect_ui.remedy()
        assert (
            f"the Prefect profile 'team' in {tmp_path / 'profiles.toml'}" in prefect_ui.origin(prefect_ui.API_URL).place
        )
    assert "PREFECT_PROFILE=ephemeral" in remedy
    assert f"the Prefect profile 'team' in {tmp_path / 'profiles.toml'}" in remedy
    assert "or unset PREFECT_API_URL" not in remedy
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with use_profile(profile):
        assert "or unset PREFECT_API_URL to use" in prefect_ui.remedy()


@pytest.mark.parametrize("name", prefect_ui.ALLOWS_TEMPORARY)
def test_a_profile_that_forbids_a_temporary_server_is_named_by_any_name_of_the_setting(monkeypatch, tmp_path, name):
    (tmp_path / "profiles.toml").write_text(f'active = "team"\n[profiles.team]\n{name} = "false"\n')
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    with temporary_settings({PREFECT_PROFILES_PATH: tmp_path / "profiles.toml"}):
        profile = load_profiles()["team"]
    with use_profile(profile):
        origin = prefect_ui.origin(prefect_ui.ALLOWS_TEMPORARY)
    assert "the Prefect profile 'team'" in origin.place
    assert origin.name in prefect_ui.ALLOWS_TEMPORARY
