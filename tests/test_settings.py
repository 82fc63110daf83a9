from pathlib import Path

import pytest

from fer import errors
from fer.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FER_{name.upper()}", raising=False)


def test_nothing_needs_to_be_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert settings.home == tmp_path.resolve() / ".fer"
    assert settings.workspace == tmp_path.resolve() / ".fer" / "workspace"
    assert settings.store_endpoint is None
    assert all(setting.is_default and setting.description for setting in settings.described())


def test_variables_are_read_and_empty_ones_are_not(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FER_STORE_ENDPOINT", "https://s3.example.org/")
    monkeypatch.setenv("FER_STORE_PREFIX", "/team/faces/")
    monkeypatch.setenv("FER_STORE_BUCKET", "")
    settings = Settings.load()
    assert settings.workspace == tmp_path.resolve() / "home" / "workspace"
    assert settings.store_endpoint == "https://s3.example.org"
    assert settings.store_prefix == "team/faces"
    assert settings.store_bucket == "fer-models"
    assert [setting.variable for setting in settings.described() if not setting.is_default] == [
        "FER_HOME",
        "FER_STORE_ENDPOINT",
        "FER_STORE_PREFIX",
    ]


def test_a_workspace_elsewhere_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_WORKSPACE", str(tmp_path / "large-disk"))
    assert Settings.load().workspace == Path(tmp_path / "large-disk").resolve()


def test_a_workspace_in_the_store_has_a_folder_of_its_own_here(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    folders = [Settings.load().workspace_folder]
    for workspace, endpoint in [
        ("s3://bucket/faces/", ""),
        ("s3://bucket", ""),
        ("s3://bucket/faces", "http://example.org"),
    ]:
        monkeypatch.setenv("FER_WORKSPACE", workspace)
        monkeypatch.setenv("FER_STORE_ENDPOINT", endpoint)
        folders.append(Settings.load().workspace_folder)
    assert folders[0] == tmp_path.resolve() / "workspace"
    assert len(set(folders)) == 4
    assert all(tmp_path.resolve() in folder.parents for folder in folders)
    assert Settings.load().remote_workspace == ("bucket", "faces")
    assert Settings.load().workspace == "s3://bucket/faces"


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().store_bucket = "other"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FER_HOME", "s3://bucket/home"),
        ("FER_WORKSPACE", "s3://"),
        ("FER_WORKSPACE", "s3://Bucket/faces"),
        ("FER_WORKSPACE", "s3://bucket/a/../b"),
        ("FER_WORKSPACE", "gs://bucket/faces"),
        ("FER_STORE_ENDPOINT", "s3.example.org"),
        ("FER_STORE_ENDPOINT", "ftp://example.org"),
        ("FER_STORE_ENDPOINT", "http://example.org:port"),
        ("FER_STORE_ENDPOINT", "http://example.org/a b"),
        ("FER_STORE_ENDPOINT", "http://example.org/s3?x=1"),
        ("FER_STORE_BUCKET", "Models"),
        ("FER_STORE_BUCKET", "a..b"),
        ("FER_STORE_PREFIX", "a/../b"),
        ("FER_STORE_ACCESS_KEY_ID", "a key without its secret"),
    ],
)
def test_a_bad_value_is_refused_by_its_variables_name(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(errors.ConfigError, match=variable) as caught:
        Settings.load()
    assert str(caught.value).count("FER_") <= 2


def test_no_secret_is_ever_shown(monkeypatch):
    monkeypatch.setenv("FER_STORE_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("FER_STORE_SECRET_ACCESS_KEY", "hunter2")
    settings = Settings.load()
    assert settings.store_secret_access_key is not None
    assert settings.store_secret_access_key.get_secret_value() == "hunter2"
    assert "hunter2" not in f"{settings!r} {settings} {settings.described()} {settings.model_dump_json()}"

    monkeypatch.setenv("FER_STORE_ENDPOINT", "https://me:hunter2@example.org")
    with pytest.raises(errors.ConfigError, match="FER_STORE_ENDPOINT") as caught:
        Settings.load()
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_a_secret_without_its_key_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("FER_STORE_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(errors.ConfigError, match="both or neither") as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)


def test_what_only_reads_needs_a_home_or_a_store_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.ConfigError, match="cd to the folder") as caught:
        Settings.load().require_home()
    assert str(tmp_path.resolve() / ".fer") in str(caught.value)
    monkeypatch.setenv("FER_STORE_ENDPOINT", "https://s3.example.org")
    Settings.load().require_home()
    monkeypatch.delenv("FER_STORE_ENDPOINT")
    (tmp_path / ".fer").mkdir()
    Settings.load().require_home()
