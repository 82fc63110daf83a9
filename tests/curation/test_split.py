from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_cases import (
    CLASSES,
    RAW_SPLITS,
    assign,
    data,
    image,
    read,
    reasons_of,
    related,
    report,
    run,
    splits_of,
)

from data_contracts import files
from data_contracts import split as contract
from fer import errors
from fer.curation import groups, split
from fer.engine.local_workspace import LocalWorkspace


@given(data() | data(raw_splits=tuple(RAW_SPLITS)), st.randoms(use_true_random=False))
def test_the_order_of_images_and_pairs_does_not_matter(drawn, shuffler):
    images, pairs = drawn
    assignments, _ = assign(images, pairs)
    shuffled = [(b, a) for a, b in pairs]
    shuffler.shuffle(shuffled)
    assert assign(images[::-1], shuffled)[0] == assignments


@given(data(raw_splits=tuple(RAW_SPLITS)))
def test_the_clean_version_of_a_split_has_no_duplicates_and_none_in_the_official_train(drawn):
    images, pairs = drawn
    assignments, _ = assign(images, pairs, leakage="keep")
    official = {
        member["image_id"]: RAW_SPLITS[member["raw_split"]] for member in images if member["action"] != "quarantine"
    }
    for one, other in related([{**member, "subject": None} for member in images], pairs):
        clean = [member["image_id"] for member in (one, other) if assignments[member["image_id"]][2]]
        assert len({assignments[image_id][0] for image_id in clean}) == len(clean)
        for member, duplicate in ((one, other), (other, one)):
            if assignments[member["image_id"]][2] and duplicate["image_id"] in official:
                order = [files.SPLITS.index(official[id_]) for id_ in (member["image_id"], duplicate["image_id"])]
                assert order[1] >= order[0]


def test_a_split_that_cant_have_its_share_is_told():
    images = [image(n, CLASSES[n % 3], subject=f"s{n // 150}") for n in range(300)]
    assert "test holds 50.0% of the images" in split._far_from_shares(assign(images)[1], split.SplitConfig())[0]


def test_an_image_that_is_put_aside_for_a_while_holds_its_split_for_its_new_duplicate_and_comes_back_to_it(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = [image(n, CLASSES[n % 3]) for n in range(120)]
    first = run(workspace, images)
    first_splits = dict(zip(*(read(workspace, first)[name].to_pylist() for name in ("image_id", "split")), strict=True))
    held_out = [member for member in images if first_splits[member["image_id"]] != "train"]
    for action in ("drop", "quarantine", None):
        for member in held_out[:4]:
            duplicate = image(1_000, member["label"])
            changed = [one if one is not member else one | {"action": action, "reason": "outlier"} for one in images]
            changed = [one for one in changed if one["action"] is not None] + [duplicate]
            pairs = [] if action is None else [(member, duplicate)]
            second = run(workspace, changed, previous=first, pairs=pairs)
            third = run(workspace, [*images, duplicate], previous=second, pairs=[(member, duplicate)])
            for ref in (second, third):
                rows = read(workspace, ref).to_pylist()
                splits_now = {row["image_id"]: row["split"] for row in rows}
                for old, in_split in first_splits.items():
                    assert splits_now.get(old, contract.EXCLUDED) in (in_split, contract.EXCLUDED)
                assert ref.n_leaked == 0
            if action is not None:
                assert splits_now[duplicate["image_id"]] == first_splits[member["image_id"]]


def test_what_stood_somewhere_is_remembered_though_it_is_gone(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = [image(n, CLASSES[n % 3]) for n in range(120)]
    first = run(workspace, images)
    second = run(workspace, images[:100], previous=first)
    tables = [pq.read_table(workspace.folder(ref) / files.ASSIGNMENTS) for ref in (first, second)]
    assert tables[0].schema.equals(contract.ASSIGNMENTS)
    assert tables[1].equals(tables[0])
    assert read(workspace, run(workspace, images, previous=second)).equals(read(workspace, first))


def test_a_dropped_image_leaves_train_and_drawn_splits_but_stays_in_official_test_though_not_in_its_clean_version():
    images = [image(n, raw_split=raw, action="drop") for n, raw in enumerate(RAW_SPLITS)]
    others = [image(n + 10, raw_split=raw) for n, raw in enumerate(RAW_SPLITS)]
    assignments, _ = assign([*images, *others])
    assert [assignments[member["image_id"]][:3] for member in images] == [
        (None, "label error", False),
        ("validation", None, False),
        ("test", None, False),
    ]
    assert all(assignments[other["image_id"]][2] for other in others)
    assignments, _ = assign([*images, *others], use_official=False)
    assert reasons_of(images, assignments) == ["label error"] * 3


def test_a_quarantined_image_is_in_no_split_and_drives_none_out():
    images = [
        image(0, pixels="a", raw_split="train"),
        image(1, pixels="a", raw_split="test", action="quarantine"),
        *(image(n, raw_split=("train", "val", "test")[n % 3]) for n in range(2, 11)),
    ]
    assignments, result = assign(images)
    assert splits_of(images, assignments)[:2] == ["train", None]
    assert reasons_of(images, assignments)[1] is None
    assert result.leaks[1].identical == 1  # as the source has it


def test_who_met_an_image_has_met_its_duplicates_and_no_others(tmp_path):
    images = [image(n, raw_split=("train", "val", "test")[n % 3]) for n in range(12)]
    duplicate = image(12, raw_split="train") | {"pixel_sha256": images[0]["pixel_sha256"]}
    workspace = LocalWorkspace(tmp_path)
    rows = read(workspace, run(workspace, [*images, duplicate], pairs=[(images[0], images[2]), (images[5], images[8])]))
    leaked = groups.leaked(rows, pa.chunked_array([[images[0]["pixel_sha256"]]]))
    leaked_ids = {row["image_id"] for row, is_leaked in zip(rows.to_pylist(), leaked, strict=True) if is_leaked}
    assert leaked_ids == {member["image_id"] for member in (images[0], images[2], duplicate)}
    assert not groups.leaked(rows, pa.chunked_array([[]], pa.string())).any()


def test_the_stage_writes_a_row_for_each_image_that_is_not_put_aside(tmp_path):
    images = [
        image(n, CLASSES[n % 3], action="quarantine" if n < 3 else "drop" if n < 9 else "keep") for n in range(90)
    ]
    workspace = LocalWorkspace(tmp_path)
    ref = run(workspace, images)
    table = read(workspace, ref)
    assert table.schema.equals(contract.SCHEMA)
    rows = table.to_pylist()
    assert [row["image_id"] for row in rows] == sorted(member["image_id"] for member in images[3:])
    assert all(CLASSES[row["class_index"]] == row["label"] for row in rows)
    assert Counter((row["split"], row["label"]) for row in rows if row["split"] != contract.EXCLUDED) == {
        (name, label): ref.counts[name][label] for name in files.SPLITS for label in CLASSES
    }
    assert ref.excluded == {"label error": 6} == Counter(row["reason"] for row in rows if row["reason"])
    assert sum(ref.n_clean.values()) == sum(row["is_clean"] for row in rows) == 81
    assert {row["row"] for row in rows} == set(range(3, 90))
    assert report(workspace, ref)["excluded"] == ref.excluded
    assert "/" not in (workspace.folder(ref) / files.SPLIT_REPORT).read_text()  # no path, no machine


def test_the_digest_is_the_same_for_the_same_images_in_any_order(tmp_path):
    images = [image(n, CLASSES[n % 3]) for n in range(90)]
    ref = run(LocalWorkspace(tmp_path / "a"), images)
    assert ref.digest == run(LocalWorkspace(tmp_path / "b"), images[::-1]).digest
    assert ref.digest != run(LocalWorkspace(tmp_path / "a"), images, split.SplitConfig(seed=1)).digest


def test_splits_of_the_last_split_are_kept_and_counted_unless_it_was_drawn_otherwise(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = [image(n, CLASSES[n % 3]) for n in range(150)]
    first = run(workspace, images[:120], split.SplitConfig(seed=1))
    kept = run(workspace, images, split.SplitConfig(seed=1, leakage="keep"), first)
    assert (kept.n_kept, first.n_kept) == (120, 0)
    assert report(workspace, kept)["history"] == "kept"
    anew = run(workspace, images, split.SplitConfig(seed=2), first)
    assert anew.n_kept == 0
    assert report(workspace, anew)["history"] == "the last split was drawn by other settings: seed was 1"
    plain = run(workspace, images, split.SplitConfig(seed=2))
    assert read(workspace, anew).equals(read(workspace, plain))


@pytest.mark.parametrize(
    ("raw_splits", "use_official", "origin"),
    [
        ((None,), True, "drawn"),
        (("train", "val", "test"), True, "official"),
        (("train", "val", "test"), False, "drawn"),
        (("train", "test"), True, "official, validation drawn"),
        (("train",), True, "official, test drawn, validation drawn"),
    ],
)
def test_where_the_splits_come_from_is_said(tmp_path, raw_splits, use_official, origin):
    images = [
        image(n, label, raw_split=raw_split)
        for n, (label, raw_split) in enumerate([(label, raw) for raw in raw_splits for label in CLASSES] * 20)
    ]
    ref = run(LocalWorkspace(tmp_path), images, split.SplitConfig(use_official=use_official))
    assert ref.origin == origin
    assert f"({origin})" in ref.summary()


def test_an_official_split_of_which_nothing_is_left_without_duplicates_counts_as_drawn(tmp_path):
    raw = [("train", n) for n in range(60)] + [("test", n) for n in range(60, 90)] + [("val", n) for n in range(60, 90)]
    images = [image(number, CLASSES[n % 3], n, raw_split) for number, (raw_split, n) in enumerate(raw)]
    ref = run(LocalWorkspace(tmp_path), images)
    assert ref.origin == "official, validation drawn"
    assert ref.excluded == {"identical to an image in test": 30}


def test_leaks_under_policy_stop_are_failures_that_say_how_many(tmp_path):
    images = [image(n, CLASSES[n % 3], raw_split=list(RAW_SPLITS)[n // 3 % 3], subject=f"s{n}") for n in range(90)]
    images[8]["subject"] = "s0"
    duplicates = [(images[1], images[5])]
    stopped = run(LocalWorkspace(tmp_path), images, split.SplitConfig(leakage="stop"), pairs=duplicates)
    assert stopped.failures == (
        "1 images of validation and test have a duplicate closer to training: policy stop",
        "1 images of validation and test have their subject closer to training: policy stop",
    )
    assert stopped.excluded == {}
    repaired = run(LocalWorkspace(tmp_path), images, pairs=duplicates)
    assert repaired.failures == ()
    assert sum(repaired.excluded.values()) == 2


@pytest.mark.parametrize(
    ("images", "missing"),
    [
        ([image(n, CLASSES[n % 2]) for n in range(90)], "no surprise in train, no surprise in test"),
        ([image(n, CLASSES[min(n, 2)]) for n in range(90)], "no happy in train, no sad in train"),
        ([image(n, CLASSES[n % 3], raw_split=("train", "test")[n % 3 == 0]) for n in range(90)], "no happy in train"),
        ([image(n, CLASSES[n % 3]) for n in range(6)], "none at all in validation"),
    ],
)
def test_what_cannot_be_trained_on_or_measured_is_a_failure(tmp_path, images, missing):
    assert missing in run(LocalWorkspace(tmp_path), images).failures[0]


def test_a_drawn_test_image_with_a_duplicate_in_the_official_validation_is_not_clean():
    images = [image(n, CLASSES[n % 3], raw_split="val" if n % 5 == 0 else "train") for n in range(300)]
    held_out = [member for member in images if member["raw_split"] == "val"]
    train = [member for member in images if member["raw_split"] == "train"]
    pairs = list(zip(held_out, train[:60], strict=True))
    assignments, result = assign(images, pairs, leakage="keep")
    assert "test drawn" in result.origin
    leaked = [other for _, other in pairs if assignments[other["image_id"]][0] == "test"]
    assert leaked
    assert not any(assignments[member["image_id"]][2] for member in leaked)


def test_a_pair_of_an_image_that_curation_does_not_know_is_an_error(tmp_path):
    images = [image(n, CLASSES[n % 3]) for n in range(30)]
    with pytest.raises(errors.IntegrityError, match="1 image IDs"):
        run(LocalWorkspace(tmp_path), images, pairs=[(images[0], image(99))])
