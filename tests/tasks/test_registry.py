"""A run's store: waited for where it was of use before, and only then."""

from types import SimpleNamespace

import pytest

from fer import errors
from fer.engine import connect
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.store import probing
from fer.engine.store.objectstore import ObjectStore
from fer.evaluation.refs import ChampionState
from fer.registry.register import Candidate
from fer.settings import Settings
from tasks import registry
from tasks.planning import walks
from tasks.runs import events

AWAY = errors.StoreUnavailable("The store must answer.", received="nothing", todo="see that it runs")


@pytest.fixture
def configured(tmp_path):
    return Settings(home=tmp_path, store_endpoint="http://127.0.0.1:9")


@pytest.fixture
def waited(monkeypatch):
    """The seconds that were waited, which take none."""
    seconds: list[float] = []
    monkeypatch.setattr(registry, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


@pytest.fixture
def heard():
    happened: list[events.Event] = []
    with events.heard_by(happened.append):
        yield happened


def answering(configured, monkeypatch, *answers):
    """The store of these settings, whose pings are answered so, and then well."""
    store = ObjectStore(configured.store_endpoint, configured.store_bucket, prefix=configured.store_prefix)
    coming = list(answers)

    def ping():
        if coming:
            raise coming.pop(0)

    monkeypatch.setattr(store, "ping", ping)
    monkeypatch.setattr(probing, "require", lambda _: None)
    return store


def was_of_use(configured, store):
    probing.require_once(store, configured.home / "probed-stores")
    assert connect.was_of_use(configured, store)


def test_a_store_that_was_of_use_before_is_waited_for_and_that_is_said(configured, waited, heard, monkeypatch):
    store = answering(configured, monkeypatch, AWAY, AWAY, AWAY)
    was_of_use(configured, store)
    registry.require_usable(store, configured)
    assert waited == [2.0, 4.0, 8.0]
    assert heard == [events.Retrying("store", "The store must answer. Received: nothing.", wait_s) for wait_s in waited]


def test_a_store_that_stays_away_is_given_up_after_a_minute(configured, waited, monkeypatch):
    store = answering(configured, monkeypatch, *[AWAY] * 99)
    was_of_use(configured, store)
    with pytest.raises(errors.StoreUnavailable):
        registry.require_usable(store, configured)
    assert sum(waited) == 62


def test_a_store_that_never_was_there_is_not_waited_for(configured, waited, monkeypatch):
    with pytest.raises(errors.StoreUnavailable):
        registry.require_usable(answering(configured, monkeypatch, AWAY), configured)
    elsewhere = answering(configured, monkeypatch, AWAY)
    was_of_use(configured, elsewhere)
    other = configured.model_copy(update={"store_bucket": "other"})
    with pytest.raises(errors.StoreUnavailable):
        registry.require_usable(answering(other, monkeypatch, AWAY), other)
    assert waited == []


def test_a_store_that_refuses_is_not_waited_for(configured, waited, monkeypatch):
    store = answering(configured, monkeypatch, errors.StoreRefused("No."))
    was_of_use(configured, store)
    with pytest.raises(errors.StoreRefused):
        registry.require_usable(store, configured)
    assert waited == []


def test_a_plan_knows_which_model_is_to_be_registered(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    walk = walks.Walk(LocalWorkspace(tmp_path / "workspace"))
    with walks.walking(walk):
        registry.register(walks.blank(Candidate, name="faces"), walks.blank(ChampionState))
    assert [(step.name, step.model) for step in walk.steps] == [("register", "faces")]
