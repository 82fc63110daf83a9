"""How registered models stand: in a real store, and beside the data that was accepted since."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from registrations import parts, register, state_for

from data_contracts import files, properties
from fer.curation import baseline
from fer.curation.refs import DriftRef, PreviousData, SplitRef, ValidationRef
from fer.engine.local_workspace import LocalWorkspace
from fer.registry import moves, registry, trial
from fer.registry import names as registry_names
from fer.registry.manifest import Manifest
from fer.reports.overview import models

RECIPE, SOURCES = "demo", ("demo",)


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path / "workspace")


@pytest.fixture
def registered(store, store_settings, monkeypatch):
    """The registry in a store of the test's own."""
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.setattr(trial, "run", lambda *_, **__: trial.Trial())  # the models here are a few bytes each
    return registry.Registry(store)


def promoted(workspace, weights, low, **verdict):
    refs = parts(workspace, weights=weights, accuracy=(low, low + 0.1), **verdict)
    return register(workspace, refs, state_for(workspace, refs[1]))


def test_a_model_stands_with_its_champion_its_anchor_and_its_test_reads(registered, workspace):
    promoted(workspace, "a", 0.6)
    promoted(workspace, "b", 0.5, champion_version=1)
    refused = parts(workspace, weights="c", passed=False, champion_version=2)
    register(workspace, refused, state_for(workspace, refused[1]))
    found = models.standing(registered, "demo", None)
    assert (found.n_versions, found.champion.version, found.anchor.version) == (3, 2, 1)
    assert found.champion.accuracy_interval == (0.5, 0.6)
    assert (found.last_version, found.last_status) == (3, "refused")
    assert (found.reads.verdicts, found.reads.is_worn) == (3.0, False)
    assert 0 <= found.age_days < 1
    assert found.drift is None
    moves.rollback(registered, "demo", None, "worse on our own photographs")
    after = models.standing(registered, "demo", None)
    assert (after.champion.version, after.anchor) == (1, None)


def test_a_registry_that_was_damaged_is_a_problem_of_that_model(registered, workspace):
    promoted(workspace, "a", 0.6)
    registered.store.put(registry_names.alias_key("demo", "champion"), b"something else")
    found = models.standing(registered, "demo", None)
    assert found.champion is None
    assert "fer models repair demo" in found.problem


def images(workspace, name, seed, *, shift=0.0, n=400):
    """Accepted images of a distribution, moved by so many standard deviations."""
    rng = np.random.default_rng(seed)
    columns = {edge: rng.normal(100 + 30 * shift, 30, n) for edge in properties.EDGES}
    digests = {"pixel_sha256": [f"{seed}-{number}" for number in range(n)], "label": ["happy"] * n}

    def produce(out):
        pq.write_table(pa.table(digests | columns), out / files.ACCEPTED)
        return ValidationRef(classes=("happy",), n_found=n, n_accepted=n, quarantined={}, failures=(), warnings=())

    return workspace.run("validate", name, ValidationRef, produce, resumable=False)


def accept(workspace, validation, recipe=RECIPE, sources=SOURCES):
    split = SplitRef(path="split/0", digest="split", classes=("happy",), counts={}, origin="drawn")
    no_drift = DriftRef(n_baseline=None, n_new=0, n_gone=0, n_relabelled=0, failures=(), warnings=())
    scope = baseline.Scope(recipe, sources)
    baseline.accept(workspace, scope, PreviousData(), validation, split, no_drift, "")


def champion(validation) -> Manifest:
    document = {
        "status": "released", "reasons": [], "registration_key": "k", "model_digest": "d", "metrics": {},
        "recipe": {"name": RECIPE}, "inputs": {"source": "demo", "validate": validation.digest},
        "code_fingerprint": "ef", "environment": {}, "champion_at_registration": None, "name": "demo", "version": 1,
        "created_utc": "2026-01-01T00:00:00Z", "files": {},
    }  # fmt: skip
    return Manifest.model_validate(document)


def test_a_champion_of_the_data_accepted_last_has_met_no_drift(workspace):
    validation = images(workspace, "monday", 1)
    accept(workspace, validation)
    found = models.since_training(champion(validation), workspace)
    assert (found.n_new, found.findings, found.unknown) == (0, (), "")
    assert found.accepted_utc is not None


def test_data_that_moved_since_the_training_is_drift_also_if_each_step_was_accepted(workspace):
    trained_on = images(workspace, "monday", 1)
    accept(workspace, images(workspace, "tuesday", 2, shift=0.1))
    same = models.since_training(champion(trained_on), workspace)
    assert (same.n_new, same.n_gone) == (400, 400)
    assert not any("median" in line for line in same.findings)
    accept(workspace, images(workspace, "friday", 3, shift=1.0))
    moved = models.since_training(champion(trained_on), workspace)
    assert any("median" in line for line in moved.findings)


@pytest.mark.parametrize("scope", [{"recipe": "other"}, None])
def test_without_accepted_data_of_its_recipe_nothing_is_known(workspace, scope):
    validation = images(workspace, "monday", 1)
    if scope is not None:
        accept(workspace, validation, **scope)
    assert "was accepted here" in models.since_training(champion(validation), workspace).unknown


def test_where_the_data_of_the_training_was_removed_nothing_is_known(workspace):
    accept(workspace, images(workspace, "tuesday", 2))
    gone = ValidationRef(digest="gone", classes=(), n_found=1, n_accepted=1, quarantined={}, failures=(), warnings=())
    assert "no more in the workspace" in models.since_training(champion(gone), workspace).unknown
