"""Housekeeping as a run in Prefect."""

import pytest
import registrations

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.registry import trial
from flows import gc

pytestmark = pytest.mark.usefixtures("prefect_server")

NOTHING_STAYS = {"older_than_days": 0, "keep_last": 0, "grace_hours": 0}


@pytest.fixture
def workspace(store, store_settings, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.setenv("FER_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.delenv("FER_STORE_ENDPOINT", raising=False)
    monkeypatch.setattr(trial, "run", lambda *_, **__: trial.Trial())
    return LocalWorkspace(tmp_path / "workspace")


def test_a_run_removes_what_nothing_needs_says_so_and_fails_where_what_is_needed_is_not_whole(workspace):
    champion, refused = (
        registrations.parts(workspace, weights=letter * 64, passed=letter == "a") for letter in ("a", "b")
    )
    for refs in (champion, refused):
        registrations.register(workspace, refs, registrations.state_for(workspace, refs[1]))
    assert "would go" in gc.gc(**NOTHING_STAYS, delete=False).sentence
    assert workspace.record("train", "b" * 64) is not None
    done = gc.gc(**NOTHING_STAYS)
    assert done.n_gone > 0
    assert "all whole" in done.sentence
    assert workspace.record("train", "a" * 64) is not None
    assert workspace.record("train", "b" * 64) is None
    (workspace.root / champion[1].path / "model.keras").write_bytes(b"other")
    with pytest.raises(errors.IntegrityError, match="What is needed must be whole"):
        gc.gc(**NOTHING_STAYS)
