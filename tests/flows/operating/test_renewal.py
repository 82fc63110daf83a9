"""The overview in Prefect's UI after a run."""

import httpx
import overviews
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter

from fer.engine.local_workspace import LocalWorkspace
from fer.registry.registry import Registry
from fer.reports.overview import kept
from fer.settings import Settings
from flows.operating import overview, renewal

pytestmark = pytest.mark.usefixtures("prefect_server")


def artifacts(url):
    with SyncPrefectClient(url) as client:
        return client.read_artifacts(artifact_filter=ArtifactFilter.model_validate({"key": {"any_": [renewal.KEY]}}))


def ended(name, error=None):
    @flow(name=name, persist_result=False, **renewal.AFTER_EACH_RUN)
    def body():
        if error is not None:
            raise error

    return body(return_state=True)


def test_one_artifact_is_renewed_after_each_run_however_it_ends(prefect_server, monkeypatch):
    found = iter([overviews.overview(), overviews.overview(runs=[overviews.run("FAILED", message="It broke.")])])
    monkeypatch.setattr(overview, "after_a_run", lambda configured: next(found))
    assert ended("well").is_completed()
    (first,) = artifacts(prefect_server)
    assert "All is well" in first.data
    assert ended("badly", RuntimeError("no")).is_failed()
    (second,) = artifacts(prefect_server)
    assert (second.id, second.type) == (first.id, "markdown")
    assert "It broke." in second.data
    latest = httpx.get(f"{prefect_server}/artifacts/{renewal.KEY}/latest", trust_env=False).json()
    assert "It broke." in latest["data"]


def test_what_goes_wrong_with_the_overview_costs_the_run_nothing(monkeypatch):
    def broken(configured):
        raise OSError("the disk is gone")

    monkeypatch.setattr(overview, "after_a_run", broken)
    assert ended("unharmed").is_completed()


def test_after_a_run_no_store_is_started_and_the_models_are_as_the_run_left_them(store, tmp_path, monkeypatch):
    configured = Settings(home=tmp_path)
    assert overview.after_a_run(configured).registry.models == ()
    kept.keep(tmp_path, Registry(store), LocalWorkspace(tmp_path / "workspace"))
    monkeypatch.setattr(kept.models, "all_standing", lambda *_: overviews.overview().registry)
    kept.keep(tmp_path, Registry(store), LocalWorkspace(tmp_path / "workspace"))
    after = overview.after_a_run(configured)
    assert [model.name for model in after.registry.models] == ["fer2013-cnn"]
    assert after.server.answers
    assert not (tmp_path / "store").exists()
