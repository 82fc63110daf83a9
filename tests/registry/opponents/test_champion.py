"""The champion that a candidate is compared with, and what is made of a release that was written otherwise."""

import datetime
import json

import pytest
from recommit import rewrite
from registrations import CLASSES, committed, parts, register, state_for

from data_contracts import files
from fer import errors
from fer.evaluation.calibration import calibrator
from fer.registry import log as registry_log
from fer.registry import moves
from fer.registry.opponents import champion
from fer.training.refs import ModelRef


def test_a_champion_is_met_with_its_source_and_its_files(models, workspace):
    register(workspace, parts(workspace))
    candidate = parts(workspace, weights="b")[1]
    state = state_for(workspace, candidate)
    assert (state.alias_version, state.opponents.champion.version, state.opponents.champion.source) == (1, 1, "demo")
    assert state.opponents.champion.same_preprocessing
    assert (workspace.folder(state.opponents.champion.model) / files.TRAINED_ON).is_file()


def test_a_champion_is_met_with_its_calibration_and_an_older_one_without(models, workspace):
    known = calibrator.Calibration(
        classes=CLASSES, temperature=1.7, coverage=0.9, by_class=False, n_images=90, images_by_class={}
    )
    refs = parts(workspace)
    register(workspace, refs)
    assert state_for(workspace, parts(workspace, weights="b")[1]).opponents.champion.calibration is None
    newer = parts(workspace, weights="c")
    evaluation = committed(
        workspace, "evaluate", "c with calibration", newer[2],
        {"metrics.json": b"{}", calibrator.FILE: known.model_dump_json().encode()},
    )  # fmt: skip
    register(workspace, (*newer[:2], evaluation, newer[3]), state_for(workspace, newer[1]))
    champion = state_for(workspace, parts(workspace, weights="d")[1]).opponents.champion
    assert (champion.version, champion.calibration.temperature) == (2, 1.7)
    assert calibrator.load(workspace.folder(champion.calibration)) == known


def tampered(models, workspace, monkeypatch, changes):
    """Version 1 of `demo`, whose model.json has these changes; None: without the key."""
    dump = ModelRef.model_dump_json

    def other(self, **_):
        record = json.loads(dump(self)) | changes
        return json.dumps({name: value for name, value in record.items() if value is not None})

    with monkeypatch.context() as patch:
        patch.setattr(ModelRef, "model_dump_json", other)
        return register(workspace, parts(workspace))


def test_a_model_record_of_a_newer_project_is_read_without_what_is_unknown(models, workspace, monkeypatch):
    tampered(models, workspace, monkeypatch, {"n_flops": 3})
    assert state_for(workspace, parts(workspace, weights="b")[1]).opponents.champion.model.classes == CLASSES


def test_a_model_record_that_can_not_be_read_is_a_clear_error(models, workspace, monkeypatch):
    tampered(models, workspace, monkeypatch, {"classes": None})
    with pytest.raises(errors.IntegrityError, match=r"model\.json must be.*demo@1 classes: Field required.*--name"):
        state_for(workspace, parts(workspace, weights="b")[1])


def test_a_preprocessing_record_that_can_not_be_read_is_a_clear_error(workspace):
    model = parts(workspace)[1]
    rewrite(workspace, model, files.PREPROCESSING, b"{}")
    with pytest.raises(errors.IntegrityError, match=r"preprocessing\.json must be"):
        champion.preprocessing_of(model, workspace)


def promoted(workspace, weights, low, **verdict):
    """Register the model of these weights, whose accuracy is at least `low`; the release."""
    refs = parts(workspace, weights=weights, accuracy=(low, low + 0.1), **verdict)
    return register(workspace, refs, state_for(workspace, refs[1]))


def test_the_anchor_is_the_release_with_the_best_lower_bound_unless_that_is_the_champion(models, workspace):
    candidate = parts(workspace, weights="d")[1]
    for weights, low, expected in (("a", 0.6, None), ("b", 0.5, 1), ("c", 0.7, None)):
        promoted(workspace, weights, low, champion_version=1)
        anchor = state_for(workspace, candidate).opponents.anchor
        assert (anchor and anchor.version) == expected
    assert state_for(workspace).opponents.anchor is None


def test_neither_a_version_that_was_no_champion_nor_one_that_was_withdrawn_is_the_anchor(models, workspace):
    candidate = parts(workspace, weights="e")[1]
    promoted(workspace, "a", 0.5)
    assert promoted(workspace, "b", 0.9, replaces=False, decision="as good").status == "kept"
    promoted(workspace, "c", 0.8)
    promoted(workspace, "d", 0.4)
    assert state_for(workspace, candidate).opponents.anchor.version == 3
    moves.withdraw(models, "demo", 3, "its faces may not be used")
    assert state_for(workspace, candidate).opponents.anchor.version == 1


def test_the_reasons_to_change_are_other_data_other_code_and_an_old_champion(models, workspace, monkeypatch):
    promoted(workspace, "a", 0.5)
    candidate = parts(workspace, weights="b")[1]
    assert state_for(workspace, candidate).opponents.changes == ()
    changed = state_for(workspace, candidate, data="more", code="newer").opponents.changes
    assert changed == ("the data has changed", "the code has changed")
    in_181_days = registry_log.now() + datetime.timedelta(days=181)
    monkeypatch.setattr(registry_log, "now", lambda: in_181_days)
    assert state_for(workspace, candidate).opponents.changes == ("the champion is older than 180 days",)


def test_a_promotion_for_a_reason_is_counted_for_a_year(models, workspace, monkeypatch):
    promoted(workspace, "a", 0.5)
    promoted(workspace, "b", 0.5, for_a_reason=True, decision="as good, and the data has changed")
    entry = models.log("demo").last_move
    assert (entry.waiver, entry.reason) == (True, "as good, and the data has changed")
    candidate = parts(workspace, weights="c")[1]
    (used,) = state_for(workspace, candidate).opponents.waivers_used
    assert used.startswith("so version 2 was promoted on 20")
    in_366_days = registry_log.now() + datetime.timedelta(days=366)
    monkeypatch.setattr(registry_log, "now", lambda: in_366_days)
    assert state_for(workspace, candidate).opponents.waivers_used == ()


def test_a_champion_that_is_trained_again_meets_whom_it_met_at_its_promotion(models, workspace):
    promoted(workspace, "a", 0.6)
    promoted(workspace, "b", 0.5, champion_version=1)
    refs = parts(workspace, weights="c", champion_version=2, anchor_version=1)
    met = state_for(workspace, refs[1], data="more")
    assert (met.opponents.champion.version, met.opponents.anchor.version) == (2, 1)
    register(workspace, refs, met)
    assert state_for(workspace, refs[1], data="more").opponents == met.opponents
