"""Promote, roll back and growth as runs in Prefect."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from registrations import parts, register, state_for

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.local_workspace import LocalWorkspace
from fer.registry import registry, trial
from flows import promote, rollback
from tasks import champions
from tasks.runs import outcomes

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_WORKSPACE", str(tmp_path / "workspace"))
    return LocalWorkspace(tmp_path / "workspace")


@pytest.fixture
def models(store, store_settings, monkeypatch, workspace):
    """Two versions, the second one champion."""
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.delenv("FER_STORE_ENDPOINT", raising=False)
    monkeypatch.setattr(trial, "run", lambda *_, **__: trial.Trial())
    for number, weights in enumerate("ab"):
        refs = parts(workspace, weights=weights, champion_version=number or None)
        register(workspace, refs, state_for(workspace, refs[1]))
    return registry.Registry(store)


def test_a_champion_is_rolled_back_and_promoted_by_runs_that_the_log_names(models):
    moved = rollback.rollback("demo", reason="worse on site")
    assert (moved.from_version, moved.to_version) == (2, 1)
    assert models.ledger("demo").read().champion == 1
    assert models.log("demo").entries[-1].by.startswith("run demo (")
    moved = promote.promote("demo", 2)
    assert (moved.sentence, moved.has_moved) == ("champion of demo: version 1 → version 2", True)
    assert not promote.promote("demo", 2).has_moved
    with pytest.raises(errors.ConfigError):
        promote.promote("demo", 9)


def test_growth_is_told_from_the_share_on_that_is_enough(models, workspace, monkeypatch):
    told = []
    monkeypatch.setattr(outcomes, "emit_grown", lambda *arguments: told.append(arguments))

    def produce(out):
        pq.write_table(pa.table({"pixel_sha256": list("abcx"), "split": ["train"] * 4}), out / files.SPLIT)
        return SplitRef(classes=("happy",), counts={}, origin="drawn")

    split = workspace.run("split", "0" * 64, SplitRef, produce, resumable=False)
    for enough, n_told in ((0.5, 0), (0.3, 1)):
        found = champions.tell_of_growth("demo", "demo", ["demo"], split, enough)
        assert (found.n_new, found.n_learned, len(told)) == (1, 3, n_told)
    assert champions.tell_of_growth("unknown", "demo", ["demo"], split, 0.1) is None
