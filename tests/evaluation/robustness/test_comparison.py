import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation.refs import Champion, RobustnessRef
from fer.evaluation.robustness import answers, comparison
from fer.evaluation.robustness.config import RobustnessConfig
from fer.training.refs import ModelRef

CONFIG = RobustnessConfig(corruptions=("jpeg", "rotation"), severities=(1, 5))
N = 40
IDS = [f"{row:03}" for row in range(N)]


def answers_of(right: dict[str, float], truth: int = 1) -> answers.Answers:
    predicted = {
        condition.name: (np.arange(N) < right.get(condition.name, 1.0) * N).astype(np.int32)
        for condition in answers.conditions(CONFIG)
    }
    return answers.Answers(IDS, np.full(N, truth, np.int32), predicted)


OLD = {"clean": 0.9, "jpeg-1": 0.8, "jpeg-5": 0.4, "rotation-1": 0.8, "rotation-5": 0.8}
NEW = {"clean": 0.9, "jpeg-1": 0.9, "jpeg-5": 0.6, "rotation-1": 0.7, "rotation-5": 0.7}


def compared(new=NEW, old=OLD, unseen=frozenset(IDS)) -> comparison.RobustnessComparison:
    return comparison.of_answers(answers_of(new), answers_of(old), set(unseen), CONFIG, 3)


def test_corruption_errors_are_relative_to_the_champions():
    result = compared()
    jpeg, rotation = result.kinds
    assert (jpeg.error, jpeg.champion_error) == (pytest.approx(0.25), pytest.approx(0.4))
    assert jpeg.corruption_error == pytest.approx(0.25 / 0.4)
    assert rotation.corruption_error == pytest.approx(0.3 / 0.2)
    assert result.mean_corruption_error == pytest.approx((0.625 + 1.5) / 2)
    # Beyond the error of 0.1 that both make on the images as they are.
    assert jpeg.relative_corruption_error == pytest.approx(0.15 / 0.3)
    assert rotation.relative_corruption_error == pytest.approx(0.2 / 0.1)
    assert result.relative_mean_corruption_error == pytest.approx((0.5 + 2) / 2)
    assert result.difference == pytest.approx(0.725 - 0.7)
    low, high = result.difference_interval
    assert low < result.difference < high
    assert comparison.RobustnessComparison.model_validate_json(result.model_dump_json()) == result


def test_a_model_beside_itself_has_an_error_of_1_and_no_difference():
    result = compared(OLD, OLD)
    assert (result.mean_corruption_error, result.relative_mean_corruption_error) == (1, 1)
    assert (result.difference, result.standard_error) == (0, 0)


def test_a_champion_without_errors_leaves_nothing_to_divide_by():
    result = compared(OLD, {})
    assert result.mean_corruption_error is None
    assert result.relative_mean_corruption_error is None
    assert all(kind.corruption_error is None for kind in result.kinds)
    unmoved = compared(OLD, {"clean": 0.8, "jpeg-1": 0.8, "jpeg-5": 0.8, "rotation-1": 0.7, "rotation-5": 0.7})
    jpeg, rotation = unmoved.kinds
    assert (jpeg.relative_corruption_error, jpeg.corruption_error) == (None, pytest.approx(2))
    assert unmoved.relative_mean_corruption_error == rotation.relative_corruption_error


def test_only_images_that_the_champion_never_met_count():
    result = compared(unseen=IDS[:36])
    assert result.n_images == 36
    assert result.kinds[0].champion_error == pytest.approx(1 - (32 + 16) / 72)
    few = compared(unseen=IDS[:29])
    assert (few.n_images, few.difference, few.kinds) == (29, None, ())


def test_other_images_or_labels_are_refused():
    other = answers.Answers([*IDS[:-1], "x"], answers_of(OLD).class_indexes, answers_of(OLD).predicted)
    for champion in (other, answers_of(OLD, truth=0)):
        with pytest.raises(errors.ContractViolation, match="same corrupted images"):
            comparison.of_answers(answers_of(NEW), champion, set(IDS), CONFIG, 3)


def test_the_stage_writes_the_record_and_hands_its_figures_on(tmp_path):
    workspace = LocalWorkspace(tmp_path)

    def robustness_of(right):
        def produce(out):
            answers.write(out / answers.FILE, answers_of(right))
            return RobustnessRef(
                split="test", n_images=N, accuracy=0.9, mean_accuracy=0.7, mean_accuracy_interval=(0.6, 0.8)
            )

        return workspace.run("robustness", str(len(right)), RobustnessRef, produce, resumable=False)

    def split(out):
        rows = {"image_id": IDS, "pixel_sha256": IDS, "near_duplicates": [[]] * N, "class_index": [1] * N}
        near = pa.array(rows.pop("near_duplicates"), pa.list_(pa.string()))
        pq.write_table(pa.table(rows | {"near_duplicates": near, "split": ["test"] * N}), out / files.SPLIT)
        return SplitRef(classes=("a", "b"), counts={}, origin="drawn")

    def model(out):
        pq.write_table(pa.table({"pixel_sha256": IDS[:5]}), out / files.TRAINED_ON)
        return ModelRef(
            model="cnn", classes=("a", "b"), n_parameters=1, epochs_run=1, best_epoch=1, validation_accuracy=0.5,
            train_seconds=1,
        )  # fmt: skip

    champion = Champion(
        version=3,
        source="demo",
        model=workspace.run("train", "x", ModelRef, model, resumable=False),
        same_preprocessing=True,
        robustness=robustness_of(OLD),
    )
    split_ref = workspace.run("split", "x", SplitRef, split, resumable=False)
    ref = comparison.compare(robustness_of(NEW | {"x": 1.0}), champion, split_ref, CONFIG, workspace=workspace)
    written = (workspace.folder(ref) / comparison.FILE).read_bytes()
    result = comparison.RobustnessComparison.model_validate_json(written)
    assert result == compared(unseen=IDS[5:])
    assert (ref.n_images, ref.champion_version, ref.difference) == (35, 3, result.difference)
    assert "mean corruption error" in ref.summary()
