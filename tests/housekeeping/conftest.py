import pytest

from fer import settings
from fer.engine import connect
from fer.registry import registry, trial


@pytest.fixture
def configured(store, store_settings, tmp_path, monkeypatch):
    """Settings of an installation of the test's own: an empty home, and an empty registry in the session's store."""
    endpoint, credentials = connect.running_store(store_settings).endpoint, store._credentials
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.setenv("FER_STORE_ENDPOINT", endpoint)
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.setenv("FER_STORE_ACCESS_KEY_ID", credentials.access_key_id)
    monkeypatch.setenv("FER_STORE_SECRET_ACCESS_KEY", credentials.secret_access_key.get_secret_value())
    monkeypatch.setattr(trial, "run", lambda *_, **__: trial.Trial())  # the models here are a few bytes each
    return settings.Settings.load()


@pytest.fixture
def models(store, configured):
    """Its registry."""
    return registry.Registry(store)
