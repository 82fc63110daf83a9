import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import errors
from fer.evaluation.comparing import differences
from fer.evaluation.comparing.differences import Shared
from fer.evaluation.predictions import Predictions

CLASSES = ("happy", "sad", "surprise")


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    """What is tested holds for any number of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(differences, "_SAMPLES", 500)
        yield


@st.composite
def answers(draw):
    """(truth, what A says, what B says) of some images, with slices, some of them empty."""
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    truth, a, b = rng.integers(0, draw(st.integers(1, 3)), (3, n))
    return Shared(tuple(map(str, range(n))), truth, a, b, CLASSES), {"dark": rng.random(n) < 0.4, "none": a > 9}


def mirrored(images):
    return images._replace(a=images.b, b=images.a)


@settings(max_examples=20)
@given(answers())
def test_exchanging_the_models_mirrors_every_figure(case):
    images, slices = case
    there, back = differences.between(images, slices), differences.between(mirrored(images), slices)
    assert (there.n_gained, there.n_lost) == (back.n_lost, back.n_gained)
    assert (there.accuracy, there.macro_f1) == (back.accuracy.negated(), back.macro_f1.negated())
    for one, other in zip((*there.per_class, *there.slices), (*back.per_class, *back.slices), strict=True):
        assert one.difference == other.difference.negated()
        assert (one.accuracy_a, one.accuracy_b, one.n_gained) == (other.accuracy_b, other.accuracy_a, other.n_lost)
        assert (one.p_value, one.p_corrected) == (other.p_value, other.p_corrected)
    same = {"n_images", "p_value", "n_both_right", "n_both_wrong", "n_other_wrong"}
    assert there.model_dump(include=same) == back.model_dump(include=same)


def test_two_models_with_mirrored_answers_are_as_far_from_each_other_either_way():
    truth, a, b = [2, 0, 0], [0, 0, 2], [2, 1, 0]
    found = differences.between(Shared(tuple("abcdef"), np.array(2 * truth), np.array(a + b), np.array(b + a), CLASSES))
    for estimate in (found.accuracy, found.macro_f1):
        assert estimate.value == 0
        assert estimate.interval[0] == -estimate.interval[1] < 0


@settings(max_examples=20)
@given(answers(), st.randoms())
def test_the_order_of_the_images_does_not_matter(case, random):
    images, _ = case
    order = list(range(len(images.truth)))
    random.shuffle(order)
    shuffled = images._replace(truth=images.truth[order], a=images.a[order], b=images.b[order])
    assert differences.between(shuffled) == differences.between(images)


@settings(max_examples=20)
@given(answers())
def test_a_model_differs_in_nothing_from_itself(case):
    images, _ = case
    found = differences.between(images._replace(b=images.a))
    assert (found.accuracy.value, found.accuracy.interval, found.macro_f1.interval) == (0, (0, 0), (0, 0))
    assert (found.n_gained, found.n_lost, found.n_other_wrong, found.p_value) == (0, 0, 0, 1)


@settings(max_examples=20)
@given(answers())
def test_the_counts_add_up_and_intervals_hold_their_figure(case):
    found = differences.between(case[0])
    assert found.n_both_right + found.n_both_wrong + found.n_gained + found.n_lost == found.n_images
    assert sum(group.n_images for group in found.per_class) == found.n_images
    for group in found.per_class:
        low, high = group.difference.interval
        assert -1 <= low <= group.difference.value <= high <= 1
        assert group.difference.value == pytest.approx(group.accuracy_b - group.accuracy_a)


def test_newcombes_intervals_are_those_of_his_tables():
    # Newcombe 1998, Statistics in Medicine 17: page 2643, method 10 of (36, 12, 2, 0); page 876, 56/70 and 48/80.
    paired = differences.paired_interval(36, 2, 12, 0)
    assert (paired.value, *paired.interval) == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-4)
    unpaired = differences.unpaired_interval(48, 80, 56, 70)
    assert (unpaired.value, *unpaired.interval) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_holm_corrects_by_the_number_of_hypotheses_that_are_left():
    assert differences.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert differences.holm([]) == []


def predictions(image_ids, truth, predicted, classes):
    probabilities = np.eye(len(classes), dtype=np.float32)[predicted]
    return Predictions(
        image_ids, np.array(truth), np.array(predicted), probabilities, np.ones(len(truth), bool), classes
    )


def test_two_models_share_the_images_of_both_whatever_the_order_of_their_classes():
    a = predictions(["x", "y", "z"], [0, 1, 2], [0, 0, 2], CLASSES)
    b = predictions(["z", "w", "y", "x"], [0, 0, 1, 1], [0, 0, 1, 2], ("surprise", "sad", "happy"))
    found = differences.shared(a, b)
    assert (found.image_ids, found.classes, found.n_relabelled) == (("y", "z"), CLASSES, 1)
    assert (found.truth.tolist(), found.a.tolist(), found.b.tolist()) == ([1, 2], [0, 2], [1, 2])
    assert (found.gained.tolist(), found.lost.tolist()) == ([True, False], [False, False])


def test_models_without_a_common_image_or_with_other_classes_are_not_compared():
    a = predictions(["x"], [0], [0], CLASSES)
    with pytest.raises(errors.ContractViolation, match="same images"):
        differences.between(differences.shared(a, predictions(["y"], [0], [0], CLASSES)))
    with pytest.raises(errors.ConfigError, match="same classes"):
        differences.shared(a, predictions(["x"], [0], [0], ("happy", "sad")))
