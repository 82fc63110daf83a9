from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_cases import (
    OFFICIAL,
    RAW_SPLITS,
    assert_all_accounted_for,
    assert_none_straddles,
    assign,
    data,
    image,
    reasons_of,
    splits_of,
)

from data_contracts import curation as curation_contract
from fer import errors
from fer.curation import assignment, official_splits
from fer.curation.refs import Leak
from fer.ingest.naming import split_names


@given(OFFICIAL.flatmap(lambda raw: data(raw_splits=raw)), st.integers(0, 3))
def test_no_near_duplicates_nor_subject_are_in_two_splits_of_a_repaired_official_split(drawn, seed):
    images, pairs = drawn
    assignments, result = assign(images, pairs, seed=seed)
    assert_none_straddles(images, pairs, assignments)
    assert_all_accounted_for(images, assignments)
    assert result.n_leaked == 0


@given(OFFICIAL.flatmap(lambda raw: data(raw_splits=raw)), st.sampled_from(["keep", "drop", "stop"]))
def test_an_official_split_never_changes_but_for_those_drawn_from_train(drawn, leakage):
    images, pairs = drawn
    assignments, result = assign(images, pairs, leakage=leakage)
    to_draw = [None, "train", *(name for name in ("validation", "test") if f"{name} drawn" in result.origin)]
    for member in images:
        official = split_names.SplitNames().ours(member["raw_split"])
        in_split = assignments[member["image_id"]][0]
        assert in_split in ((None, official) if official != "train" else to_draw)
        if leakage != "drop" and official != "train" and member["action"] != "quarantine":
            assert in_split == official


def test_official_splits_are_kept():
    images = [image(n, raw_split=list(RAW_SPLITS)[n % 3]) for n in range(100)]
    assert splits_of(images, assign(images)[0]) == [RAW_SPLITS[member["raw_split"]] for member in images]


def test_without_official_validation_it_is_drawn_from_train():
    images = [image(n, raw_split="train" if n < 1_000 else "test") for n in range(1_500)]
    splits = splits_of(images, assign(images, validation_share=0.1)[0])
    assert set(splits[:1_000]) == {"train", "validation"}
    assert 70 <= Counter(splits[:1_000])["validation"] <= 130
    assert set(splits[1_000:]) == {"test"}


def test_a_drawn_validation_is_kept_when_the_official_train_grows():
    images = [image(n, raw_split="train" if n < 300 else "test") for n in range(400)]
    before, _ = assign(images[50:])
    new, bridged = image(500, raw_split="train"), images[50:300]
    ends = [
        next(member for member in bridged if before[member["image_id"]][0] == in_split)
        for in_split in ("train", "validation")
    ]
    assignments, _ = assign([*images, new], [(new, ends[0]), (new, ends[1])], before=before)
    assert {image_id: assignments[image_id] for image_id in before} == before
    assert assignments[new["image_id"]][1] == assignment.IN_TWO_SPLITS


def test_official_splits_of_some_images_only_are_refused_with_counts_sources_and_the_setting_to_draw_anew():
    images = [image(n, raw_split=None if n < 3 else "train") for n in range(1_100)]
    sources = {"one": {"with_split": 1_097, "without_split": 0}, "two": {"with_split": 0, "without_split": 3}}
    with pytest.raises(
        errors.SourceError,
        match=r"1,097 images with a split and 3 without \(one: 1,097 with, 0 without; two: 0 with, 3 without\)"
        r".*--set split\.use_official=false",
    ):
        assign(images, sources=sources)
    with pytest.raises(errors.SourceError, match=r"and 3 without\."):
        assign(images)
    assert assign(images, use_official=False)[1].origin == "drawn"


def test_folders_without_a_split_are_named_as_far_up_as_they_differ_with_the_setting_that_declares_them():
    paths = pa.array(["d/train/happy/1", "d/wild/happy/2", "d/wild/sad/3", "d/sad/4", "x.csv#5"])
    labels = pa.array(["happy", "happy", "sad", "sad", "0"])
    where = official_splits.folders_without(paths, labels, np.array([True, False, False, False, False]))
    assert where == {"d/wild": 2, official_splits.HERE: 2}
    images = [image(n, raw_split=None if n < 2 else "train") for n in range(10)]
    sources = {"one": {"with_split": 8, "without_split": 2, "folders_without": {"d/wild": 2}}}
    with pytest.raises(errors.SourceError) as caught:
        assign(images, sources=sources)
    assert "2 without, these in 'd/wild' (2)" in str(caught.value)
    assert """--set 'split.official={"wild": "validation"}'""" in str(caught.value)


def test_an_unknown_official_split_is_named_unless_all_its_images_were_put_aside():
    images = [image(0, raw_split="train"), image(1, raw_split="fold3"), image(2, raw_split="fold3")]
    with pytest.raises(errors.SourceError, match=r"'fold3' \(2 images\)"):
        assign(images)
    assert splits_of(images, assign(images, official={"Fold3": "test"})[0])[1:] == ["test", "test"]
    quarantined = [member | {"action": "quarantine"} if member["raw_split"] == "fold3" else member for member in images]
    assert splits_of(quarantined, assign(quarantined)[0])[1:] == [None, None]


def test_duplicates_across_official_splits_stay_furthest_from_training_with_the_reason():
    images = [
        image(0, pixels="a", raw_split="train"),
        image(1, pixels="a", raw_split="val"),
        image(2, pixels="a", raw_split="test"),
        image(3, pixels="b", raw_split="train"),
        image(4, pixels="b", raw_split="val"),
        image(5, raw_split="train"),
        image(6, raw_split="test"),
        image(7, raw_split="train", subject="ann"),
        image(8, raw_split="test", subject="ann"),
        image(9, raw_split="train"),
        image(10, pixels="c", raw_split="train"),
        image(11, pixels="c", raw_split="train"),
    ]
    assignments, result = assign(images, [(images[5], images[6]), (images[9], images[1])])
    assert reasons_of(images, assignments) == [
        "identical to an image in test",
        "identical to an image in test",
        None,
        "identical to an image in validation",
        None,
        "near-duplicate of an image in test",
        None,
        "same subject as an image in test",
        None,
        # its near-duplicate left validation for test's sake, but the pixels are in test as well
        "near-duplicate of an image in test",
        None,
        None,
    ]
    assert splits_of(images, assignments)[-2:] == ["train", "train"]
    assert result.n_leaked == 0


def test_train_gives_way_only_to_what_is_left_in_validation():
    images = [image(0, raw_split="train"), image(1, raw_split="val"), image(2, raw_split="test")]
    assignments, _ = assign(images, [(images[0], images[1]), (images[1], images[2])], validation_share=0.01)
    assert splits_of(images[1:], assignments) == [None, "test"]
    assert assignments[images[0]["image_id"]][0] is not None


def test_leaks_are_counted_before_the_repair_and_told_by_split():
    images = [
        *(image(n, pixels=n, raw_split="train") for n in range(10)),
        *(image(n, pixels=n % 10 if n < 13 else n, raw_split="val") for n in range(10, 20)),
        *(image(n, pixels=n % 10 if n < 22 else n, raw_split="test") for n in range(20, 30)),
    ]
    pairs = [(images[5], images[25]), (images[13], images[26])]
    for leakage, n_leaked in (("drop", 0), ("keep", 7), ("stop", 7)):
        _, result = assign(images, pairs, leakage=leakage)
        none = {"near": 0, "shifted": 0, "mirrored": 0}
        assert result.leaks == (
            Leak(split="validation", **none | {"duplicates": 3, "identical": 3}),
            Leak(split="test", **none | {"duplicates": 3, "identical": 2, "near": 1}),
        )
        counted = none | {"duplicates": 3, "identical": 2, "near": 1, "subject": 0}
        assert result.matrix["test"]["validation"] == result.matrix["validation"]["test"] == counted
        assert (result.n_leaked_before, result.n_leaked) == (7, n_leaked)


@pytest.mark.parametrize("kind", curation_contract.KINDS[1:])
def test_a_duplicate_of_any_kind_is_kept_in_one_split_counted_by_its_kind_and_known_to_who_met_the_other(kind):
    images = [image(n, raw_split=("train", "val", "test")[n % 3]) for n in range(12)]
    assignments, result = assign(images, [(images[0], images[2])], kind=kind)
    reason = {"near": "near-duplicate", "shifted": "shifted near-duplicate", "mirrored": "mirrored near-duplicate"}[
        kind
    ]
    assert assignments[images[0]["image_id"]][:2] == (None, f"{reason} of an image in test")
    leak = result.leaks[1]
    assert {name: getattr(leak, name) for name in curation_contract.KINDS} == {
        name: int(name == kind) for name in curation_contract.KINDS
    }
    assert (result.n_leaked_before, result.n_leaked) == (1, 0)


def test_a_drawn_validation_is_kept_though_a_leaked_copy_of_it_stands_in_the_official_test():
    images = [image(n, raw_split="train" if n < 300 else "test") for n in range(400)]
    config = {"leakage": "keep", "validation_share": 0.3}
    before, _ = assign(images, **config)
    held_out = next(member for member in images if before[member["image_id"]][0] == "validation")
    copy = {**image(399, raw_split="test"), "pixel_sha256": held_out["pixel_sha256"], "image_id": "0" * 32}
    with_copy, _ = assign([copy, *images[1:399]], before=before, **config)
    bridge = image(500, raw_split="train")
    assignments, _ = assign(
        [copy, *images[1:399], bridge], [(bridge, images[1]), (bridge, held_out)], before=with_copy, **config
    )
    assert {image_id: assignments[image_id][0] for image_id in with_copy} == {
        image_id: with_copy[image_id][0] for image_id in with_copy
    }
