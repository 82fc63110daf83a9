"""Resolving a source: begun, ended, and with whose key."""

from types import SimpleNamespace

import pytest

from fer import errors
from fer.ingest.demo import archive as demo_archive
from tasks import events, ingest


@pytest.fixture
def heard():
    happened: list[events.Event] = []
    with events.heard_by(happened.append):
        yield happened


def test_resolving_a_source_is_a_stage_that_one_sees_begin_and_end(heard):
    assert ingest.resolve.fn("demo", demo_archive.DemoConfig()).identity.startswith("demo:")
    assert heard == [events.Started("resolve"), events.Over("resolve")]


@pytest.mark.parametrize(
    ("content", "message"),
    [(ValueError("no such block"), "'kagle'"), ("{not json", "'kagle'"), ('{"username": "me"}', "kaggle.json")],
)
def test_a_secret_block_that_is_not_there_or_holds_no_key_is_named(monkeypatch, content, message):
    def load(name):
        if isinstance(content, Exception):
            raise content
        return SimpleNamespace(get=lambda: content)

    monkeypatch.setattr(ingest.Secret, "load", load)
    with pytest.raises(errors.ConfigError, match=message) as caught:
        ingest.resolve.fn("demo", demo_archive.DemoConfig(), "kagle")
    assert "Next:" in str(caught.value)
