import concurrent.futures

import pytest
import registrations
from typer.testing import CliRunner

from fer import errors
from fer.registry import pins, registry
from flows.cli import app as cli


@pytest.fixture
def two_versions(models, workspace):
    for weights in ("a", "b"):
        registrations.register(workspace, registrations.parts(workspace, weights=weights, passed=False))
    return models


def test_a_pin_says_by_whom_and_why_and_stays_until_it_is_taken_away(two_versions):
    assert pins.read(two_versions, "demo") == {}
    assert pins.pin(two_versions, "demo", 2, "for the audit", by="kim@lab")
    assert not pins.pin(two_versions, "demo", 2)
    [pin] = pins.read(two_versions, "demo").values()
    assert (pin.version, pin.by, pin.reason) == (2, "kim@lab", "for the audit")
    assert pins.unpin(two_versions, "demo", 2)
    assert not pins.unpin(two_versions, "demo", 2)
    assert pins.read(two_versions, "demo") == {}


def test_a_version_that_is_not_there_is_not_pinned(two_versions):
    with pytest.raises(errors.ConfigError):
        pins.pin(two_versions, "demo", 3)


def test_of_many_who_pin_at_once_none_is_lost(store, monkeypatch):
    models = registry.Registry(store)
    monkeypatch.setattr(models, "get", lambda *_: None)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda version: pins.pin(models, "demo", version), range(1, 17)))
    assert list(pins.read(models, "demo")) == list(range(1, 17))


def test_pins_that_were_altered_are_an_error_and_not_no_pins(two_versions, store):
    pins.pin(two_versions, "demo", 1)
    data = store.get("models/demo/pins.json").data
    store.put("models/demo/pins.json", data.replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(errors.IntegrityError, match="pins of a model"):
        pins.read(two_versions, "demo")


def test_the_commands_pin_and_unpin(two_versions):
    def fer(*arguments):
        run = CliRunner().invoke(cli.app, ["models", *arguments])
        return run.exit_code, run.output

    assert fer("pin", "demo@1", "--reason", "for the audit") == (0, "demo@1 is pinned.\n")
    assert fer("pin", "demo@1") == (0, "demo@1 is pinned already.\n")
    assert list(pins.read(two_versions, "demo")) == [1]
    assert fer("unpin", "demo@1") == (0, "demo@1 is no longer pinned.\n")
    assert fer("unpin", "demo@1") == (0, "demo@1 is not pinned.\n")
    code, _ = fer("pin", "demo")
    assert code == 1
