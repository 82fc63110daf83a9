"""Where Prefect's database goes."""

import pytest

from fer import errors
from flows.cli import prefect_home


@pytest.fixture(autouse=True)
def user_home(monkeypatch, tmp_path):
    """A home folder without anything, and no settings of Prefect's."""
    for name in ("PREFECT_HOME", "PREFECT_PROFILES_PATH"):
        monkeypatch.setenv(name, "")  # so that what the test sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return tmp_path / "user"


def test_a_home_that_can_be_written_is_kept(monkeypatch, tmp_path, user_home):
    assert prefect_home.ensure(tmp_path / "fer") is None
    assert "PREFECT_HOME" not in prefect_home.os.environ
    assert (user_home / ".prefect").is_dir()


def test_the_parents_of_a_home_are_made(monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "no" / "parents" / "prefect"))
    assert prefect_home.ensure(tmp_path / "fer") is None
    assert (tmp_path / "no" / "parents" / "prefect").is_dir()


def test_a_home_that_can_not_be_made_is_replaced_by_one_of_ours(monkeypatch, tmp_path, user_home):
    user_home.write_text("no folder")
    assert str(user_home) in prefect_home.ensure(tmp_path / "fer")
    assert prefect_home.os.environ["PREFECT_HOME"] == str(tmp_path / "fer" / "prefect")
    assert (tmp_path / "fer" / "prefect").is_dir()
    assert "PREFECT_PROFILES_PATH" not in prefect_home.os.environ


@pytest.mark.parametrize("read_only", [".prefect", ".prefect/prefect.db"])
def test_profiles_of_a_home_that_can_not_be_written_still_hold(monkeypatch, tmp_path, user_home, read_only):
    (user_home / ".prefect").mkdir(parents=True)
    for name in ("profiles.toml", "prefect.db"):
        (user_home / ".prefect" / name).touch()
    monkeypatch.setattr(prefect_home.os, "access", lambda path, mode: path != user_home / read_only)
    assert f"{user_home / read_only} can't be written" in prefect_home.ensure(tmp_path / "fer")
    assert prefect_home.os.environ["PREFECT_HOME"] == str(tmp_path / "fer" / "prefect")
    assert prefect_home.os.environ["PREFECT_PROFILES_PATH"] == str(user_home / ".prefect" / "profiles.toml")


def test_without_any_home_folder_ours_takes_its_place(monkeypatch, tmp_path):
    def no_home(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(prefect_home.Path, "home", no_home)
    assert prefect_home.ensure(tmp_path / "fer") is not None
    assert prefect_home.os.environ["HOME"] == str(tmp_path / "fer")
    assert prefect_home.os.environ["PREFECT_HOME"] == str(tmp_path / "fer" / "prefect")


def test_where_nothing_can_be_written_both_folders_are_named(tmp_path, user_home):
    user_home.write_text("no folder")
    (tmp_path / "fer").write_text("no folder either")
    with pytest.raises(errors.WorkspaceError) as caught:
        prefect_home.ensure(tmp_path / "fer")
    assert str(user_home / ".prefect") in str(caught.value)
    assert str(tmp_path / "fer" / "prefect") in str(caught.value)
