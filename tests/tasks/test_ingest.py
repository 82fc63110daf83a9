"""Resolving a source: begun, ended, and with whose key."""

import time
import traceback
from types import SimpleNamespace

import kaggle_server
import pytest
from kaggle_server import Fault

from fer import errors
from fer.ingest.demo import archive as demo_archive
from tasks import caching, ingest
from tasks.runs import events


@pytest.fixture
def heard():
    happened: list[events.Event] = []
    with events.heard_by(happened.append):
        yield happened


def test_resolving_a_source_is_a_stage_that_one_sees_begin_and_end(heard):
    assert ingest.resolve.fn("demo", demo_archive.DemoConfig()).identity.startswith("demo:")
    assert heard == [events.Started("resolve"), events.Over("resolve")]


@pytest.mark.parametrize("key", ["0123456789abcdef0123456789abcdef", "KGAT_c0ffeec0ffeec0ffeec0ffeec0ffee00"])
def test_a_key_in_the_place_of_a_blocks_name_is_neither_looked_for_nor_shown(monkeypatch, key):
    monkeypatch.setattr(ingest.Secret, "load", lambda name: pytest.fail("asked of the server"))
    with pytest.raises(errors.ConfigError, match="block") as caught:
        ingest.resolve.fn("demo", demo_archive.DemoConfig(), key)
    assert key not in str(caught.value)


def test_a_block_that_holds_something_else_is_not_shown(monkeypatch):
    monkeypatch.setattr(ingest.Secret, "load", lambda name: SimpleNamespace(get=lambda: '{"username": "hunter2"}'))
    with pytest.raises(errors.ConfigError) as caught:
        ingest.resolve.fn("demo", demo_archive.DemoConfig(), "kagle")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


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


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_HOME", str(tmp_path / "home"))
    # A bar in Prefect's UI needs a run.
    monkeypatch.setattr(ingest.stages, "run", lambda stage, *inputs: stage(*inputs, workspace=caching.workspace()))
    with kaggle_server.serving() as server:
        kaggle_server.point_here(monkeypatch, server.url, str(tmp_path))
        server.datasets["owner/faces"] = [kaggle_server.zip_of({"happy/1.png": b"one"})]
        yield server


def resolve(source="kaggle:owner/faces"):
    return ingest.resolve.fn(source, demo_archive.DemoConfig())


def test_a_rate_limit_is_waited_for_as_long_as_kaggle_asks_and_announced(server, heard):
    server.faults = [Fault("get", status=429, retry_after="2")]
    begun = time.monotonic()
    assert resolve().identity == "kaggle:owner/faces/versions/1"
    assert 2 <= time.monotonic() - begun < 20
    (retrying,) = (event for event in heard if isinstance(event, events.Retrying))
    assert (retrying.name, retrying.wait_s) == ("resolve", 2)
    assert "rate limit" in retrying.reason
    assert server.kinds() == ["get", "get"]


def test_a_download_waits_too_and_then_goes_on(server, heard):
    resolved = resolve()
    server.faults = [Fault("blob", status=503, retry_after="1")]
    assert ingest.download.fn(resolved).n_files == 1
    assert [event.name for event in heard if isinstance(event, events.Retrying)] == ["download"]


def test_a_rate_limit_beyond_the_setting_ends_the_run_at_once_with_what_to_do(server, heard, monkeypatch):
    monkeypatch.setenv("FER_KAGGLE_WAIT_S", "60")
    server.faults = [Fault("get", status=429, retry_after="1800")]
    with pytest.raises(errors.KaggleUnavailable, match=r"again after that time; or .*FER_KAGGLE_WAIT_S=1800 \(now 60"):
        resolve()
    assert server.kinds() == ["get"]
    assert not any(isinstance(event, events.Retrying) for event in heard)


def test_waits_count_together(server, heard, monkeypatch):
    monkeypatch.setenv("FER_KAGGLE_WAIT_S", "1.5")
    server.faults = [Fault("get", status=429, retry_after="1")] * 2
    with pytest.raises(errors.KaggleUnavailable, match="FER_KAGGLE_WAIT_S=2 "):
        resolve()


@pytest.mark.parametrize(
    "fault", [Fault("get", status=429, retry_after="1800"), Fault("get", status=503), Fault("get", reset=True)]
)
def test_an_outage_offers_the_version_that_is_here_and_which_then_needs_no_kaggle(server, fault):
    ingest.download.fn(resolve())
    server.datasets["owner/faces"] *= 2
    server.faults = [fault]
    with pytest.raises(errors.KaggleUnavailable, match="or take kaggle:owner/faces/versions/1, which is here"):
        resolve()
    n_requests = len(server.requests)
    assert ingest.download.fn(resolve("kaggle:owner/faces/versions/1")).n_files == 1
    assert len(server.requests) == n_requests


def test_an_outage_offers_a_copy_of_kagglehubs_own_where_the_workspace_has_none(server, tmp_path):
    for version in ("2", "10", "11"):
        (tmp_path / ".cache/kagglehub/datasets/owner/faces/versions" / version / "happy").mkdir(parents=True)
        if version != "11":  # which is being unpacked
            (tmp_path / f".cache/kagglehub/datasets/owner/faces/{version}.complete").touch()
    server.faults = [Fault("get", status=503)]
    with pytest.raises(
        errors.KaggleUnavailable, match=r"or take folder:(\S+)/10 or folder:\1/2, which are here and need"
    ):
        resolve()


def test_an_outage_offers_nothing_where_nothing_is_here(server):
    server.faults = [Fault("get", status=503)]
    with pytest.raises(errors.KaggleUnavailable) as caught:
        resolve()
    assert "which is here" not in str(caught.value)
