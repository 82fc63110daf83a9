"""The champion that a candidate is compared with, and what is made of a release that was written otherwise."""

import json

import pytest
from recommit import rewrite
from registrations import CLASSES, parts, register

from data_contracts import files
from fer import errors
from fer.registry import champion
from fer.training.refs import ModelRef


def test_a_champion_is_met_with_its_source_and_its_files(models, workspace):
    register(workspace, parts(workspace))
    candidate = parts(workspace, weights="b")[1]
    state = champion.state("demo", candidate, workspace)
    assert (state.alias_version, state.champion.version, state.champion.source) == (1, 1, "demo")
    assert state.champion.same_preprocessing
    assert (workspace.folder(state.champion.model) / files.TRAINED_ON).is_file()


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
    assert champion.state("demo", parts(workspace, weights="b")[1], workspace).champion.model.classes == CLASSES


def test_a_model_record_that_can_not_be_read_is_a_clear_error(models, workspace, monkeypatch):
    tampered(models, workspace, monkeypatch, {"classes": None})
    with pytest.raises(errors.IntegrityError, match=r"model\.json must be.*demo@1 classes: Field required.*--name"):
        champion.state("demo", parts(workspace, weights="b")[1], workspace)


def test_a_preprocessing_record_that_can_not_be_read_is_a_clear_error(workspace):
    model = parts(workspace)[1]
    rewrite(workspace, model, files.PREPROCESSING, b"{}")
    with pytest.raises(errors.IntegrityError, match=r"preprocessing\.json must be"):
        champion.preprocessing_of(model, workspace)
