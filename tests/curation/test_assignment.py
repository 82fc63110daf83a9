from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_cases import (
    CLASSES,
    assert_all_accounted_for,
    assert_none_straddles,
    assign,
    counted,
    data,
    image,
    reasons_of,
    sha,
    splits_of,
)

from data_contracts import files
from fer.curation import assignment, split


@given(data(), st.integers(0, 3))
def test_no_near_duplicates_nor_subject_are_in_two_splits_of_a_drawn_split(drawn, seed):
    images, pairs = drawn
    assignments, result = assign(images, pairs, seed=seed, test_share=0.3, validation_share=0.2)
    assert_none_straddles(images, pairs, assignments)
    assert_all_accounted_for(images, assignments)
    assert result.n_leaked == 0


@settings(max_examples=3 * settings.default.max_examples)
@given(data(max_size=60), st.data())
def test_new_images_change_no_old_ones_split_even_if_they_bridge_two(drawn, choices):
    """Old contents get no new pairs among themselves: they look as they did."""
    images, pairs = drawn
    n_old = choices.draw(st.integers(0, len(images)))
    old, contents = images[:n_old], {member["pixel_sha256"] for member in images[:n_old]}
    old_pairs = [pair for pair in pairs if all(end["image_id"] < f"{n_old:032x}" for end in pair)]
    later = [pair for pair in pairs if not {end["pixel_sha256"] for end in pair} <= contents]
    config = {"test_share": 0.3, "validation_share": 0.3}
    before, _ = assign(old, old_pairs, **config) if old else ({}, None)
    assignments, _ = assign(images, [*old_pairs, *later], before=before, **config)
    for member in old:
        if before[member["image_id"]][0] is not None:
            assert assignments[member["image_id"]][0] == before[member["image_id"]][0]
    assert_none_straddles(images, [*old_pairs, *later], assignments)
    assert_all_accounted_for(images, assignments)


@pytest.mark.parametrize("seed", range(5))
def test_each_class_has_its_shares_to_the_image(seed):
    images = [image(n, CLASSES[0] if n < 940 else CLASSES[1]) for n in range(1_000)]
    assignments, _ = assign(images, test_share=0.1, validation_share=0.2, seed=seed)
    assert counted(images, assignments) == {
        ("happy", "test"): 94,
        ("happy", "validation"): 188,
        ("happy", "train"): 658,
        ("sad", "test"): 6,
        ("sad", "validation"): 12,
        ("sad", "train"): 42,
    }


@given(data(max_size=120, actions=("keep",)), st.integers(0, 3))
def test_duplicates_and_subjects_cost_a_class_no_more_of_its_shares_than_the_largest_group(drawn, seed):
    images, pairs = drawn
    assignments, result = assign(images, pairs, seed=seed, test_share=0.25, validation_share=0.25)
    counts = counted(images, assignments)
    for label in CLASSES:
        n = sum(member["label"] == label for member in images)
        for in_split in ("test", "validation"):
            assert abs(counts[label, in_split] - 0.25 * n) <= 2 * result.largest_split_group + 1


@pytest.mark.parametrize("seed", range(20))
def test_a_subject_that_is_larger_than_a_share_stays_in_train(seed):
    images = [image(n, CLASSES[n % 3], subject="big" if n < 600 else None) for n in range(1_000)]
    assignments, result = assign(images, seed=seed)
    assert set(splits_of(images[:600], assignments)) == {"train"}
    counts = Counter(splits_of(images, assignments))
    assert counts["test"] == counts["validation"] == pytest.approx(100, abs=2)
    assert split._far_from_shares(result, split.SplitConfig()) == ()


def test_groups_of_duplicates_are_in_test_as_often_as_images_by_themselves():
    images = [image(n, pixels=n // 2 if n < 1_000 else n) for n in range(3_000)]
    assignments, _ = assign(images)
    counts = [Counter(splits_of(part, assignments))["test"] for part in (images[:1_000], images[1_000:])]
    assert counts == [pytest.approx(100, abs=2), pytest.approx(200, abs=2)]


def test_new_images_fill_up_the_shares_that_the_old_ones_leave():
    images = [image(n, CLASSES[n % 2]) for n in range(600)]
    before, _ = assign(images[:500], test_share=0.1)
    assignments, _ = assign(images, before=before, test_share=0.1)
    assert {image_id: assignments[image_id] for image_id in before} == before
    assert {label: counted(images, assignments)[label, "test"] for label in CLASSES[:2]} == {"happy": 30, "sad": 30}


def test_without_a_history_more_data_moves_only_images_near_the_shares_ends():
    images = [image(n) for n in range(1_000)]
    before, _ = assign(images[:900])
    assignments, _ = assign(images)
    assert sum(assignments[image_id][0] != before[image_id][0] for image_id in before) < 30


def test_another_seed_draws_others():
    images = [image(n) for n in range(200)]
    drawn = [splits_of(images, assign(images, seed=seed)[0]) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(("n", "expected"), [(3, set(files.SPLITS)), (2, {"train", "test"}), (9, set(files.SPLITS))])
@pytest.mark.parametrize("seed", range(20))
def test_a_small_class_is_on_every_split_as_far_as_its_images_reach(n, expected, seed):
    images = [image(number, CLASSES[number % 2]) for number in range(2 * n)]
    assignments, _ = assign(images, seed=seed, test_share=0.05, validation_share=0.05)
    for label in CLASSES[:2]:
        assert {assignments[member["image_id"]][0] for member in images if member["label"] == label} >= expected


def test_an_image_served_to_a_small_class_takes_its_subject_along():
    images = [image(n, CLASSES[n % 3], subject=f"s{n // 6}") for n in range(18)]
    for seed in range(20):
        assignments, _ = assign(images, seed=seed, test_share=0.05, validation_share=0.05)
        assert_none_straddles(images, [], assignments)
        assert {(member["label"], assignments[member["image_id"]][0]) for member in images} == {
            (label, in_split) for label in CLASSES for in_split in files.SPLITS
        }


def test_a_new_image_joins_its_near_duplicate_and_one_between_two_splits_is_left_out():
    old = [image(n) for n in range(60)]
    before, _ = assign(old)
    train, test = (
        next(member for member in old if before[member["image_id"]][0] == in_split) for in_split in ("train", "test")
    )
    new = [image(n) for n in range(100, 104)]
    pairs = [(new[0], train), (new[1], train), (new[1], test), (new[2], test), (new[1], new[3])]
    assignments, _ = assign([*old, *new], pairs, before=before)
    assert splits_of(new[:3], assignments) == ["train", None, "test"]
    assert reasons_of(new[:3], assignments) == [None, assignment.IN_TWO_SPLITS, None]
    assert assignments[new[3]["image_id"]][1] is None  # only an image left out stands between it and the others
    assert {image_id: assignments[image_id] for image_id in before} == before


def test_a_copy_that_claims_a_subject_of_another_split_drives_no_old_image_out():
    old = [image(n, subject=f"s{n}") for n in range(60)]
    before, _ = assign(old)
    train, test = (
        next(member for member in old if before[member["image_id"]][0] == in_split) for in_split in ("train", "test")
    )
    for one, other in ((train, test), (test, train)):
        copy = image(100, subject=other["subject"]) | {"pixel_sha256": one["pixel_sha256"]}
        assignments, _ = assign([*old, copy], before=before)
        assert assignments[copy["image_id"]][:2] == (None, assignment.IN_TWO_SPLITS)
        assert {image_id: assignments[image_id][0] for image_id in before} == {
            image_id: before[image_id][0] for image_id in before
        }


def test_old_images_that_become_near_duplicates_by_another_threshold_leave_the_split_closer_to_training():
    old = [image(n) for n in range(60)]
    before, _ = assign(old)
    train, test = (
        next(member for member in old if before[member["image_id"]][0] == in_split) for in_split in ("train", "test")
    )
    assignments, _ = assign(old, [(train, test)], before=before)
    assert assignments[train["image_id"]][:2] == (None, "near-duplicate of an image in test")
    assert assignments[test["image_id"]][0] == "test"


def test_renamed_files_and_newly_decoded_pixels_keep_their_splits():
    old = [image(n) for n in range(300)]
    before, _ = assign(old)
    renamed = [image(n + 1_000) | {"pixel_sha256": sha(n)} for n in range(300)]
    decoded = [image(n) | {"pixel_sha256": sha(f"other decoder {n}")} for n in range(300)]
    expected_splits = splits_of(old, before)
    assert splits_of(renamed, assign(renamed, before=before)[0]) == expected_splits
    assert splits_of(decoded, assign(decoded, before=before)[0]) == expected_splits
    assert splits_of(decoded, assign(decoded)[0]) != expected_splits
