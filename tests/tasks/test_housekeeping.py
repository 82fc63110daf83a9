"""Housekeeping as a run in Prefect."""

import pytest
import registrations
from prefect import flow, get_client
from prefect.states import Completed, Pending, Running

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.registry import trial
from flows import gc
from tasks import housekeeping

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


def test_releases_that_runs_at_work_name_are_found_in_their_parameters(monkeypatch):
    @flow
    def any_flow(model: str = "", name: str = "", version: int = 0): ...

    monkeypatch.setattr(housekeeping, "_PAGE", 2)
    mine = {"pinned-by-run@7", "other-name@8", "third-one@9"}
    with get_client(sync_client=True) as client:
        for parameters, state in (
            ({"model": "pinned-by-run@7"}, Running()),
            ({"name": "other-name", "version": 8}, Pending()),
            ({"model": "s3://x third-one@9"}, Running()),
            ({"model": "of-the-past@3"}, Completed()),
        ):
            client.create_flow_run(any_flow, parameters=parameters, state=state)
    named = housekeeping.named_by_runs()
    assert mine <= named
    assert "of-the-past@3" not in named
