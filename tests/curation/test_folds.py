"""Folds for cross-fitting: who is tested where, and what each fold's model may learn."""

import itertools
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from split_cases import CLASSES, committed, data, image, pairs_of, related, table_of

from data_contracts import files
from data_contracts import split as contract
from fer import errors, progress
from fer.curation import folds, groups, split
from fer.engine.local_workspace import LocalWorkspace

SETTINGS = {"n_folds": 3, "validation_share": 0.2, "seed": 0}


def planned(images, pairs=(), **settings):
    """image_id -> (fold, the folds that validate on it)."""
    table = table_of(images)
    links = groups.read(table, pairs_of(pairs))
    label = table["class_index"].to_numpy().astype(np.int64)
    everything = np.ones(len(images), bool)
    plan = folds.assign(links, label, everything, everything, folds.FoldSettings(**{**SETTINGS, **settings}))
    return {
        image_id: (fold, frozenset(np.flatnonzero(validation).tolist()))
        for image_id, fold, validation in zip(
            table["image_id"].to_pylist(), plan.fold.tolist(), plan.validation, strict=True
        )
    }


def side(plan, image_id, number):
    """Where fold `number` has an image."""
    fold, validation = plan[image_id]
    return "test" if fold == number else "validation" if number in validation else "train"


@st.composite
def of_enough(draw):
    """Images and pairs, of which some have no relations; and a number of folds that these are enough for."""
    images, pairs = draw(data(actions=("keep",), max_size=60))
    images += [image(n, "happy", pixels=n) for n in range(100, 106)]
    return images, pairs, draw(st.integers(2, 6))


@given(of_enough(), st.integers(0, 3))
def test_each_image_is_tested_once_and_what_belongs_together_is_on_one_side_of_each_fold(drawn, seed):
    images, pairs, n_folds = drawn
    plan = planned(images, pairs, n_folds=n_folds, seed=seed)
    assert plan.keys() == {row["image_id"] for row in images}
    for fold, validation in plan.values():
        assert 0 <= fold < n_folds
        assert fold not in validation
    for one, other in related(images, pairs):
        assert plan[one["image_id"]] == plan[other["image_id"]]


@given(of_enough(), st.randoms())
def test_the_folds_follow_from_the_images_and_not_from_their_order_or_names(drawn, shuffle):
    images, pairs, n_folds = drawn
    by_pixels = {}
    plan = planned(images, pairs, n_folds=n_folds)
    for row in images:
        by_pixels.setdefault(row["pixel_sha256"], set()).add(plan[row["image_id"]])
    others = [f"{number:032x}" for number in range(len(images))]
    shuffle.shuffle(others)
    renamed = dict(zip((row["image_id"] for row in images), others, strict=True))
    again = [row | {"image_id": renamed[row["image_id"]]} for row in images]
    ends = [tuple(end | {"image_id": renamed[end["image_id"]]} for end in pair) for pair in pairs]
    plan = planned(again, ends, n_folds=n_folds)
    for row in again:
        assert plan[row["image_id"]][0] in {fold for fold, _ in by_pixels[row["pixel_sha256"]]}


@given(st.integers(2, 6), st.integers(0, 20), st.lists(st.integers(2, 30), min_size=3, max_size=3))
def test_classes_of_two_groups_or_more_are_learned_in_each_fold_and_have_their_share_of_it(n_folds, seed, n_of_class):
    assume(max(n_of_class) >= n_folds)
    labels = [label for label, n in zip(CLASSES, n_of_class, strict=True) for _ in range(n)]
    images = [image(n, label) for n, label in enumerate(labels)]
    plan = planned(images, n_folds=n_folds, seed=seed)
    for number in range(n_folds):
        sides = Counter((row["label"], side(plan, row["image_id"], number)) for row in images)
        for label, n in zip(CLASSES, n_of_class, strict=True):
            assert sides[label, "train"] >= 1
            assert abs(sides[label, "test"] - n / n_folds) <= 1
            if n - sides[label, "test"] >= 2:
                assert sides[label, "validation"] >= 1


def test_another_seed_makes_other_folds():
    images = [image(n, CLASSES[n % 3]) for n in range(60)]
    assert planned(images, seed=0) == planned(images, seed=0)
    assert planned(images, seed=0) != planned(images, seed=1)


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def made(workspace, images, pairs=(), n_folds=3, **config):
    """The Refs of curation, split and folds of these images."""
    curation, inspection = committed(workspace, images, pairs)
    options = {"workspace": workspace, "progress": progress.silent}
    ref = split.split(curation, inspection, None, split.SplitConfig(**config), **options)
    settings = folds.FoldSettings(n_folds=n_folds, validation_share=0.2, seed=0)
    return curation, ref, folds.folds(curation, inspection, ref, settings, **options)


def rows(workspace, ref):
    return pq.read_table(workspace.folder(ref) / files.SPLIT).to_pylist()


def test_each_fold_is_a_split_of_all_images_and_their_tests_are_all_of_them(workspace):
    images = [image(n, CLASSES[n % 3], subject=f"person {n // 2}") for n in range(60)]
    _, before, plan = made(workspace, images)
    assert plan.n_folds == 3
    assert plan.counts["test"] == dict.fromkeys(CLASSES, 20)
    assert plan.summary() == "60 images, each tested once, in one of 3 folds"
    tested = []
    for number in range(3):
        ref = folds.fold(plan, number, workspace=workspace)
        assert sum(sum(by_class.values()) for by_class in ref.counts.values()) == 60
        assert pq.read_schema(workspace.folder(ref) / files.SPLIT).equals(contract.SCHEMA)
        tested += [row["image_id"] for row in rows(workspace, ref) if row["split"] == "test"]
    assert sorted(tested) == sorted(row["image_id"] for row in rows(workspace, before))


def test_the_released_model_learns_all_but_validation(workspace):
    images = [image(n, CLASSES[n % 3]) for n in range(60)]
    curation, before, _ = made(workspace, images)
    after = folds.all_but_validation(curation, before, workspace=workspace)
    was = {row["image_id"]: row["split"] for row in rows(workspace, before)}
    assert set(was.values()) == {"train", "validation", "test"}
    for row in rows(workspace, after):
        assert row["split"] == ("validation" if was[row["image_id"]] == "validation" else "train")
    assert after.counts.keys() == {"train", "validation"}


def test_what_curation_keeps_out_of_training_is_tested_and_never_learned(workspace):
    splits = ["Training", "PublicTest", "PrivateTest"]
    images = [image(n, CLASSES[n % 3], raw_split=splits[n // 3 % 3]) for n in range(60)]
    images += [image(60, "happy", raw_split="PrivateTest", action="drop")]
    curation, before, plan = made(workspace, images)
    doubtful = f"{60:032x}"
    assert {row["image_id"]: row["split"] for row in rows(workspace, before)}[doubtful] == "test"
    for number in range(3):
        by_id = {row["image_id"]: row for row in rows(workspace, folds.fold(plan, number, workspace=workspace))}
        assert by_id[doubtful]["split"] in ("test", "excluded")
    after = folds.all_but_validation(curation, before, workspace=workspace)
    assert {row["image_id"]: row["split"] for row in rows(workspace, after)}[doubtful] == "excluded"


def test_a_class_that_can_t_be_learned_in_each_fold_is_refused(workspace):
    images = [image(n, "happy") for n in range(30)] + [image(n, "surprise") for n in range(30, 60)]
    images += [image(n, "sad") for n in range(60, 64)]
    pairs = list(itertools.pairwise(images[60:]))
    with pytest.raises(errors.ContractViolation, match="nothing of sad to learn from in fold") as caught:
        made(workspace, images, pairs)
    assert "evaluation.folds" in str(caught.value)


def test_more_folds_than_a_class_has_images_are_refused(workspace):
    images = [image(n, CLASSES[n % 3]) for n in range(12)]
    with pytest.raises(errors.ContractViolation, match="5 folds of 12 images"):
        made(workspace, images, n_folds=5)
