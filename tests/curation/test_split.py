import hashlib
import json
from collections import Counter
from itertools import combinations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts import curation as curation_contract
from data_contracts import files
from data_contracts import split as contract
from fer import errors, progress
from fer.curation import assignment, groups, split
from fer.curation.refs import CurationRef, InspectionRef, Leak
from fer.engine.local_workspace import LocalWorkspace

UNHURRIED = settings(deadline=None)  # the first example imports scipy
CLASSES = ("happy", "sad", "surprise")
RAW_SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}


def sha(pixels):
    return hashlib.sha256(str(pixels).encode()).hexdigest()


def image(number, label="happy", pixels=None, raw_split=None, subject=None, action="keep"):
    """A row of curation.parquet; `pixels` names its content, its own by default."""
    return {
        "image_id": f"{number:032x}",
        "pixel_sha256": sha(number if pixels is None else f"content {pixels}"),
        "label": label,
        "class_index": CLASSES.index(label),
        "raw_split": raw_split,
        "subject": subject,
        "duplicate_group": f"{number:032x}",
        "issues": [] if action == "keep" else ["label_error"],
        "action": action,
        "reason": None if action == "keep" else "label_error",
        "part": 0,
        "row": number,
    }


def table_of(images):
    return pa.Table.from_pylist(images, schema=curation_contract.CURATION).sort_by("image_id")


def pairs_of(pairs, kind="near"):
    rows = [
        {"first": first["image_id"], "second": second["image_id"], "kind": kind, "correlation": 0.95}
        for first, second in pairs
    ]
    return pa.Table.from_pylist(rows, schema=curation_contract.PAIRS)


def assign(images, pairs=(), before=None, sources=(), kind="near", **config):
    """Each image's image_id -> (split or None, reason, is_clean), and the SplitResult; `before` is such a dict."""
    table = table_of(images)
    links = groups.read(table, pairs_of(pairs, kind))
    history = None
    if before is not None:
        stood = [
            {"image_id": each, "pixel_sha256": pixels, "split": in_split}
            for each, (in_split, _, _, pixels) in before.items()
            if in_split is not None
        ]
        schema = pa.schema([(name, pa.string()) for name in ("image_id", "pixel_sha256", "split")])
        history = split.history_of(table, pa.Table.from_pylist(stood, schema=schema))
    made = split.assign(table, links, history, split.SplitConfig(**config), dict(sources))
    names = [None if in_split == assignment.NONE else files.SPLITS[in_split] for in_split in made.splits]
    rows = zip(table["image_id"].to_pylist(), names, made.reasons, made.is_clean, table["pixel_sha256"], strict=True)
    return {each: (in_split, reason, bool(ok), str(pixels)) for each, in_split, reason, ok, pixels in rows}, made


def splits_of(images, found):
    return [found[each["image_id"]][0] for each in images]


def reasons_of(images, found):
    return [found[each["image_id"]][1] for each in images]


def related(images, pairs):
    """All pairs of images that must not be in two splits, found the slow way."""
    near = {frozenset((a["pixel_sha256"], b["pixel_sha256"])) for a, b in pairs}
    for one, other in combinations(images, 2):
        same_subject = one["subject"] is not None and one["subject"] == other["subject"]
        contents = frozenset((one["pixel_sha256"], other["pixel_sha256"]))
        if same_subject or len(contents) == 1 or contents in near:
            yield one, other


def assert_none_straddles(images, pairs, found):
    for one, other in related(images, pairs):
        on = {found[each["image_id"]][0] for each in (one, other)} - {None}
        assert len(on) < 2


def assert_all_accounted_for(images, found):
    assert found.keys() == {each["image_id"] for each in images}
    for each in images:
        in_split, reason, is_clean, _ = found[each["image_id"]]
        if each["action"] == "quarantine":
            assert (in_split, reason) == (None, None)
        else:
            assert (in_split is None) == (reason is not None)
        assert in_split is not None or not is_clean


@st.composite
def data(draw, raw_splits=(None,), actions=("keep", "keep", "keep", "drop", "quarantine"), max_size=40):
    """Images, some identical, some of one subject, and pairs of near-duplicates among them."""
    described = st.tuples(
        st.sampled_from(CLASSES),
        st.integers(0, 25),
        st.sampled_from(raw_splits),
        st.sampled_from([None, None, None, "ann", "bob", "cleo", "dan"]),
        st.sampled_from(actions),
    )
    images = [image(n, *each) for n, each in enumerate(draw(st.lists(described, min_size=1, max_size=max_size)))]
    ends = st.tuples(st.sampled_from(images), st.sampled_from(images))
    pairs = draw(st.lists(ends.filter(lambda each: each[0] is not each[1]), max_size=12))
    return images, pairs


OFFICIAL = st.sampled_from([("train", "test"), ("train",), tuple(RAW_SPLITS)])


@UNHURRIED
@given(data(), st.integers(0, 3))
def test_no_near_duplicates_nor_subject_are_in_two_splits_of_a_drawn_split(drawn, seed):
    images, pairs = drawn
    found, made = assign(images, pairs, seed=seed, test_share=0.3, validation_share=0.2)
    assert_none_straddles(images, pairs, found)
    assert_all_accounted_for(images, found)
    assert made.n_leaked == 0


@UNHURRIED
@given(OFFICIAL.flatmap(lambda raw: data(raw_splits=raw)), st.integers(0, 3))
def test_no_near_duplicates_nor_subject_are_in_two_splits_of_a_repaired_official_split(drawn, seed):
    images, pairs = drawn
    found, made = assign(images, pairs, seed=seed)
    assert_none_straddles(images, pairs, found)
    assert_all_accounted_for(images, found)
    assert made.n_leaked == 0


@UNHURRIED
@given(OFFICIAL.flatmap(lambda raw: data(raw_splits=raw)), st.sampled_from(["keep", "drop", "stop"]))
def test_an_official_split_never_changes_but_for_those_drawn_from_train(drawn, leakage):
    images, pairs = drawn
    found, made = assign(images, pairs, leakage=leakage)
    to_draw = [None, "train", *(name for name in ("validation", "test") if f"{name} drawn" in made.origin)]
    for each in images:
        official = split.SplitConfig().official[each["raw_split"].lower()]
        in_split = found[each["image_id"]][0]
        assert in_split in ((None, official) if official != "train" else to_draw)
        if leakage != "drop" and official != "train" and each["action"] != "quarantine":
            assert in_split == official


@settings(UNHURRIED, max_examples=300)
@given(data(max_size=60), st.data())
def test_new_images_change_no_old_ones_split_even_if_they_bridge_two(drawn, choices):
    """Old contents get no new pairs among themselves: they look as they did."""
    images, pairs = drawn
    n_old = choices.draw(st.integers(0, len(images)))
    old, contents = images[:n_old], {each["pixel_sha256"] for each in images[:n_old]}
    old_pairs = [each for each in pairs if all(end["image_id"] < f"{n_old:032x}" for end in each)]
    later = [each for each in pairs if not {end["pixel_sha256"] for end in each} <= contents]
    config = {"test_share": 0.3, "validation_share": 0.3}
    before, _ = assign(old, old_pairs, **config) if old else ({}, None)
    found, _ = assign(images, [*old_pairs, *later], before=before, **config)
    for each in old:
        if before[each["image_id"]][0] is not None:
            assert found[each["image_id"]][0] == before[each["image_id"]][0]
    assert_none_straddles(images, [*old_pairs, *later], found)
    assert_all_accounted_for(images, found)


@UNHURRIED
@given(data() | data(raw_splits=tuple(RAW_SPLITS)), st.randoms(use_true_random=False))
def test_the_order_of_images_and_pairs_does_not_matter(drawn, shuffler):
    images, pairs = drawn
    found, _ = assign(images, pairs)
    shuffled = [(b, a) for a, b in pairs]
    shuffler.shuffle(shuffled)
    assert assign(images[::-1], shuffled)[0] == found


@UNHURRIED
@given(data(raw_splits=tuple(RAW_SPLITS)))
def test_the_clean_version_of_a_split_has_no_duplicates_and_none_in_the_official_train(drawn):
    images, pairs = drawn
    found, _ = assign(images, pairs, leakage="keep")
    official = {each["image_id"]: RAW_SPLITS[each["raw_split"]] for each in images if each["action"] != "quarantine"}
    for one, other in related([{**each, "subject": None} for each in images], pairs):
        clean = [each["image_id"] for each in (one, other) if found[each["image_id"]][2]]
        assert len({found[each][0] for each in clean}) == len(clean)
        for each, duplicate in ((one, other), (other, one)):
            if found[each["image_id"]][2] and duplicate["image_id"] in official:
                order = [files.SPLITS.index(official[id_]) for id_ in (each["image_id"], duplicate["image_id"])]
                assert order[1] >= order[0]


def counted(images, found):
    return Counter((each["label"], in_split) for each, in_split in zip(images, splits_of(images, found), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_each_class_has_its_shares_to_the_image(seed):
    images = [image(n, CLASSES[0] if n < 940 else CLASSES[1]) for n in range(1_000)]
    found, _ = assign(images, test_share=0.1, validation_share=0.2, seed=seed)
    assert counted(images, found) == {
        ("happy", "test"): 94,
        ("happy", "validation"): 188,
        ("happy", "train"): 658,
        ("sad", "test"): 6,
        ("sad", "validation"): 12,
        ("sad", "train"): 42,
    }


@UNHURRIED
@given(data(max_size=120, actions=("keep",)), st.integers(0, 3))
def test_duplicates_and_subjects_cost_a_class_no_more_of_its_shares_than_the_largest_group(drawn, seed):
    images, pairs = drawn
    found, made = assign(images, pairs, seed=seed, test_share=0.25, validation_share=0.25)
    counts = counted(images, found)
    for label in CLASSES:
        n = sum(each["label"] == label for each in images)
        for in_split in ("test", "validation"):
            assert abs(counts[label, in_split] - 0.25 * n) <= 2 * made.largest_split_group + 1


@pytest.mark.parametrize("seed", range(20))
def test_a_subject_that_is_larger_than_a_share_stays_in_train(seed):
    images = [image(n, CLASSES[n % 3], subject="big" if n < 600 else None) for n in range(1_000)]
    found, made = assign(images, seed=seed)
    assert set(splits_of(images[:600], found)) == {"train"}
    counts = Counter(splits_of(images, found))
    assert counts["test"] == counts["validation"] == pytest.approx(100, abs=2)
    assert split._far_from_shares(made, split.SplitConfig()) == ()


def test_groups_of_duplicates_are_in_test_as_often_as_images_by_themselves():
    images = [image(n, pixels=n // 2 if n < 1_000 else n) for n in range(3_000)]
    found, _ = assign(images)
    counts = [Counter(splits_of(part, found))["test"] for part in (images[:1_000], images[1_000:])]
    assert counts == [pytest.approx(100, abs=2), pytest.approx(200, abs=2)]


def test_a_split_that_cant_have_its_share_is_told():
    images = [image(n, CLASSES[n % 3], subject=f"s{n // 150}") for n in range(300)]
    assert "test holds 50.0% of the images" in split._far_from_shares(assign(images)[1], split.SplitConfig())[0]


def test_new_images_fill_up_the_shares_that_the_old_ones_leave():
    images = [image(n, CLASSES[n % 2]) for n in range(600)]
    before, _ = assign(images[:500], test_share=0.1)
    found, _ = assign(images, before=before, test_share=0.1)
    assert {each: found[each] for each in before} == before
    assert {label: counted(images, found)[label, "test"] for label in CLASSES[:2]} == {"happy": 30, "sad": 30}


def test_without_a_history_more_data_moves_only_images_near_the_shares_ends():
    images = [image(n) for n in range(1_000)]
    before, _ = assign(images[:900])
    found, _ = assign(images)
    assert sum(found[each][0] != before[each][0] for each in before) < 30


def test_an_image_that_is_put_aside_for_a_while_holds_its_split_for_its_new_duplicate_and_comes_back_to_it(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = [image(n, CLASSES[n % 3]) for n in range(120)]
    first = run(workspace, images)
    stood = dict(zip(*(read(workspace, first)[name].to_pylist() for name in ("image_id", "split")), strict=True))
    held_out = [each for each in images if stood[each["image_id"]] != "train"]
    for action in ("drop", "quarantine", None):
        for each in held_out[:4]:
            duplicate = image(1_000, each["label"])
            aside = [one if one is not each else one | {"action": action, "reason": "outlier"} for one in images]
            aside = [one for one in aside if one["action"] is not None] + [duplicate]
            pairs = [] if action is None else [(each, duplicate)]
            second = run(workspace, aside, previous=first, pairs=pairs)
            third = run(workspace, [*images, duplicate], previous=second, pairs=[(each, duplicate)])
            for made in (second, third):
                rows = read(workspace, made).to_pylist()
                splits_now = {row["image_id"]: row["split"] for row in rows}
                for old, in_split in stood.items():
                    assert splits_now.get(old, contract.EXCLUDED) in (in_split, contract.EXCLUDED)
                assert made.n_leaked == 0
            if action is not None:
                assert splits_now[duplicate["image_id"]] == stood[each["image_id"]]


def test_what_stood_somewhere_is_remembered_though_it_is_gone(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    images = [image(n, CLASSES[n % 3]) for n in range(120)]
    first = run(workspace, images)
    second = run(workspace, images[:100], previous=first)
    tables = [pq.read_table(workspace.folder(made) / files.ASSIGNMENTS) for made in (first, second)]
    assert tables[0].schema.equals(contract.ASSIGNMENTS)
    assert tables[1].equals(tables[0])
    assert read(workspace, run(workspace, images, previous=second)).equals(read(workspace, first))


def test_another_seed_draws_others():
    images = [image(n) for n in range(200)]
    drawn = [splits_of(images, assign(images, seed=seed)[0]) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(("n", "expected"), [(3, set(files.SPLITS)), (2, {"train", "test"}), (9, set(files.SPLITS))])
@pytest.mark.parametrize("seed", range(20))
def test_a_small_class_is_on_every_split_as_far_as_its_images_reach(n, expected, seed):
    images = [image(at, CLASSES[at % 2]) for at in range(2 * n)]
    found, _ = assign(images, seed=seed, test_share=0.05, validation_share=0.05)
    for label in CLASSES[:2]:
        assert {found[each["image_id"]][0] for each in images if each["label"] == label} >= expected


def test_an_image_served_to_a_small_class_takes_its_subject_along():
    images = [image(n, CLASSES[n % 3], subject=f"s{n // 6}") for n in range(18)]
    for seed in range(20):
        found, _ = assign(images, seed=seed, test_share=0.05, validation_share=0.05)
        assert_none_straddles(images, [], found)
        assert {(each["label"], found[each["image_id"]][0]) for each in images} == {
            (label, in_split) for label in CLASSES for in_split in files.SPLITS
        }


def test_a_new_image_joins_its_near_duplicate_and_one_between_two_splits_is_left_out():
    old = [image(n) for n in range(60)]
    before, _ = assign(old)
    train, test = (
        next(each for each in old if before[each["image_id"]][0] == in_split) for in_split in ("train", "test")
    )
    new = [image(n) for n in range(100, 104)]
    pairs = [(new[0], train), (new[1], train), (new[1], test), (new[2], test), (new[1], new[3])]
    found, _ = assign([*old, *new], pairs, before=before)
    assert splits_of(new[:3], found) == ["train", None, "test"]
    assert reasons_of(new[:3], found) == [None, assignment.IN_TWO_SPLITS, None]
    assert found[new[3]["image_id"]][1] is None  # only an image left out stands between it and the others
    assert {each: found[each] for each in before} == before


def test_a_copy_that_claims_a_subject_of_another_split_drives_no_old_image_out():
    old = [image(n, subject=f"s{n}") for n in range(60)]
    before, _ = assign(old)
    train, test = (
        next(each for each in old if before[each["image_id"]][0] == in_split) for in_split in ("train", "test")
    )
    for one, other in ((train, test), (test, train)):
        copy = image(100, subject=other["subject"]) | {"pixel_sha256": one["pixel_sha256"]}
        found, _ = assign([*old, copy], before=before)
        assert found[copy["image_id"]][:2] == (None, assignment.IN_TWO_SPLITS)
        assert {each: found[each][0] for each in before} == {each: before[each][0] for each in before}


def test_old_images_that_become_near_duplicates_by_another_threshold_leave_the_split_closer_to_training():
    old = [image(n) for n in range(60)]
    before, _ = assign(old)
    train, test = (
        next(each for each in old if before[each["image_id"]][0] == in_split) for in_split in ("train", "test")
    )
    found, _ = assign(old, [(train, test)], before=before)
    assert found[train["image_id"]][:2] == (None, "near-duplicate of an image in test")
    assert found[test["image_id"]][0] == "test"


def test_renamed_files_and_newly_decoded_pixels_keep_their_splits():
    old = [image(n) for n in range(300)]
    before, _ = assign(old)
    renamed = [image(n + 1_000) | {"pixel_sha256": sha(n)} for n in range(300)]
    decoded = [image(n) | {"pixel_sha256": sha(f"other decoder {n}")} for n in range(300)]
    wanted = splits_of(old, before)
    assert splits_of(renamed, assign(renamed, before=before)[0]) == wanted
    assert splits_of(decoded, assign(decoded, before=before)[0]) == wanted
    assert splits_of(decoded, assign(decoded)[0]) != wanted


def test_official_splits_are_kept():
    images = [image(n, raw_split=list(RAW_SPLITS)[n % 3]) for n in range(100)]
    assert splits_of(images, assign(images)[0]) == [RAW_SPLITS[each["raw_split"]] for each in images]


def test_without_official_validation_it_is_drawn_from_train():
    images = [image(n, raw_split="train" if n < 1_000 else "test") for n in range(1_500)]
    found = splits_of(images, assign(images, validation_share=0.1)[0])
    assert set(found[:1_000]) == {"train", "validation"}
    assert 70 <= Counter(found[:1_000])["validation"] <= 130
    assert set(found[1_000:]) == {"test"}


def test_a_drawn_validation_is_kept_when_the_official_train_grows():
    images = [image(n, raw_split="train" if n < 300 else "test") for n in range(400)]
    before, _ = assign(images[50:])
    new, bridged = image(500, raw_split="train"), images[50:300]
    ends = [
        next(each for each in bridged if before[each["image_id"]][0] == in_split)
        for in_split in ("train", "validation")
    ]
    found, _ = assign([*images, new], [(new, ends[0]), (new, ends[1])], before=before)
    assert {each: found[each] for each in before} == before
    assert found[new["image_id"]][1] == assignment.IN_TWO_SPLITS


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


def test_an_unknown_official_split_is_named_unless_all_its_images_were_put_aside():
    images = [image(0, raw_split="train"), image(1, raw_split="fold3"), image(2, raw_split="fold3")]
    with pytest.raises(errors.SourceError, match=r"'fold3' \(2 images\)"):
        assign(images)
    aside = [each | {"action": "quarantine"} if each["raw_split"] == "fold3" else each for each in images]
    assert splits_of(aside, assign(aside)[0])[1:] == [None, None]


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
    found, made = assign(images, [(images[5], images[6]), (images[9], images[1])])
    assert reasons_of(images, found) == [
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
    assert splits_of(images, found)[-2:] == ["train", "train"]
    assert made.n_leaked == 0


def test_train_gives_way_only_to_what_is_left_in_validation():
    images = [image(0, raw_split="train"), image(1, raw_split="val"), image(2, raw_split="test")]
    found, _ = assign(images, [(images[0], images[1]), (images[1], images[2])], validation_share=0.01)
    assert splits_of(images[1:], found) == [None, "test"]
    assert found[images[0]["image_id"]][0] is not None


def test_leaks_are_counted_before_the_repair_and_told_by_split():
    images = [
        *(image(n, pixels=n, raw_split="train") for n in range(10)),
        *(image(n, pixels=n % 10 if n < 13 else n, raw_split="val") for n in range(10, 20)),
        *(image(n, pixels=n % 10 if n < 22 else n, raw_split="test") for n in range(20, 30)),
    ]
    pairs = [(images[5], images[25]), (images[13], images[26])]
    for leakage, n_leaked in (("drop", 0), ("keep", 7), ("stop", 7)):
        _, made = assign(images, pairs, leakage=leakage)
        none = {"near": 0, "shifted": 0, "mirrored": 0}
        assert made.leaks == (
            Leak(split="validation", **none | {"duplicates": 3, "identical": 3}),
            Leak(split="test", **none | {"duplicates": 3, "identical": 2, "near": 1}),
        )
        counted = none | {"duplicates": 3, "identical": 2, "near": 1, "subject": 0}
        assert made.matrix["test"]["validation"] == made.matrix["validation"]["test"] == counted
        assert (made.n_leaked_before, made.n_leaked) == (7, n_leaked)


def test_a_dropped_image_leaves_train_and_drawn_splits_but_stays_in_official_test_though_not_in_its_clean_version():
    images = [image(n, raw_split=raw, action="drop") for n, raw in enumerate(RAW_SPLITS)]
    others = [image(n + 10, raw_split=raw) for n, raw in enumerate(RAW_SPLITS)]
    found, _ = assign([*images, *others])
    assert [found[each["image_id"]][:3] for each in images] == [
        (None, "label error", False),
        ("validation", None, False),
        ("test", None, False),
    ]
    assert all(found[each["image_id"]][2] for each in others)
    found, _ = assign([*images, *others], use_official=False)
    assert reasons_of(images, found) == ["label error"] * 3


def test_a_quarantined_image_is_in_no_split_and_drives_none_out():
    images = [
        image(0, pixels="a", raw_split="train"),
        image(1, pixels="a", raw_split="test", action="quarantine"),
        *(image(n, raw_split=("train", "val", "test")[n % 3]) for n in range(2, 11)),
    ]
    found, made = assign(images)
    assert splits_of(images, found)[:2] == ["train", None]
    assert reasons_of(images, found)[1] is None
    assert made.leaks[1].identical == 1  # as the source has it


@pytest.mark.parametrize("kind", curation_contract.KINDS[1:])
def test_a_duplicate_of_any_kind_is_kept_in_one_split_counted_by_its_kind_and_known_to_who_met_the_other(kind):
    images = [image(n, raw_split=("train", "val", "test")[n % 3]) for n in range(12)]
    found, made = assign(images, [(images[0], images[2])], kind=kind)
    reason = {"near": "near-duplicate", "shifted": "shifted near-duplicate", "mirrored": "mirrored near-duplicate"}[
        kind
    ]
    assert found[images[0]["image_id"]][:2] == (None, f"{reason} of an image in test")
    leak = made.leaks[1]
    assert {name: getattr(leak, name) for name in curation_contract.KINDS} == {
        name: int(name == kind) for name in curation_contract.KINDS
    }
    assert (made.n_leaked_before, made.n_leaked) == (1, 0)


def test_who_met_an_image_has_met_its_duplicates_and_no_others(tmp_path):
    images = [image(n, raw_split=("train", "val", "test")[n % 3]) for n in range(12)]
    duplicate = image(12, raw_split="train") | {"pixel_sha256": images[0]["pixel_sha256"]}
    workspace = LocalWorkspace(tmp_path)
    rows = read(workspace, run(workspace, [*images, duplicate], pairs=[(images[0], images[2]), (images[5], images[8])]))
    met = groups.leaked(rows, pa.chunked_array([[images[0]["pixel_sha256"]]]))
    seen = {row["image_id"] for row, is_met in zip(rows.to_pylist(), met, strict=True) if is_met}
    assert seen == {each["image_id"] for each in (images[0], images[2], duplicate)}
    assert not groups.leaked(rows, pa.chunked_array([[]], pa.string())).any()


def committed(workspace, images, pairs=(), sources=None):
    """What curation and inspection would have left of `images`."""
    key = hashlib.sha256(json.dumps([images, list(pairs)]).encode()).hexdigest()

    def curation(out):
        pq.write_table(pa.Table.from_pylist(images, schema=curation_contract.CURATION), out / files.CURATION)
        (out / "curation.json").write_text(json.dumps({"sources": sources or {}}))
        return CurationRef(classes=CLASSES, issues={}, dropped={}, quarantined={}, failures=())

    def inspection(out):
        pq.write_table(pairs_of(pairs), out / files.PAIRS)
        return InspectionRef(n_images=len(images), n_pairs=len(pairs), n_groups=0)

    return (
        workspace.run("curate", key, CurationRef, curation, resumable=False),
        workspace.run("inspect", key, InspectionRef, inspection, resumable=False),
    )


def run(workspace, images, config=None, previous=None, pairs=()):
    curation, inspection = committed(workspace, images, pairs)
    return split.split(
        curation, inspection, previous, config or split.SplitConfig(), workspace=workspace, progress=progress.silent
    )


def read(workspace, made):
    return pq.read_table(workspace.folder(made) / files.SPLIT)


def report(workspace, made):
    return json.loads((workspace.folder(made) / files.SPLIT_REPORT).read_bytes())


def test_the_stage_writes_a_row_for_each_image_that_is_not_put_aside(tmp_path):
    images = [
        image(n, CLASSES[n % 3], action="quarantine" if n < 3 else "drop" if n < 9 else "keep") for n in range(90)
    ]
    workspace = LocalWorkspace(tmp_path)
    made = run(workspace, images)
    table = read(workspace, made)
    assert table.schema.equals(contract.SCHEMA)
    rows = table.to_pylist()
    assert [row["image_id"] for row in rows] == sorted(each["image_id"] for each in images[3:])
    assert all(CLASSES[row["class_index"]] == row["label"] for row in rows)
    assert Counter((row["split"], row["label"]) for row in rows if row["split"] != contract.EXCLUDED) == {
        (name, label): made.counts[name][label] for name in files.SPLITS for label in CLASSES
    }
    assert made.excluded == {"label error": 6} == Counter(row["reason"] for row in rows if row["reason"])
    assert sum(made.n_clean.values()) == sum(row["is_clean"] for row in rows) == 81
    assert {row["row"] for row in rows} == set(range(3, 90))
    assert report(workspace, made)["excluded"] == made.excluded
    assert "/" not in (workspace.folder(made) / files.SPLIT_REPORT).read_text()  # no path, no machine


def test_the_digest_is_the_same_for_the_same_images_in_any_order(tmp_path):
    images = [image(n, CLASSES[n % 3]) for n in range(90)]
    made = run(LocalWorkspace(tmp_path / "a"), images)
    assert made.digest == run(LocalWorkspace(tmp_path / "b"), images[::-1]).digest
    assert made.digest != run(LocalWorkspace(tmp_path / "a"), images, split.SplitConfig(seed=1)).digest


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
    made = run(LocalWorkspace(tmp_path), images, split.SplitConfig(use_official=use_official))
    assert made.origin == origin
    assert f"({origin})" in made.summary()


def test_an_official_split_of_which_nothing_is_left_without_duplicates_counts_as_drawn(tmp_path):
    raw = [("train", n) for n in range(60)] + [("test", n) for n in range(60, 90)] + [("val", n) for n in range(60, 90)]
    images = [image(at, CLASSES[n % 3], n, raw_split) for at, (raw_split, n) in enumerate(raw)]
    made = run(LocalWorkspace(tmp_path), images)
    assert made.origin == "official, validation drawn"
    assert made.excluded == {"identical to an image in test": 30}


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
    held_out = [each for each in images if each["raw_split"] == "val"]
    train = [each for each in images if each["raw_split"] == "train"]
    pairs = list(zip(held_out, train[:60], strict=True))
    found, made = assign(images, pairs, leakage="keep")
    assert "test drawn" in made.origin
    leaked = [other for _, other in pairs if found[other["image_id"]][0] == "test"]
    assert leaked
    assert not any(found[each["image_id"]][2] for each in leaked)


def test_a_pair_of_an_image_that_curation_does_not_know_is_an_error(tmp_path):
    images = [image(n, CLASSES[n % 3]) for n in range(30)]
    with pytest.raises(errors.IntegrityError, match="1 image IDs"):
        run(LocalWorkspace(tmp_path), images, pairs=[(images[0], image(99))])


def test_a_drawn_validation_is_kept_though_a_leaked_copy_of_it_stands_in_the_official_test():
    images = [image(n, raw_split="train" if n < 300 else "test") for n in range(400)]
    config = {"leakage": "keep", "validation_share": 0.3}
    before, _ = assign(images, **config)
    held_out = next(each for each in images if before[each["image_id"]][0] == "validation")
    copy = {**image(399, raw_split="test"), "pixel_sha256": held_out["pixel_sha256"], "image_id": "0" * 32}
    then, _ = assign([copy, *images[1:399]], before=before, **config)
    bridge = image(500, raw_split="train")
    found, _ = assign([copy, *images[1:399], bridge], [(bridge, images[1]), (bridge, held_out)], before=then, **config)
    assert {each: found[each][0] for each in then} == {each: then[each][0] for each in then}
