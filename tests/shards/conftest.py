import pytest

from fer.shards import checks


@pytest.fixture
def unchecked(monkeypatch):
    """Without the contract's quarter of a second a run; other tests of both stages hold shards against it."""
    monkeypatch.setattr(checks, "check", lambda *_: None)
