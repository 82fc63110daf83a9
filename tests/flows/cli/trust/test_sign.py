"""`fer models sign …` on a real store."""

import json

import pytest
import signed_registry
from typer.testing import CliRunner

from fer import errors
from fer.registry import names, releases
from fer.registry.registry import Registry
from fer.registry.trust import policy
from fer.registry.trust import releases as signed_releases
from fer.settings import Settings
from flows.cli import app as cli


@pytest.fixture
def made(monkeypatch, store, store_settings, tmp_path):
    """Two versions that nobody signed, and settings that demand signatures."""
    manifests = [signed_registry.released(Registry(store), tmp_path, number) for number in (1, 2)]
    signed_registry.require(monkeypatch, tmp_path, store_settings)
    return manifests


def sign(*arguments):
    return shown("sign", *arguments)


def shown(*arguments):
    done = CliRunner(env={"COLUMNS": "250"}).invoke(cli.app, ["models", *arguments])
    if isinstance(done.exception, errors.FerError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_release_is_signed_later(made, tmp_path):
    with pytest.raises(errors.IntegrityError, match="fer models sign demo@1"), releases.local_copy("demo@1"):
        pass
    assert "demo@1 is signed by the key" in sign("demo@1")
    assert "demo@1 was signed already" in sign("demo@1")
    (key,) = json.loads(shown("show", "demo@1", "--json"))["signed_by"]
    assert f"by the key {key}" in shown("show", "demo@1")
    with releases.local_copy("demo@1") as (manifest, _):
        assert manifest.version == 1
    with pytest.raises(errors.IntegrityError, match="log of 'demo'"), releases.local_copy("demo"):
        pass
    signed = json.loads(sign("demo", "--reason", "looked at", "--json"))
    assert signed["signed"] == [2]
    assert signed["signed_before"] == [1]
    assert signed["log_entry"] == 5
    with releases.local_copy("demo") as (manifest, _), releases.open_registry() as models:
        assert manifest.version == 2
        assert models.log("demo").entries[-1].reason == "looked at"
    assert json.loads(sign("demo", "--json"))["log_entry"] is None
    assert f"; signed by the key {key}" in shown("log", "demo")


def test_a_release_that_is_not_whole_is_not_signed(made, store):
    place = made[1].files["model.keras"].key
    store.put(place, b"weights 3")
    with pytest.raises(errors.IntegrityError, match="SHA-256"):
        sign("demo@2")
    assert signed_releases.found(store, made[1]) == {}
    store.put(names.version_key("demo", 1), store.get(names.version_key("demo", 1)).data.replace(b"0.7", b"0.9"))
    with pytest.raises(errors.IntegrityError, match="something else"):
        sign("demo@1")


def test_a_log_that_was_taken_back_on_purpose_is_taken_for_how_far_it_goes(made, store):
    sign("demo")
    with releases.local_copy("demo"):
        pass
    head = policy.of(Settings.load()).heads / "demo.json"
    document = json.loads(head.read_bytes())
    head.write_text(json.dumps(document | {"entry": 9}))
    with pytest.raises(errors.IntegrityError, match="fer models sign demo"), releases.local_copy("demo"):
        pass
    sign("demo")
    with releases.local_copy("demo") as (manifest, _):
        assert manifest.version == 2


def test_a_version_whose_files_housekeeping_removed_is_left_out(made, store):
    for file in made[0].files.values():
        store.delete(file.key)
    assert json.loads(sign("demo", "--json"))["signed"] == [2]


def test_without_a_key_nothing_is_signed(made, monkeypatch):
    monkeypatch.delenv("FER_SIGNING_KEY")
    with pytest.raises(errors.ConfigError, match="fer keys new"):
        sign("demo")
