import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation import predictions
from fer.evaluation.calibration import calibrate, calibrator, scores
from fer.evaluation.calibration.config import CalibrationConfig
from fer.models import validation
from fer.training.refs import ModelRef

CLASSES = ("happy", "sad", "angry")


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def drawn(n: int, sureness: float = 3.0, seed: int = 0, n_present: int = 3):
    """(N,) truth and (N, 3) probabilities of a model that is too sure."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, n_present, n).astype(np.int32)
    logits = sureness * (draw.normal(size=(n, 3)) + np.eye(3)[truth])
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return truth, (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def trained(workspace, n: int, n_clean: int | None = None, **options) -> tuple[ModelRef, SplitRef]:
    """A model with what it said of `n` validation images, of which `n_clean` are clean."""
    truth, values = drawn(n, **options)
    ids = [f"{row:032x}" for row in range(n)]

    def train(out):
        validation.write(out, validation.Outputs(ids, truth, values))
        return ModelRef(
            model="cnn", classes=CLASSES, n_parameters=1, epochs_run=1, best_epoch=1, validation_accuracy=0.0,
            train_seconds=0.0,
        )  # fmt: skip

    def split(out):
        is_clean = [row < (n if n_clean is None else n_clean) for row in range(n)]
        rows = pa.table({"image_id": pa.array(ids, pa.string()), "is_clean": pa.array(is_clean, pa.bool_())})
        pq.write_table(rows, out / files.SPLIT)
        return SplitRef(classes=CLASSES, counts={}, origin="drawn")

    return (
        workspace.run("train", "0", ModelRef, train, resumable=False),
        workspace.run("split", "0", SplitRef, split, resumable=False),
    )


def calibrated(workspace, n: int, config=None, **options):
    ref = calibrate.calibrate(*trained(workspace, n, **options), config or CalibrationConfig(), workspace=workspace)
    return ref, calibrator.load(workspace.folder(ref))


def test_a_model_that_is_too_sure_gets_a_temperature_and_sets(workspace):
    ref, known = calibrated(workspace, 800)
    assert ref.temperature == known.temperature > 1.5
    before, after = ref.calibration_errors
    assert after < before / 2
    assert [level.coverage for level in known.sets] == [0.8, 0.9, 0.95, 0.99]
    assert known.images_by_class == dict(zip(CLASSES, np.bincount(drawn(800)[0]).tolist(), strict=True))
    assert "sets that hold the true class in 90%" in ref.summary()


def test_only_the_deduplicated_images_are_looked_at(workspace, tmp_path):
    _, of_part = calibrated(workspace, 800, n_clean=200)
    other = LocalWorkspace(tmp_path / "other")
    truth, values = drawn(800)
    assert of_part == calibrate.fit(truth[:200], values[:200], CLASSES, CalibrationConfig())
    assert of_part != calibrated(other, 800)[1]


@pytest.mark.parametrize("n", [0, 1, 49])
def test_too_few_validation_images_change_nothing_and_give_no_sets(workspace, n):
    ref, known = calibrated(workspace, n)
    assert (known.temperature, known.sets, ref.coverage) == (1, (), None)
    assert f"{n} validation images, fewer than calibration.min_images=50" in ref.summary()
    raw = drawn(5)[1]
    np.testing.assert_array_equal(known.probabilities(raw), raw)


def test_a_class_without_validation_images_is_left_to_what_holds_for_all(workspace):
    _, known = calibrated(workspace, 200, n_present=2)
    assert known.images_by_class["angry"] == 0
    assert known.sets[0].thresholds["angry"] == known.sets[0].thresholds["happy"]


def test_a_class_without_validation_images_is_in_every_set_by_class(workspace):
    _, known = calibrated(workspace, 200, CalibrationConfig(by_class=True), n_present=2)
    assert known.sets[0].thresholds["angry"] is None
    sets = known.sets_of(known.probabilities(drawn(20)[1])[:, ::-1], CLASSES[::-1])
    assert sets[:, 0].all()


def test_another_coverage_has_its_own_sets_and_trains_nothing_again(workspace):
    _, known = calibrated(workspace, 300, CalibrationConfig(coverage=0.7))
    values = known.probabilities(drawn(100)[1])
    assert known.sets_of(values, CLASSES).sum() <= known.sets_of(values, CLASSES, 0.95).sum()
    assert known.coverage == 0.7


def test_the_scores_tell_both_sides_of_the_temperature_and_what_the_sets_cover(workspace, tmp_path):
    _, known = calibrated(workspace, 800)
    truth, raw = drawn(600, seed=7)
    ids, clean = [f"{row:032x}" for row in range(600)], np.arange(600) < 300
    predictions.write(tmp_path / scores.FILE, ids, truth, raw, clean, CLASSES)
    predictions.write(tmp_path / predictions.FILE, ids, truth, known.probabilities(raw), clean, CLASSES)
    measured = scores.measure(tmp_path, known)
    assert measured.after.log_loss < measured.before.log_loss
    assert measured.after.calibration_error < measured.before.calibration_error / 2
    assert measured.before == scores.quality(truth, raw)
    assert sum(one.n_images for one in measured.after.equal_width) == 600
    stated = next(level for level in measured.sets if level.stated == known.coverage)
    assert stated.all.coverage_interval[0] < 0.9 < stated.all.coverage_interval[1] + 0.03
    assert stated.deduplicated.n_images == 300
    assert [one.name for one in stated.by_class] == list(CLASSES)
    assert 0 < stated.all.unsure < 1 <= stated.all.mean_size
    assert scores.CalibrationScores.model_validate_json(measured.model_dump_json()) == measured


def test_a_folder_without_a_calibration_has_none(tmp_path):
    assert calibrator.load(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0}, {"temperature": "hot"}, {"surplus": 1}, {"classes": ["other"]}, {"coverage": 0.5}],
    ids=lambda change: next(iter(change)),
)
def test_a_calibration_that_is_not_one_is_refused(workspace, tmp_path, change):
    _, known = calibrated(workspace, 100)
    (tmp_path / calibrator.FILE).write_text(json.dumps(known.model_dump(mode="json") | change))
    with pytest.raises(errors.IntegrityError, match=r"calibration\.json must be"):
        calibrator.load(tmp_path)


def test_damaged_validation_outputs_are_an_integrity_error(tmp_path):
    truth, values = drawn(3)
    validation.write(tmp_path, validation.Outputs(["a", "b", "c"], truth, values))
    assert validation.read(tmp_path, 3).image_ids == ["a", "b", "c"]
    with pytest.raises(errors.IntegrityError, match="validation images"):
        validation.read(tmp_path, 4)
    (tmp_path / validation.FILE).write_bytes(b"no Parquet")
    with pytest.raises(errors.IntegrityError, match="validation images"):
        validation.read(tmp_path, 3)


@pytest.mark.parametrize("coverage", [0.5, 1, -1])
def test_a_coverage_must_be_above_a_half_and_below_1(coverage):
    with pytest.raises(ValidationError):
        CalibrationConfig(coverage=coverage)
