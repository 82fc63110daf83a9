import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation import evaluate, metrics, predictions
from fer.evaluation.calibration import calibrator
from fer.evaluation.calibration import scores as calibration_scores
from fer.evaluation.refs import CalibrationRef, EvaluationRef, Scores
from fer.models import saved_model
from fer.progress import Reporter
from fer.shards import parquet
from fer.shards.refs import ShardsRef
from tests.support.untrained import CLASSES, SIZE, model_of

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def shards_of(workspace, size=SIZE, classes=CLASSES, name="shards") -> ShardsRef:
    def produce(out):
        rng = np.random.default_rng(0)
        class_indexes = (np.arange(30) % len(classes)).astype(np.int32)
        pixels = rng.integers(0, 256, (30, size, size), dtype=np.uint8)
        parquet.write(out / parquet.name("test", 0), [f"id{row}" for row in range(30)], class_indexes, pixels, classes)
        counts = {"test": dict.fromkeys(classes, 10)}
        return ShardsRef(classes=classes, height=size, width=size, counts=counts, mean=128.0, std=70.0)

    return workspace.run("preprocess", name, ShardsRef, produce, resumable=False)


def split_of(workspace, n_clean=20) -> SplitRef:
    """A split whose first images are clean."""

    def produce(out):
        rows = {"image_id": [f"id{row}" for row in range(30)], "is_clean": [row < n_clean for row in range(30)]}
        pq.write_table(pa.table(rows), out / files.SPLIT)
        return SplitRef(classes=CLASSES, counts={}, origin="drawn")

    return workspace.run("split", str(n_clean), SplitRef, produce, resumable=False)


def test_an_evaluation_holds_predictions_and_metrics(workspace, in_this_process):
    counts = []
    model, images = model_of(workspace), shards_of(workspace)
    ref = evaluate.evaluate(
        model,
        images,
        split_of(workspace),
        "test",
        None,
        workspace=workspace,
        progress=Reporter(lambda *count: counts.append(count)),
    )
    folder = workspace.folder(ref)
    assert ref.n_images == 30
    assert ref.deduplicated.n_images == 20
    assert counts[-1][:2] == (60, 60)
    rows = predictions.read(folder / predictions.FILE)
    assert rows.image_ids == sorted(f"id{row}" for row in range(30))
    scores = metrics.Metrics.model_validate_json((folder / "metrics.json").read_bytes())
    averaged = metrics.from_predictions(folder / predictions.FLIP_TTA)
    assert scores == metrics.from_predictions(folder / predictions.FILE).with_flip_tta(averaged)
    assert ref.flip_tta.accuracy == averaged.accuracy
    assert ref.flip_tta_deduplicated.n_images == 20
    assert (scores.accuracy, scores.macro.f1) == (ref.accuracy, ref.macro_f1)


def test_flip_tta_is_the_mean_over_an_image_and_its_mirror_image(workspace, in_this_process):
    model, images = model_of(workspace), shards_of(workspace)
    ref = evaluate.evaluate(model, images, split_of(workspace), "test", None, workspace=workspace)
    averaged = predictions.read(workspace.folder(ref) / predictions.FLIP_TTA)
    loaded = saved_model.load(workspace.folder(model))
    pixels = parquet.load_split(workspace.folder(images), "test").pixels
    expected = sum(saved_model.probabilities(loaded, oriented, 30) for oriented in (pixels, pixels[:, :, ::-1])) / 2
    np.testing.assert_allclose(averaged.probabilities, expected, atol=1e-6)
    single = predictions.read(workspace.folder(ref) / predictions.FILE).probabilities
    assert np.abs(single - expected).max() > 1e-6


def test_a_calibrated_model_is_evaluated_by_its_calibration_which_changes_no_answer(workspace, in_this_process):
    model, images, split = model_of(workspace), shards_of(workspace), split_of(workspace)
    level = calibrator.SetLevel(coverage=0.9, thresholds=dict.fromkeys(CLASSES, 0.7))
    known = calibrator.Calibration(
        classes=CLASSES, temperature=2.5, coverage=0.9, by_class=False, n_images=90, images_by_class={}, sets=(level,)
    )

    def produce(out):
        (out / calibrator.FILE).write_text(known.model_dump_json())
        return calibrator.ref(known)

    calibration = workspace.run("calibrate", "0", CalibrationRef, produce, resumable=False)
    own = workspace.folder(evaluate.evaluate(model, images, split, "test", None, workspace=workspace))
    ref = evaluate.evaluate(model, images, split, "test", calibration, workspace=workspace)
    folder = workspace.folder(ref)
    raw, calibrated = (predictions.read(one / predictions.FILE) for one in (own, folder))
    np.testing.assert_array_equal(raw.predicted, calibrated.predicted)
    np.testing.assert_array_equal(calibrated.probabilities, known.probabilities(raw.probabilities))
    np.testing.assert_array_equal(predictions.read(folder / calibration_scores.FILE).probabilities, raw.probabilities)
    assert calibrator.load(folder) == known
    scores = metrics.Metrics.model_validate_json((folder / evaluate.METRICS).read_bytes())
    assert scores.calibration == calibration_scores.measure(folder, known)
    assert scores.calibration.after.log_loss == scores.probabilities.log_loss
    assert not (own / calibrator.FILE).exists()


def test_the_same_model_on_the_same_images_gives_the_same_digest(workspace, in_this_process, tmp_path):
    first = evaluate.evaluate(
        model_of(workspace), shards_of(workspace), split_of(workspace), "test", None, workspace=workspace
    )
    other = LocalWorkspace(tmp_path / "other")
    again = evaluate.evaluate(model_of(other), shards_of(other), split_of(other), "test", None, workspace=other)
    assert again.digest == first.digest


def test_other_predictions_are_another_evaluation(workspace, in_this_process):
    first = evaluate.evaluate(
        model_of(workspace), shards_of(workspace), split_of(workspace), "test", None, workspace=workspace
    )
    reversed_classes = evaluate.evaluate(
        model_of(workspace, CLASSES[::-1]), shards_of(workspace), split_of(workspace), "test", None, workspace=workspace
    )
    assert reversed_classes.digest != first.digest


def test_a_model_with_its_classes_in_another_order_is_scored_by_their_names(workspace, in_this_process):
    images = shards_of(workspace)
    in_order = evaluate.evaluate(model_of(workspace), images, split_of(workspace), "test", None, workspace=workspace)
    reversed_model = model_of(workspace, CLASSES[::-1])
    in_reverse = evaluate.evaluate(reversed_model, images, split_of(workspace), "test", None, workspace=workspace)
    probabilities = predictions.read(workspace.folder(in_order) / predictions.FILE).probabilities
    np.testing.assert_array_equal(
        predictions.read(workspace.folder(in_reverse) / predictions.FILE).probabilities, probabilities[:, ::-1]
    )


def test_other_classes_are_refused(workspace, in_this_process):
    images = shards_of(workspace, classes=("happy", "sad", "fear"))
    with pytest.raises(errors.ConfigError, match=r"own classes.*fear"):
        evaluate.evaluate(model_of(workspace), images, split_of(workspace), "test", None, workspace=workspace)


def test_images_of_another_size_are_refused(workspace, in_this_process):
    with pytest.raises(errors.ConfigError, match="own size"):
        evaluate.evaluate(
            model_of(workspace), shards_of(workspace, size=20), split_of(workspace), "test", None, workspace=workspace
        )


def test_classes_without_an_image_are_named_beside_macro_f1(tmp_path):
    scores = Scores(
        n_images=2, accuracy=1, accuracy_interval=(0, 1), macro_f1=1, macro_f1_interval=(0, 1), absent_classes=("z",)
    )
    ref = EvaluationRef(
        split="test", n_images=3, accuracy=1, accuracy_interval=(0, 1), macro_f1=1, macro_f1_interval=(0, 1),
        deduplicated=scores,
    )  # fmt: skip
    assert "on the 2 de-duplicated ones (none of z, left out of macro-F1)" in ref.summary()
    assert "on 3 test images (none of z, left out of macro-F1)" in (
        ref.model_copy(update={"absent_classes": ("z",)}).summary()
    )
