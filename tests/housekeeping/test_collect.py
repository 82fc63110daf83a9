import json
import shutil

import pytest
import registrations
from typer.testing import CliRunner

from data_contracts import files
from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.housekeeping import collect
from fer.housekeeping.liveness import Policy
from fer.registry import moves, pins
from flows.cli import app as cli

NOTHING_STAYS = Policy(older_than_days=0, keep_last=0, grace_hours=0)


@pytest.fixture
def workspace(configured):
    return LocalWorkspace(configured.workspace_folder)


def released(workspace, weights, **options):
    refs = registrations.parts(workspace, weights=weights, **options)
    registrations.register(workspace, refs, registrations.state_for(workspace, refs[1]))
    return refs


def went(configured, models, policy=NOTHING_STAYS):
    return {item.name for item in collect.Collection(configured, policy, models).remove().gone}


def test_what_the_champion_was_made_of_stays_and_what_a_refused_one_was_made_of_goes(configured, models, workspace):
    champion, refused = released(workspace, "a" * 64), released(workspace, "b" * 64, passed=False)
    collection = collect.Collection(configured, NOTHING_STAYS, models)
    gone = {item.name for item in collection.remove().gone}
    assert champion[1].path not in gone
    assert refused[1].path in gone
    proof = collection.prove()
    assert (proof.faults, proof.n_releases) == ((), 1)
    assert workspace.folder(champion[1]).is_dir()


def test_a_pin_keeps_what_a_version_was_made_of_until_it_is_taken_away(configured, models, workspace):
    released(workspace, "a" * 64)
    refs = released(workspace, "b" * 64, passed=False)
    pins.pin(models, "demo", 2)
    assert refs[1].path not in went(configured, models)
    pins.unpin(models, "demo", 2)
    assert refs[1].path in went(configured, models)


def test_the_last_champions_stay_by_their_number(configured, models, workspace):
    first = released(workspace, "a" * 64)
    released(workspace, "b" * 64)
    for version in (2, 1, 2):
        moves.promote(models, "demo", version)
    kept_one = Policy(older_than_days=0, keep_last=2, grace_hours=0)
    assert "demo@1" in collect.Collection(configured, kept_one, models).roots
    assert workspace.folder(first[1]).is_dir()


def test_a_fetched_model_and_pages_of_no_use_go(configured, models, workspace):
    released(workspace, "a" * 64)
    for place in ("models/demo/1/model.keras", "models/demo/9/model.keras", "reports/demo/1/report.html"):
        (configured.home / place).parent.mkdir(parents=True)
        (configured.home / place).touch()
    (configured.home / "faces" / "demo").mkdir(parents=True)
    (configured.home / "faces" / "demo" / "9.html").touch()
    gone = went(configured, models)
    assert {"models/demo/9", "faces/demo/9.html"} <= gone
    assert not {"models/demo/1", "reports/demo/1"} & gone
    assert not (configured.home / "models" / "demo" / "9").exists()


def test_what_is_needed_and_not_whole_is_a_fault(configured, models, workspace):
    refs = released(workspace, "a" * 64)
    (workspace.root / refs[0].path / files.SPLIT).write_bytes(b"other")
    collection = collect.Collection(configured, NOTHING_STAYS, models)
    assert collection.prove().faults == ()  # the release names the model; the split by another digest
    shutil.rmtree(workspace.root / refs[1].path)
    assert f"{refs[1].path} is gone" in collection.prove().faults


def test_where_a_models_log_cannot_be_read_nothing_goes(configured, models, workspace, store):
    released(workspace, "a" * 64)
    store.delete("models/demo/log/00000001.json")
    with pytest.raises(errors.IntegrityError):
        collect.Collection(configured, NOTHING_STAYS, models)


def test_two_at_once_are_one_too_many(configured, models, workspace):
    collection = collect.Collection(configured, NOTHING_STAYS, models)
    with workspace.locked("gc", "one"), pytest.raises(errors.WorkspaceError, match="One process at a time"):
        collection.remove()


def test_the_command_shows_first_and_removes_with_yes(configured, models, workspace):
    released(workspace, "a" * 64)
    refs = released(workspace, "b" * 64, passed=False)
    everything = ["gc", "--older-than", "0", "--keep-last", "0", "--grace", "0"]
    shown = CliRunner().invoke(cli.app, everything)
    assert "would go" in shown.output
    assert workspace.folder(refs[1]).is_dir()
    done = CliRunner().invoke(cli.app, [*everything, "--yes", "--json"])
    document = json.loads(done.stdout)
    assert done.exit_code == 0
    assert document["roots"] == {"demo@1": "champion of demo"}
    assert {thing["name"] for thing in document["things"] if thing["removed"]} >= {refs[1].path}
    assert document["proof"]["faults"] == []
    assert not (workspace.root / refs[1].path).exists()
