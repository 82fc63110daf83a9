import os

import pytest

from fer import errors
from fer.housekeeping import budget
from fer.settings import Settings
from flows.cli import doctor
from tasks import registry


def configured(tmp_path, budget_bytes):
    """An installation that takes 1,000 bytes, a file of it twice named."""
    (tmp_path / "workspace" / "stage").mkdir(parents=True, exist_ok=True)
    file = tmp_path / "workspace" / "stage" / "a"
    if not file.exists():
        file.write_bytes(b"x" * 1_000)
        os.link(file, tmp_path / "workspace" / "b")
    return Settings(home=tmp_path, disk_budget_bytes=budget_bytes)


def test_without_a_budget_nothing_is_said(tmp_path):
    assert budget.look(configured(tmp_path, None)) is None
    assert budget.require(configured(tmp_path, None)) == ""


def test_a_run_is_warned_from_four_fifths_on_and_does_not_begin_beyond_the_budget(tmp_path):
    assert budget.require(configured(tmp_path, 1_300)) == ""
    assert "(80%); at 100 % no run begins" in budget.require(configured(tmp_path, 1_250))
    with pytest.raises(errors.WorkspaceError, match=r"within the disk budget.*fer gc"):
        budget.require(configured(tmp_path, 1_000))


def test_a_run_says_the_warning_and_stops(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(registry.caching, "say", said.append)
    registry.require_room(configured(tmp_path, 1_300))
    registry.require_room(configured(tmp_path, 1_200))
    assert len(said) == 1
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.setenv("FER_DISK_BUDGET_BYTES", "900")
    with pytest.raises(errors.WorkspaceError), registry.store_in_reach():
        pass
    with pytest.raises(errors.WorkspaceError), registry.workspace_in_reach():
        pass


def test_a_champion_is_moved_without_room(tmp_path, monkeypatch):
    class Reached(Exception):
        pass

    def store(_):
        raise Reached

    configured(tmp_path, 900)
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.setenv("FER_DISK_BUDGET_BYTES", "900")
    monkeypatch.setattr(registry.connect, "store", store)
    with pytest.raises(Reached), registry.store_in_reach(makes_outputs=False):
        pass


@pytest.mark.parametrize(("budget_bytes", "level"), [(2_000, "ok"), (1_200, "warn"), (1_000, "fail")])
def test_doctor_says_how_much_is_used(tmp_path, budget_bytes, level):
    [finding] = doctor._disk_budget(configured(tmp_path, budget_bytes))
    assert (finding.level, finding.subject) == (level, "disk budget")
    assert doctor._disk_budget(configured(tmp_path, None)) == []
