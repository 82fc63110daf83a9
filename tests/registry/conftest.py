import pytest

from fer.engine.local_workspace import LocalWorkspace
from fer.registry import registry, trial


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path / "workspace")


@pytest.fixture
def models(store, store_settings, monkeypatch):
    """The registry in a store of the test's own, which `fer.registry.releases` opens too."""
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.delenv("FER_STORE_ENDPOINT", raising=False)
    monkeypatch.setattr(trial, "run", lambda *_, **__: trial.Trial())  # the models here are a few bytes each
    return registry.Registry(store)
