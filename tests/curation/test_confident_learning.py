import functools
from collections import defaultdict

import numpy as np
import pytest

from fer.curation import confident_learning
from fer.ingest.demo import faces as demo_faces

CLASSES = ("happy", "surprise", "sad")
N_PER_CLASS = 120


@functools.cache
def faces():
    """(n, 2304) uint8 drawn faces and their classes, (n,)."""
    drawn = [
        demo_faces.draw(name, np.random.default_rng([class_index, number]))
        for class_index, name in enumerate(CLASSES)
        for number in range(N_PER_CLASS)
    ]
    return np.stack(drawn).reshape(len(drawn), -1), np.arange(len(drawn)) // N_PER_CLASS


def find(thumbnails, labels, groups=None, **other):
    groups = [str(row) for row in range(len(labels))] if groups is None else groups
    return confident_learning.find(thumbnails, labels, groups, **{"folds": 4, "max_share": 0.1, "seed": 0, **other})


def planted():
    images, labels = faces()
    wrong = np.random.default_rng(1).choice(len(labels), 18, replace=False)
    given_labels = labels.copy()
    given_labels[wrong] = (given_labels[wrong] + 1) % 3
    return images, labels, given_labels, np.isin(np.arange(len(labels)), wrong)


@functools.cache
def doubts_of_planted():
    """What is found among the planted errors."""
    images, _, given_labels, _ = planted()
    return find(images, given_labels)


def test_planted_errors_are_found_and_named():
    _, labels, _, is_wrong = planted()
    doubts = doubts_of_planted()
    right = doubts.is_error & is_wrong
    assert right.sum() / is_wrong.sum() > 0.6
    assert right.sum() / doubts.is_error.sum() > 0.6
    assert (doubts.suggested[right] == labels[right]).mean() > 0.8
    assert doubts.quality[is_wrong].mean() < 0.3 < 0.7 < doubts.quality[~is_wrong].mean()


@pytest.mark.slow  # by what it computes
def test_a_larger_share_doubts_more_labels():
    images, _, given_labels, _ = planted()
    strict, lax = (find(images, given_labels, max_share=share) for share in (0.02, 1))
    assert set(np.flatnonzero(strict.is_error)) < set(np.flatnonzero(lax.is_error))
    assert np.array_equal(strict.quality, lax.quality)


def test_the_same_images_give_the_same_figures():
    images, _, given_labels, _ = planted()
    first, second = doubts_of_planted(), find(images, given_labels)
    for name in ("suggested", "quality", "is_error"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.slow  # by what it computes
def test_the_number_of_cores_changes_nothing(monkeypatch):
    images, _, given_labels, _ = planted()
    threaded = doubts_of_planted()
    monkeypatch.setattr(confident_learning.process_pool, "usable_cores", lambda: 1)
    assert np.array_equal(find(images, given_labels).quality, threaded.quality)


def test_a_mirrored_face_is_the_same_face():
    images = faces()[0][:20].reshape(-1, 48, 48)
    filters = confident_learning._filters(images, np.random.default_rng(0))
    pooled, mirrored = (confident_learning._pooled(batch, filters) for batch in (images, images[:, :, ::-1]))
    assert np.abs(pooled - mirrored).max() < 1e-2 < np.abs(pooled - pooled[::-1]).max()


def test_groups_are_never_divided_and_every_fold_has_every_class():
    labels = np.arange(200) % 4
    groups = [str(row // 3) for row in range(200)]
    fold_of = confident_learning._folds(labels, groups, 5, 0)
    folds = defaultdict(set)
    for group, fold in zip(groups, fold_of, strict=True):
        folds[group].add(fold)
    assert all(len(fold_numbers) == 1 for fold_numbers in folds.values())
    assert all(set(labels[fold_of == fold]) == {0, 1, 2, 3} for fold in range(5))
    assert not np.array_equal(fold_of, confident_learning._folds(labels, groups, 5, 1))


def test_leaving_a_fold_out_of_the_sums_is_to_learn_without_it():
    draw = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = (draw.integers(20, 60, (90, 12)) + 20 * (labels[:, None] == np.arange(12) % 3)).astype(np.uint8)
    fold_of = np.arange(90) // 3 % 5
    scores = confident_learning._out_of_fold(features, labels, fold_of)
    others, left_out = fold_of != 2, fold_of == 2
    x = features[others].astype(float)
    middle, targets = x.mean(axis=0), np.eye(3)[labels[others]]
    x -= middle
    ridge = confident_learning._RIDGE * np.trace(x.T @ x) / 12 + 1e-6
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(12), x.T @ (targets - targets.mean(axis=0)))
    assert scores[left_out] == pytest.approx((features[left_out] - middle) @ weights + targets.mean(axis=0), abs=1e-9)


def test_a_class_of_fewer_images_than_folds_is_left_alone():
    images, labels = faces()
    keep = np.r_[0:30, N_PER_CLASS : N_PER_CLASS + 3]
    assert find(images[keep], labels[keep]) is None


def test_a_class_of_copies_of_one_image_is_left_alone():
    images, labels = faces()
    keep = np.r_[0:30, [N_PER_CLASS] * 30]
    assert find(images[keep], labels[keep], [str(row) for row in keep]) is None


@pytest.mark.parametrize("n", [0, 12])
def test_one_class_or_no_image_is_left_alone(n):
    images, labels = faces()
    assert find(images[:n], labels[:n]) is None


def test_classes_that_the_source_lacks_are_never_suggested():
    images, labels = faces()
    keep = labels != 1
    doubts = find(images[keep], labels[keep])
    assert set(doubts.suggested) == {0, 2}


def test_images_of_one_grey_and_few_images_are_no_trouble():
    images, labels = faces()
    keep = np.r_[0:6, N_PER_CLASS : N_PER_CLASS + 6]
    few = images[keep]
    few[3] = 0
    doubts = find(few, labels[keep])
    assert np.isfinite(doubts.quality).all()
    assert doubts.quality.min() >= 0
    assert doubts.quality.max() <= 1


def test_what_is_not_learned_from_is_doubted_and_changes_nothing_of_what_is():
    images, labels, given_labels, is_wrong = planted()
    learned = np.arange(len(labels)) % 4 > 0
    alone = find(images[learned], given_labels[learned], [str(row) for row in np.flatnonzero(learned)])
    doubts = find(images, given_labels, learned=learned)
    for name in ("suggested", "quality", "is_error"):
        assert np.array_equal(getattr(doubts, name)[learned], getattr(alone, name))
    others = ~learned
    right = doubts.is_error & is_wrong & others
    assert right.sum() / (is_wrong & others).sum() > 0.6
    assert (doubts.suggested[right] == labels[right]).all()


def test_a_class_that_only_the_others_have_is_left_alone():
    images, labels = faces()
    assert find(images, labels, learned=labels != 1) is None
