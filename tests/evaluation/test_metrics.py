import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import errors
from fer.evaluation import metrics, predictions

CLASSES = ("happy", "sad", "angry")


def certain(predicted, n_classes: int = 3) -> np.ndarray:
    """Probabilities of 0.9 for the predicted classes."""
    rest = 0.1 / (n_classes - 1)
    return np.where(np.eye(n_classes)[predicted] == 1, 0.9, rest).astype(np.float32)


def write(path, truth, predicted, classes=CLASSES, is_clean=None):
    ids = [f"{row:032x}" for row in range(len(truth))]
    clean = np.ones(len(truth), bool) if is_clean is None else np.array(is_clean, bool)
    predictions.write(path, ids, np.array(truth, np.int32), certain(np.array(predicted), len(classes)), clean, classes)
    return path


labels = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


@settings(max_examples=settings.default.max_examples * 2 // 5)
@given(labels)
def test_the_scores_are_those_of_scikit_learn(pairs):
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    truth, predicted = np.array(pairs).T
    matrix = metrics.confusion(truth, predicted, 3)
    expected = precision_recall_fscore_support(truth, predicted, labels=range(3), zero_division=0)
    for scores, reference in zip(metrics.class_scores(matrix), expected, strict=True):
        np.testing.assert_allclose(scores, reference)
    reference = f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    assert metrics.macro_f1(matrix) == pytest.approx(reference)


def test_metrics_come_from_the_parquet_alone(tmp_path):
    scores = metrics.from_predictions(write(tmp_path / "p.parquet", [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]))
    assert scores.confusion == ((2, 1, 0), (0, 2, 0), (1, 0, 0))
    assert scores.accuracy == pytest.approx(4 / 6)
    assert [per_class.support for per_class in scores.per_class] == [3, 2, 1]
    assert scores.per_class[0].precision == pytest.approx(2 / 3)
    assert scores.macro.recall == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores.weighted.recall == pytest.approx(scores.accuracy)
    assert scores.accuracy_interval[0] < scores.accuracy < scores.accuracy_interval[1]
    # All are predicted with 0.9, and 4 of 6 are right.
    assert scores.calibration_error == pytest.approx(0.9 - 4 / 6, abs=1e-6)


def test_the_deduplicated_scores_are_those_of_the_clean_images_alone(tmp_path):
    truth, predicted, clean = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0]
    whole = metrics.from_predictions(write(tmp_path / "all.parquet", truth, predicted, is_clean=clean))
    scores = whole.deduplicated
    alone = metrics.from_predictions(write(tmp_path / "alone.parquet", truth[1:4], predicted[1:4]))
    assert whole.deduplicated_probabilities == alone.probabilities
    assert (scores.n_images, scores.accuracy, scores.macro_f1) == (3, pytest.approx(2 / 3), alone.macro.f1)
    assert scores.accuracy_interval == alone.accuracy_interval
    assert scores.macro_f1_interval == alone.macro_f1_interval
    assert alone.deduplicated.accuracy == alone.accuracy


@pytest.mark.parametrize("of_absent", [0, 1], ids=["never predicted", "predicted for an image of another class"])
def test_a_class_without_a_clean_image_is_left_out_of_the_deduplicated_macro_f1_and_named(tmp_path, of_absent):
    truth, predicted = [0, 0, 1, 1, 2], [0, 0, 1, 1 + of_absent, 2]
    scores = metrics.from_predictions(write(tmp_path / "p", truth, predicted, is_clean=[1, 1, 1, 1, 0]))
    assert (scores.absent_classes, scores.deduplicated.absent_classes) == ((), ("angry",))
    sad = 2 / 3 if of_absent else 1
    assert scores.deduplicated.macro_f1 == pytest.approx((1 + sad) / 2)
    assert scores.deduplicated.macro_f1_interval[0] <= scores.deduplicated.macro_f1
    assert scores.deduplicated.macro_f1_interval[1] > 0.9
    flipped = scores.with_flip_tta(scores)
    assert flipped.flip_tta_deduplicated.absent_classes == ("angry",)


def test_metrics_that_call_flip_tta_flip_averaged_are_read(tmp_path):
    scores = metrics.from_predictions(write(tmp_path / "p", [0, 1], [0, 1]))
    scores = scores.with_flip_tta(scores)
    older = scores.model_dump_json().replace("flip_tta", "flip_averaged")
    assert metrics.Metrics.model_validate_json(older) == scores


def test_a_class_that_the_split_lacks_is_left_out_of_all_macro_averages(tmp_path):
    scores = metrics.from_predictions(write(tmp_path / "p", [0, 0, 1, 1], [0, 0, 1, 1]))
    assert (scores.macro.f1, scores.macro.recall, scores.macro.precision) == (1, 1, 1)
    assert (scores.macro_f1_interval, scores.absent_classes) == ((1, 1), ("angry",))


def test_without_a_clean_image_there_are_no_deduplicated_scores(tmp_path):
    assert metrics.from_predictions(write(tmp_path / "p", [0, 1], [0, 1], is_clean=[0, 0])).deduplicated is None


def test_equal_predictions_differ_by_nothing_at_any_confidence():
    truth, predicted = np.array([0, 1, 2, 0]), np.array([0, 1, 1, 2])
    difference = metrics.paired_difference(truth, predicted, predicted, 3)
    assert (difference.accuracy, difference.macro_f1) == (0, 0)
    for confidence in (0.6, 0.999):
        assert difference.accuracy_bound(confidence) == difference.macro_f1_bound(confidence) == 0
        assert difference.accuracy_interval(confidence) == (0, 0)
    assert difference.correlation == 0


@pytest.mark.parametrize(("n_gained", "n_lost"), [(0, 0), (5, 0), (0, 5), (40, 25), (300, 280)])
def test_mcnemars_exact_test_is_that_of_a_fair_coin(n_gained, n_lost):
    n = n_gained + n_lost
    at_least_so_many = sum(math.comb(n, k) for k in range(n_gained, n + 1)) / 2**n
    assert metrics.mcnemar(n_gained, n_lost) == pytest.approx(at_least_so_many, rel=1e-9)


def test_the_difference_is_signed_towards_the_candidate_and_pairing_tightens_it():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 600)
    champion = np.where(rng.random(600) < 0.6, truth, (truth + 1) % 3)
    candidate = np.where(rng.random(600) < 0.05, truth, champion)  # the champion, and a few more right
    difference = metrics.paired_difference(truth, champion, candidate, 3)
    assert difference.accuracy == pytest.approx((candidate == truth).mean() - (champion == truth).mean())
    assert 0 < difference.accuracy_bound() < difference.accuracy
    assert 0 < difference.macro_f1_bound() < difference.macro_f1
    # The same two accuracies on unrelated rows can't be told apart so well.
    shuffled = np.where(rng.permutation(candidate == truth), truth, (truth + 1) % 3)
    assert metrics.paired_difference(truth, champion, shuffled, 3).accuracy_bound() < difference.accuracy_bound()


def test_predictions_come_back_as_they_were_written(tmp_path):
    read = predictions.read(write(tmp_path / "p.parquet", [0, 1, 2], [2, 1, 0]))
    assert read.classes == CLASSES
    assert read.class_indexes.tolist() == [0, 1, 2]
    assert read.predicted.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(read.probabilities, certain(np.array([2, 1, 0])))
    assert read.is_clean.tolist() == [True, True, True]


def test_a_damaged_file_is_an_integrity_error(tmp_path):
    (tmp_path / "p.parquet").write_bytes(b"no Parquet")
    with pytest.raises(errors.IntegrityError, match="whole Parquet"):
        metrics.from_predictions(tmp_path / "p.parquet")


@pytest.mark.parametrize("metadata", [{"classes": '["a"]'}, {}])
def test_other_columns_are_refused(tmp_path, metadata):
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata(metadata), tmp_path / "p.parquet")
    with pytest.raises(errors.IntegrityError, match="own columns"):
        predictions.read(tmp_path / "p.parquet")
