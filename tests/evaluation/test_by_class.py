import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from fer.evaluation import by_class, metrics, predictions
from fer.evaluation.config import GateConfig
from fer.evaluation.gates.beforehand import ComparedImages
from fer.evaluation.gates.comparison import Comparison

CLASSES = ("angry", "happy", "sad")


def compared(truth, old, new, samples=400) -> Comparison:
    ids = [str(at) for at in range(len(truth))]
    truth, old, new = (np.array(indexes, np.int32) for indexes in (truth, old, new))

    def answers(predicted):
        n = len(truth)
        return predictions.Predictions(ids, truth, predicted, np.zeros((n, 3), np.float32), np.ones(n, bool), CLASSES)

    images = ComparedImages(ids, truth, None)
    return Comparison(answers(new), answers(old), images, "champion", GateConfig(samples=samples))


@pytest.fixture
def random_answers():
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 3, 300)
    old, new = (np.where(draw.random(300) < share, truth, draw.integers(0, 3, 300)) for share in (0.5, 0.7))
    return truth, old, new


def test_each_score_is_scikit_learns_and_each_difference_that_of_the_two(random_answers):
    truth, old, new = random_answers
    changes = by_class.changes(compared(truth, old, new))
    for side, predicted in (("released", old), ("candidate", new)):
        expected = precision_recall_fscore_support(truth, predicted, labels=range(3))
        for at, name in enumerate(("precision", "recall", "f1")):
            found = [getattr(getattr(row, name), side) for row in changes.classes]
            np.testing.assert_allclose(found, expected[at], atol=1e-12)
    for row in (*changes.classes, changes.macro):
        for change in (row.precision, row.recall, row.f1):
            assert change.difference == pytest.approx(change.candidate - change.released)
            assert change.interval[0] < change.difference < change.interval[1]
    assert [row.support for row in changes.classes] == np.bincount(truth).tolist()


def test_accuracy_and_macro_f1_are_those_of_the_gates_comparison(random_answers):
    comparison = compared(*random_answers)
    changes = by_class.changes(comparison)
    assert changes.accuracy.difference == pytest.approx(comparison.difference.accuracy)
    assert changes.macro.f1.difference == pytest.approx(comparison.difference.macro_f1)
    assert changes.accuracy.interval == pytest.approx(comparison.difference.accuracy_interval(metrics.CONFIDENCE))
    assert (changes.lost, changes.gained) == (comparison.lost.sum(), comparison.gained.sum())


def test_a_model_against_itself_changes_nothing_not_even_by_chance(random_answers):
    truth, old, _ = random_answers
    changes = by_class.changes(compared(truth, old, old))
    assert changes.lost == changes.gained == 0
    assert all(row.f1.interval == (0, 0) for row in changes.classes)


def test_a_class_without_images_counts_for_nothing():
    changes = by_class.changes(compared([0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 1, 1]))
    assert changes.classes[2].support == 0
    assert changes.classes[2].recall.difference == 0
    assert changes.macro.f1.candidate == 1
