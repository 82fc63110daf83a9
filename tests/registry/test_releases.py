"""Releases: what a version holds, when its registration is done, and what is made of one that was written otherwise."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from fer import errors, recipes
from fer.curation.refs import SplitRef
from fer.engine.workspace import Workspace
from fer.evaluation.refs import Contest, EvaluationRef, VerdictRef
from fer.models import saved_model
from fer.registry import moves, registry, releases
from fer.shards import preprocessing
from fer.training.refs import ModelRef

CLASSES = ("happy", "sad")
RECIPE = recipes.load("demo")
LINEAGE = {"source": "demo", "split_origin": "drawn"}


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def models(store, store_settings, monkeypatch):
    """The registry, which `releases` opens too."""
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.delenv("FER_STORE_ENDPOINT", raising=False)
    return registry.Registry(store)


CONFIG = preprocessing.PreprocessConfig(height=16, width=16)
PREPROCESSING = (
    preprocessing.Preprocessing(
        config=CONFIG, classes=CLASSES, height=16, width=16, mean=1.0, std=1.0, probe=preprocessing.probe(CONFIG)
    )
    .model_dump_json()
    .encode()
)


def committed(workspace, stage, key, ref, content):
    """`ref` as a stage's output that holds these files."""

    def produce(out):
        for name, data in content.items():
            (out / name).write_bytes(data)
        return ref

    return workspace.run(stage, key, type(ref), produce, resumable=False)


def parts(workspace, *, passed=True, weights="a"):
    """The Refs that a registration takes: division, model, evaluation, verdict."""
    splits = ["train", "train", "train", "validation", "test", "excluded"]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"pixel_sha256": list("caabde"), "split": splits}), buffer)
    division = SplitRef(classes=CLASSES, counts={}, origin="drawn")
    model = ModelRef(
        digest=weights,
        model="cnn",
        classes=CLASSES,
        n_parameters=1,
        epochs_run=1,
        best_epoch=1,
        validation_accuracy=0.5,
        train_seconds=1.0,
    )
    evaluation = EvaluationRef(
        split="test", n_images=1, accuracy=1.0, accuracy_interval=(0, 1), macro_f1=1.0, macro_f1_interval=(0, 1)
    )
    verdict = VerdictRef(passed=passed, checks=(), champion_version=None)
    return (
        committed(workspace, "split", "0", division, {files.SPLIT: buffer.getvalue().to_pybytes()}),
        committed(
            workspace, "train", weights, model, {"model.keras": weights.encode(), files.PREPROCESSING: PREPROCESSING}
        ),
        committed(workspace, "evaluate", weights, evaluation, {"metrics.json": b'{"accuracy": 1.0}'}),
        committed(workspace, "gate", f"{weights}{passed}", verdict, {"verdict.json": str(passed).encode()}),
    )


def register(workspace, made, against=None):
    return releases.register(RECIPE, LINEAGE, *made, against or Contest(), workspace=workspace)


def is_registered(made):
    return releases.registered(RECIPE.model_name, releases.registration_key(RECIPE, *made[1:])).done


def test_a_release_lists_the_pixels_that_it_was_trained_on_and_chosen_by(models, workspace, tmp_path):
    release = register(workspace, parts(workspace))
    assert (release.version, release.champion_version) == (1, 1)
    folder = models.fetch(models.get("demo"), tmp_path)
    assert releases.read_trained_on(folder / files.TRAINED_ON).to_pydict() == {
        "pixel_sha256": ["a", "b", "c"],
        "split": ["train", "validation", "train"],
    }


def test_a_release_lists_those_of_the_one_that_it_started_from_too(models, workspace, tmp_path):
    made = parts(workspace)
    earlier = {"pixel_sha256": ["a", "b", "y", "z"], "split": ["validation", "train", "validation", "train"]}
    pq.write_table(pa.table(earlier), workspace.folder(made[1]) / files.WEIGHTS_TRAINED_ON)
    register(workspace, made)
    folder = models.fetch(models.get("demo"), tmp_path)
    assert releases.read_trained_on(folder / files.TRAINED_ON).to_pydict() == {
        "pixel_sha256": ["a", "b", "c", "y", "z"],
        "split": ["train", "train", "train", "validation", "train"],
    }


def test_a_release_that_names_no_splits_was_trained_on_all_that_it_knows(tmp_path):
    pq.write_table(pa.table({"pixel_sha256": ["a"]}), tmp_path / files.TRAINED_ON)
    found = releases.read_trained_on(tmp_path / files.TRAINED_ON)
    assert found.to_pydict() == {"pixel_sha256": ["a"], "split": ["train"]}


def test_a_release_says_by_what_it_was_trained_and_not_by_what_it_was_registered(models, workspace):
    made = parts(workspace)
    where = {"processor": "of another machine", "threads": "3"}
    (workspace.folder(made[1]) / saved_model.ABOUT).write_text(json.dumps({"environment": where}))
    register(workspace, made)
    assert models.get("demo").environment == where


def test_a_registration_leaves_nothing_in_the_workspace(models, workspace):
    register(workspace, parts(workspace))
    assert not [path for path in workspace.root.rglob("*") if path.is_file() and "model.json" in path.name]


def test_a_version_that_is_released_but_not_yet_champion_is_registered_again(models, workspace, monkeypatch):
    made = parts(workspace)
    assert not is_registered(made)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry.Registry, "promote", dies)
        with pytest.raises(KeyboardInterrupt):
            register(workspace, made)
    assert len(models.versions("demo")) == 1
    assert not is_registered(made)
    assert register(workspace, made).champion_version == 1
    assert len(models.versions("demo")) == 1
    assert is_registered(made)


def test_a_refused_version_is_registered_without_being_champion(models, workspace):
    made = parts(workspace, passed=False)
    release = register(workspace, made)
    assert (release.status, release.champion_version) == ("refused", None)
    assert is_registered(made)


def test_a_champion_that_was_lost_is_not_no_champion_for_the_next_candidate(models, workspace):
    register(workspace, parts(workspace))
    models.store.delete("models/demo/aliases/champion.json")
    candidate = parts(workspace, weights="b")
    with pytest.raises(errors.IntegrityError, match="fer models repair demo"):
        releases.contest("demo", candidate[1], workspace)
    with pytest.raises(errors.IntegrityError, match="fer models repair demo"):
        register(workspace, candidate)
    assert len(models.versions("demo")) == 1


def two_champions(models, workspace):
    """What the second one's registration took, and whom it met; the first one is champion again."""
    register(workspace, parts(workspace))
    made = parts(workspace, weights="b")
    against = releases.contest("demo", made[1], workspace)
    assert register(workspace, made, against).champion_version == 2
    moves.rollback(models, "demo", reason="too sad", by="ann@host")
    return made, releases.contest("demo", made[1], workspace)


def test_a_candidate_that_was_rolled_back_is_kept_and_it_is_said_by_whom_and_why(models, workspace):
    made, against = two_champions(models, workspace)
    assert (against.alias_version, against.opponent.version) == (1, 1)
    before = len(models.log("demo").entries)
    release = register(workspace, made, against)
    assert (release.version, release.status, release.champion_version) == (2, "kept", 1)
    assert "by ann@host: too sad; `fer models promote demo@2` lifts it" in release.summary()
    assert is_registered(made)
    assert (models.get("demo").version, len(models.log("demo").entries)) == (1, before)
    moves.promote(models, "demo", 2)
    assert register(workspace, made, releases.contest("demo", made[1], workspace)).status == "released"


def test_the_model_that_was_rolled_back_is_kept_under_another_version_too(models, workspace):
    made, against = two_champions(models, workspace)
    other_verdict = VerdictRef(passed=True, checks=(), champion_version=1)
    other = committed(workspace, "gate", "other", other_verdict, {"verdict.json": b"another one"})
    release = register(workspace, (*made[:3], other), against)
    assert (release.version, release.status, release.champion_version) == (3, "kept", 1)
    assert "version 3 is the same model as version 2" in release.kept_because
    assert models.get("demo", "3").status == "kept"
    assert "demo@2` lifts it" in models.get("demo", "3").reasons[-1]


def test_a_registration_that_found_its_champion_moved_by_an_operator_is_a_conflict(models, workspace):
    register(workspace, parts(workspace))
    made = parts(workspace, weights="b")
    against = releases.contest("demo", made[1], workspace)
    moves.withdraw(models, "demo", 1, "wrong")
    with pytest.raises(errors.StoreConflict, match="run the same command again"):
        register(workspace, made, against)
    assert models.alias("demo") is None
    assert register(workspace, made, releases.contest("demo", made[1], workspace)).champion_version == 2


def test_the_log_names_the_run_that_promoted(models, workspace):
    releases.register(RECIPE, LINEAGE, *parts(workspace), Contest(), by="run demo (12)", workspace=workspace)
    assert {each.by for each in models.log("demo").entries} == {"run demo (12)"}


def test_a_champion_is_met_with_its_source_and_its_files(models, workspace):
    register(workspace, parts(workspace))
    candidate = parts(workspace, weights="b")[1]
    found = releases.contest("demo", candidate, workspace)
    assert (found.alias_version, found.opponent.version, found.opponent.source) == (1, 1, "demo")
    assert found.opponent.same_preprocessing
    assert (workspace.folder(found.opponent.model) / files.TRAINED_ON).is_file()


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
    assert releases.contest("demo", parts(workspace, weights="b")[1], workspace).opponent.model.classes == CLASSES


def test_a_model_record_that_can_not_be_read_is_a_clear_error(models, workspace, monkeypatch):
    tampered(models, workspace, monkeypatch, {"classes": None})
    with pytest.raises(errors.IntegrityError, match=r"model\.json must be.*demo@1 classes: Field required.*--name"):
        releases.contest("demo", parts(workspace, weights="b")[1], workspace)


def test_a_preprocessing_record_that_can_not_be_read_is_a_clear_error(workspace):
    model = parts(workspace)[1]
    (workspace.folder(model) / files.PREPROCESSING).write_text("{}")
    with pytest.raises(errors.IntegrityError, match=r"preprocessing\.json must be"):
        releases.preprocessing_of(model, workspace)
