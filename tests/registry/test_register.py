"""Registrations: what a version holds, when its registration is done, and what becomes of the champion."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recommit import recommit, rewrite
from registrations import candidate, committed, parts, register, state_for

from data_contracts import files
from fer import errors
from fer.engine.refs import Ref
from fer.evaluation.refs import Check, VerdictRef
from fer.models import saved_model
from fer.registry import moves, registry, trained_on, trial
from fer.registry import register as register_stage
from fer.training.refs import SeedsRef


def is_registered(refs):
    return register_stage.registered(candidate(refs)) is not None


def test_a_release_lists_the_pixels_that_it_was_trained_on_and_chosen_by(models, workspace, tmp_path):
    release = register(workspace, parts(workspace))
    assert (release.version, release.champion_version) == (1, 1)
    folder = models.fetch(models.get("demo"), tmp_path)
    assert trained_on.read(folder / files.TRAINED_ON).to_pydict() == {
        "pixel_sha256": ["a", "b", "c"],
        "split": ["train", "validation", "train"],
    }


def test_a_release_lists_those_of_the_one_that_it_started_from_too(models, workspace, tmp_path):
    refs = parts(workspace)
    earlier = {"pixel_sha256": ["a", "b", "y", "z"], "split": ["validation", "train", "validation", "train"]}
    pq.write_table(pa.table(earlier), workspace.folder(refs[1]) / files.WEIGHTS_TRAINED_ON)
    recommit(workspace, refs[1])
    register(workspace, refs)
    folder = models.fetch(models.get("demo"), tmp_path)
    assert trained_on.read(folder / files.TRAINED_ON).to_pydict() == {
        "pixel_sha256": ["a", "b", "c", "y", "z"],
        "split": ["train", "train", "train", "validation", "train"],
    }


def test_a_release_holds_the_report_of_its_evaluation(models, workspace, tmp_path):
    register(workspace, parts(workspace))
    folder = models.fetch(models.get("demo"), tmp_path)
    assert (folder / "report.md").read_bytes() == b"# cnn"
    assert (folder / "confusion.png").read_bytes() == b"PNG"


@pytest.mark.parametrize("promotes", [True, False])
def test_a_release_that_fails_its_trial_is_refused_and_is_no_champion(models, workspace, monkeypatch, promotes):
    other = "the release answers otherwise than was recorded"
    failed = trial.Trial(checks=(Check(name="answers as recorded", passed=False, detail=other),))
    monkeypatch.setattr(trial, "run", lambda *_, **__: failed)
    refs = parts(workspace, replaces=promotes)
    release = register(workspace, refs)
    assert (release.status, release.champion_version, release.checks[:1]) == ("refused", None, failed.checks)
    manifest = models.get("demo", "1")
    assert (manifest.status, manifest.trial) == ("refused", failed)
    assert other in manifest.reasons
    assert register_stage.registered(candidate(refs)) == release
    assert models.alias("demo") is None
    with pytest.raises(errors.ConfigError, match="--override"):
        moves.promote(models, "demo", 1)


def test_what_is_packed_is_tried_before_the_champion_moves_and_not_again(models, workspace, monkeypatch):
    tried = []

    def run(release, material, config, *, progress):
        assert models.alias("demo") is None
        tried.append((sorted(path.name for path in release.iterdir()), material.champion, material.is_timed))
        return trial.Trial()

    monkeypatch.setattr(trial, "run", run)
    refs = parts(workspace)
    assert register(workspace, refs).champion_version == 1
    assert register(workspace, refs).version == 1
    ((names, champion, is_timed),) = tried
    assert names == sorted(models.get("demo").files)
    assert "model.keras" in names
    assert champion is None
    assert is_timed


def test_a_release_of_several_seeds_holds_their_spread(models, workspace, tmp_path):
    chosen = SeedsRef(seeds=(0, 1), accuracies=(0.5, 0.6), chosen=1, minimum=0.5, mean=0.55, sd=0.07, maximum=0.6)
    seeds = committed(workspace, "seeds", "0", chosen, {"seeds.json": b"{}"})
    one_seed = candidate(parts(workspace))
    register_stage.register(
        one_seed.model_copy(update={"seeds": seeds}),
        state_for(workspace),
        report=committed(workspace, "evaluation report", "a", Ref(), {"report.md": b"# cnn"}),
        workspace=workspace,
    )
    assert (models.fetch(models.get("demo"), tmp_path) / "seeds.json").read_bytes() == b"{}"


def test_a_release_that_names_no_splits_was_trained_on_all_that_it_knows(tmp_path):
    pq.write_table(pa.table({"pixel_sha256": ["a"]}), tmp_path / files.TRAINED_ON)
    table = trained_on.read(tmp_path / files.TRAINED_ON)
    assert table.to_pydict() == {"pixel_sha256": ["a"], "split": ["train"]}


def test_a_release_says_by_what_it_was_trained_and_not_by_what_it_was_registered(models, workspace):
    refs = parts(workspace)
    where = {"processor": "of another machine", "threads": "3"}
    rewrite(workspace, refs[1], saved_model.ABOUT, json.dumps({"environment": where}).encode())
    register(workspace, refs)
    assert models.get("demo").environment == where


def test_a_registration_leaves_nothing_in_the_workspace(models, workspace):
    register(workspace, parts(workspace))
    assert not [path for path in workspace.root.rglob("*") if path.is_file() and "model.json" in path.name]


def test_a_version_that_is_released_but_not_yet_champion_is_registered_again(models, workspace, monkeypatch):
    refs = parts(workspace)
    assert not is_registered(refs)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry.Registry, "promote", dies)
        with pytest.raises(KeyboardInterrupt):
            register(workspace, refs)
    assert len(models.versions("demo")) == 1
    assert not is_registered(refs)
    assert register(workspace, refs).champion_version == 1
    assert len(models.versions("demo")) == 1
    assert is_registered(refs)


def test_a_refused_version_is_registered_without_being_champion(models, workspace):
    refs = parts(workspace, passed=False)
    release = register(workspace, refs)
    assert (release.status, release.champion_version) == ("refused", None)
    assert is_registered(refs)


def test_a_champion_that_was_lost_is_not_no_champion_for_the_next_candidate(models, workspace):
    register(workspace, parts(workspace))
    models.store.delete("models/demo/aliases/champion.json")
    other = parts(workspace, weights="b")
    with pytest.raises(errors.IntegrityError, match="fer models repair demo"):
        state_for(workspace, other[1])
    with pytest.raises(errors.IntegrityError, match="fer models repair demo"):
        register(workspace, other)
    assert len(models.versions("demo")) == 1


def two_champions(models, workspace):
    """What the second one's registration took, and whom it met; the first one is champion again."""
    register(workspace, parts(workspace))
    refs = parts(workspace, weights="b")
    champion_state = state_for(workspace, refs[1])
    assert register(workspace, refs, champion_state).champion_version == 2
    moves.rollback(models, "demo", reason="too sad", by="ann@host")
    return refs, state_for(workspace, refs[1])


def test_a_candidate_that_was_rolled_back_is_kept_and_it_is_said_by_whom_and_why(models, workspace):
    refs, champion_state = two_champions(models, workspace)
    assert (champion_state.alias_version, champion_state.opponents.champion.version) == (1, 1)
    before = len(models.log("demo").entries)
    release = register(workspace, refs, champion_state)
    assert (release.version, release.status, release.champion_version) == (2, "kept", 1)
    assert "by ann@host: too sad; `fer models promote demo@2` lifts it" in release.summary()
    assert is_registered(refs)
    assert (models.get("demo").version, len(models.log("demo").entries)) == (1, before)
    moves.promote(models, "demo", 2)
    assert register(workspace, refs, state_for(workspace, refs[1])).status == "released"


def test_the_model_that_was_rolled_back_is_kept_under_another_version_too(models, workspace):
    refs, champion_state = two_champions(models, workspace)
    other_verdict = VerdictRef(passed=True, checks=(), champion_version=1)
    other = committed(workspace, "gate", "other", other_verdict, {"verdict.json": b"another one"})
    release = register(workspace, (*refs[:3], other), champion_state)
    assert (release.version, release.status, release.champion_version) == (3, "kept", 1)
    assert "version 3 is the same model as version 2" in release.kept_because
    assert models.get("demo", "3").status == "kept"
    assert "demo@2` lifts it" in models.get("demo", "3").reasons[-1]


def test_a_registration_that_found_its_champion_moved_by_an_operator_is_a_conflict(models, workspace):
    register(workspace, parts(workspace))
    refs = parts(workspace, weights="b")
    champion_state = state_for(workspace, refs[1])
    moves.withdraw(models, "demo", 1, "wrong")
    with pytest.raises(errors.StoreConflict, match="run the same command again"):
        register(workspace, refs, champion_state)
    assert models.alias("demo") is None
    assert register(workspace, refs, state_for(workspace, refs[1])).champion_version == 2


def test_the_log_names_the_run_that_promoted(models, workspace):
    register(workspace, parts(workspace), by="run demo (12)")
    assert {entry.by for entry in models.log("demo").entries} == {"run demo (12)"}


def test_a_version_that_passed_without_replacing_the_champion_is_kept_and_can_be_promoted_by_name(models, workspace):
    register(workspace, parts(workspace))
    refs = parts(workspace, weights="b", champion_version=1, replaces=False, decision="not shown to be better")
    kept = register(workspace, refs, state_for(workspace, refs[1]))
    assert (kept.version, kept.status, kept.champion_version) == (2, "kept", 1)
    assert kept.kept_because == "not shown to be better; `fer models promote demo@2` makes it champion all the same"
    assert models.get("demo", "2").reasons == ("not shown to be better",)
    assert is_registered(refs)
    moves.promote(models, "demo", 2)
    again = register(workspace, refs, state_for(workspace, refs[1]))
    assert (again.version, again.status, again.champion_version) == (2, "released", 2)
