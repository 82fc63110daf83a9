"""What of the registry's objects goes, and what stays whoever writes meanwhile."""

import datetime
import json

import pytest
import registrations
from typer.testing import CliRunner

from data_contracts import files
from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.housekeeping import bucket, collect
from fer.housekeeping.liveness import Policy
from fer.registry import moves, pins, registry
from fer.registry.clearing import uploads
from fer.registry.log import Log
from flows.cli import app as cli

ALL = Policy(older_than_days=0, keep_last=0, grace_hours=0, releases_older_than_days=0)
WITHDRAWN = Policy(older_than_days=0, keep_last=0, grace_hours=0)


@pytest.fixture
def workspace(configured):
    return LocalWorkspace(configured.workspace_folder)


@pytest.fixture
def versions(models, workspace):
    """Three versions, of which the last is champion; the second was refused."""
    for weights, passed, champion in (("a", True, None), ("b", False, 1), ("c", True, 1)):
        refs = registrations.parts(workspace, weights=weights * 64, passed=passed, champion_version=champion)
        registrations.register(workspace, refs, registrations.state_for(workspace))
    return models.versions("demo")


def collection(configured, models, policy=ALL, **options):
    return collect.Collection(configured, policy, models, only_store=True, **options)


def gone(configured, models, policy=ALL, **options):
    return {item.name for item in collection(configured, models, policy, **options).remove().gone}


def keys(models, manifest):
    prefix = next(iter(manifest.files.values())).key.rsplit("/", 1)[0]
    names = {listed.key.rsplit("/", 1)[1] for listed in models.store.list(prefix)}
    return {name for name in names if not name.startswith(".") or name == registry.COPY}


def test_the_files_of_old_versions_go_and_their_manifest_log_and_lists_stay(configured, models, versions):
    found = collection(configured, models)
    assert {item.name for item in found.remove().gone} == {"release demo@2"}  # the first is what the third met
    assert found.prove().faults == ()
    assert keys(models, versions[1]) == {files.TRAINED_ON, files.TESTED_ON, registry.COPY}
    assert models.get("demo", "2") == versions[1]
    assert set(models.log("demo").cleared) == {2}
    assert keys(models, versions[2]) == {*versions[2].files, registry.COPY}
    assert gone(configured, models) == set()


def test_releases_stay_unless_it_is_asked_for_but_for_withdrawn_ones(configured, models, versions):
    assert gone(configured, models, WITHDRAWN) == set()
    moves.withdraw(models, "demo", 2, "of children")
    assert gone(configured, models, Policy(older_than_days=1, keep_last=0, grace_hours=0)) == set()
    assert gone(configured, models, WITHDRAWN) == {"release demo@2"}


def test_what_is_pinned_or_named_by_a_run_stays(configured, models, versions):
    assert gone(configured, models, named=["demo@2"]) == set()
    pins.pin(models, "demo", 2)
    assert gone(configured, models) == set()
    pins.unpin(models, "demo", 2)
    assert gone(configured, models) == {"release demo@2"}


def test_what_this_machine_fetched_a_short_time_ago_stays(configured, models, versions):
    day = Policy(older_than_days=0, keep_last=0, grace_hours=24, releases_older_than_days=0)
    fetched = configured.home / "models" / "demo" / "2"
    fetched.mkdir(parents=True)
    assert gone(configured, models, day) == set()


@pytest.mark.parametrize(
    "comes_into_use",
    [
        lambda models: pins.pin(models, "demo", 2),
        lambda models: moves.promote(models, "demo", 2, override="all the same"),
    ],
    ids=["pinned", "promoted"],
)
def test_what_comes_into_use_between_the_look_and_the_removal_stays(configured, models, versions, comes_into_use):
    found = collection(configured, models)
    comes_into_use(models)
    removed = found.remove()
    assert [item.name for item in removed.in_use] == ["release demo@2"]
    assert keys(models, versions[1]) == {*versions[1].files, registry.COPY}


def test_a_version_whose_files_are_gone_is_not_promoted_pinned_or_used(configured, models, versions, tmp_path):
    gone(configured, models)
    with pytest.raises(errors.ConfigError, match=r"must have its files.*cleared of its files"):
        moves.promote(models, "demo", 2, override="all the same")
    with pytest.raises(errors.ConfigError, match="must have its files"):
        pins.pin(models, "demo", 2)
    with pytest.raises(errors.ConfigError, match="must have its files"):
        models.fetch(versions[1], tmp_path)


def test_the_same_candidate_is_registered_anew_once_its_files_are_gone(configured, models, versions, workspace):
    gone(configured, models)
    refs = registrations.parts(workspace, weights="b" * 64, passed=False, champion_version=1)
    assert registrations.register(workspace, refs, registrations.state_for(workspace)).version == 4


def test_a_removal_that_was_killed_is_ended_by_the_next_one(configured, models, versions, monkeypatch):
    monkeypatch.setattr(bucket.cleared, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        gone(configured, models)
    assert keys(models, versions[1]) == {*versions[1].files, registry.COPY}
    monkeypatch.undo()
    assert "files of demo@2" in {
        item.name for item in bucket.Bucket(models, ALL).items() if item.kind == bucket.UNFINISHED
    }


def test_an_upload_that_nobody_registered_goes_after_a_day(configured, models, versions, monkeypatch):
    models.store.put("models/demo/files/abc/model.keras", b"x")
    assert gone(configured, models) == {"release demo@2"}
    later = bucket.uploads.ABANDONED_AFTER_S + 1
    monkeypatch.setattr(collect.time, "time", lambda: datetime.datetime.now(datetime.UTC).timestamp() + later)
    assert "models/demo/files/abc/" in gone(configured, models)
    assert models.store.get("models/demo/files/abc/model.keras") is None


def test_an_upload_whose_registration_goes_on_after_all_stays(models, versions):
    models.store.put("models/demo/files/abc/model.keras", b"x")
    (upload,) = uploads.unregistered(uploads.find(models.store, "demo"), versions, Log(()))
    models.store.put("models/demo/files/abc/.manifest.json", b"{}")  # as `register` writes before its claim
    assert not uploads.remove(models.store, upload)
    uploads.require(models.store, upload.prefix, ["model.keras", uploads.COPY])


def test_a_registration_whose_upload_is_being_removed_claims_no_version(models, versions):
    models.store.put("models/demo/files/abc/model.keras", b"x")
    models.store.put("models/demo/files/abc/.removing", b"")
    with pytest.raises(errors.StoreUnavailable, match="took for abandoned"):
        uploads.require(models.store, "models/demo/files/abc/", ["model.keras"])


def test_a_registration_whose_upload_lacks_a_file_names_it(models, versions):
    models.store.put("models/demo/files/abc/model.keras", b"x")
    with pytest.raises(
        errors.StoreUnavailable, match=r"no \.manifest\.json, metrics\.json in an upload: s3://"
    ) as error:
        uploads.require(models.store, "models/demo/files/abc/", ["model.keras", "metrics.json", uploads.COPY])
    assert "abandoned" not in str(error.value)


def test_a_damaged_file_of_a_needed_release_is_a_fault_though_it_has_its_size(configured, models, versions):
    file = versions[2].files["model.keras"]
    models.store.put(file.key, b"d" * file.size_bytes)
    assert collection(configured, models).prove().faults == ("demo@3: model.keras is gone or damaged",)


def test_the_command_looks_at_the_store_alone(configured, models, versions):
    options = ["models", "gc", "--grace", "0", "--keep-last", "0", "--releases-older-than", "0", "--json"]
    shown = json.loads(CliRunner().invoke(cli.app, options).stdout)
    assert {thing["name"]: thing["stays"] for thing in shown["things"]}["release demo@2"] is None
    assert models.log("demo").cleared == {}
    done = CliRunner().invoke(cli.app, [*options, "--yes"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["proof"]["faults"] == []
    assert set(models.log("demo").cleared) == {2}
