import hashlib
from collections import Counter, defaultdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts import files
from data_contracts import manifest as contract
from fer import errors, progress, refs, split, validation
from fer.workspace import Workspace

CLASSES = ("happy", "sad", "surprise")


def image(number, label="happy", pixels=None, raw_split=None):
    pixel_sha256 = hashlib.sha256(str(number if pixels is None else f"copy of {pixels}").encode()).hexdigest()
    return split.Image(f"{number:032x}", pixel_sha256, label, raw_split, part=0, row=number)


def sources(labels=CLASSES, raw_splits=(None,), max_pixels=30):
    """Lists of images, some of them with the same pixels."""
    described = st.tuples(st.sampled_from(labels), st.integers(0, max_pixels), st.sampled_from(raw_splits))
    return st.lists(described, max_size=80).map(
        lambda found: [image(n, label, pixels, raw) for n, (label, pixels, raw) in enumerate(found)]
    )


def committed(workspace, images, key="0"):
    def produce(out):
        rows = [
            {
                "image_id": each.image_id,
                "path": f"{each.label}/{each.row}.png",
                "raw_label": each.label,
                "label": each.label,
                "raw_split": each.raw_split,
                "size_bytes": 1,
                "file_sha256": each.pixel_sha256,
                "pixel_sha256": each.pixel_sha256,
                "status": contract.ACCEPTED,
                "part": each.part,
                "row": each.row,
            }
            for each in images
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=contract.SCHEMA), out / validation.ACCEPTED)
        return refs.ValidationRef(
            classes=CLASSES,
            n_found=len(images),
            n_accepted=len(images),
            quarantined={},
            n_redundant_copies=0,
            failures=(),
            warnings=(),
        )

    return workspace.run("validate", key, refs.ValidationRef, produce, resumable=False)


def run(workspace, images, config=None, key="0"):
    accepted = committed(workspace, images, key)
    return split.split(accepted, config or split.SplitConfig(), workspace=workspace, progress=progress.silent)


@given(sources() | sources(raw_splits=["train", "test"]) | sources(raw_splits=["train", "val", "test"]), st.booleans())
def test_no_pixels_are_on_two_sides(images, use_official):
    assignments = split.assign(images, split.SplitConfig(use_official=use_official, test_share=0.3))
    sides = defaultdict(set)
    for each, its in zip(images, assignments, strict=True):
        if its.split != split.EXCLUDED:
            sides[each.pixel_sha256].add(its.split)
    assert all(len(found) == 1 for found in sides.values())


@given(st.integers(3, 120), st.integers(3, 60), st.floats(0.02, 0.45), st.floats(0.02, 0.45), st.integers(0, 5))
def test_drawn_shares_are_those_asked_for_in_each_class(n_happy, n_sad, test_share, validation_share, seed):
    images = [image(n, "happy" if n < n_happy else "sad") for n in range(n_happy + n_sad)]
    config = split.SplitConfig(test_share=test_share, validation_share=validation_share, seed=seed)
    found = Counter((each.label, its.split) for each, its in zip(images, split.assign(images, config), strict=True))
    for label, n in (("happy", n_happy), ("sad", n_sad)):
        n_test = max(1, round(test_share * n))
        assert found[label, "test"] == n_test
        assert found[label, "validation"] == min(max(1, round(validation_share * n)), n - n_test - 1)
        assert found[label, "train"] >= 1


@given(sources(raw_splits=["train", "test"]) | sources(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(images, shuffler):
    shuffled = list(images)
    shuffler.shuffle(shuffled)
    config = split.SplitConfig(test_share=0.2)
    before = dict(zip(images, split.assign(images, config), strict=True))
    assert before == dict(zip(shuffled, split.assign(shuffled, config), strict=True))


def test_another_seed_draws_others():
    images = [image(n) for n in range(200)]
    drawn = [
        {n for n, its in enumerate(split.assign(images, split.SplitConfig(seed=seed))) if its.split == "test"}
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 20


def test_more_data_moves_few_of_the_old_images():
    images = [image(n) for n in range(1_000)]
    config = split.SplitConfig(test_share=0.2, validation_share=0.1)
    before = split.assign(images[:950], config)
    moved = sum(was != now for was, now in zip(before, split.assign(images, config), strict=False))
    assert moved < 50  # of 950; drawn anew without memory it would be about 440


def test_official_splits_are_kept():
    raw = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
    images = [image(n, raw_split=list(raw)[n % 3]) for n in range(100)]
    assert [its.split for its in split.assign(images, split.SplitConfig())] == [raw[each.raw_split] for each in images]


def test_without_official_validation_it_is_drawn_from_train():
    images = [image(n, raw_split="train" if n < 100 else "test") for n in range(150)]
    found = [its.split for its in split.assign(images, split.SplitConfig(validation_share=0.1))]
    assert Counter(found[:100]) == {"train": 90, "validation": 10}
    assert set(found[100:]) == {"test"}


def test_official_splits_of_some_images_only_are_refused_with_counts_and_the_setting_to_draw_anew():
    images = [image(n, raw_split=None if n < 3 else "train") for n in range(1_100)]
    with pytest.raises(
        errors.SourceError, match=r"1,097 images with a split and 3 without.*--set split\.use_official=false"
    ):
        split.assign(images, split.SplitConfig())
    found = Counter(its.split for its in split.assign(images, split.SplitConfig(use_official=False)))
    assert found["train"] == 880


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
    made = run(Workspace(tmp_path), images, split.SplitConfig(use_official=use_official))
    assert made.origin == origin
    assert f"({origin})" in made.summary()


def test_an_official_split_of_which_nothing_is_left_without_twins_counts_as_drawn(tmp_path):
    raw = [("train", n) for n in range(60)] + [("test", n) for n in range(60, 90)] + [("val", n) for n in range(60, 90)]
    images = [image(at, CLASSES[n % 3], n, raw_split) for at, (raw_split, n) in enumerate(raw)]
    assert run(Workspace(tmp_path), images).origin == "official, validation drawn"


def test_a_recipe_may_draw_anew_what_has_official_splits():
    images = [image(n, raw_split="train") for n in range(100)]
    config = split.SplitConfig(use_official=False, test_share=0.08)
    assert Counter(its.split for its in split.assign(images, config))["test"] == 8


def test_twins_across_official_splits_stay_furthest_from_training():
    images = [
        image(0, pixels="a", raw_split="train"),
        image(1, pixels="a", raw_split="train"),
        image(2, pixels="a", raw_split="val"),
        image(3, pixels="a", raw_split="test"),
        image(4, pixels="b", raw_split="train"),
        image(5, pixels="b", raw_split="val"),
        image(6, pixels="c", raw_split="train"),
        image(7, pixels="c", raw_split="train"),
    ]
    found = split.assign(images, split.SplitConfig())
    assert [its.split for its in found] == [*["excluded"] * 3, "test", "excluded", "validation", "train", "train"]
    assert found[0].reason == "identical to an image in test"
    assert found[4].reason == "identical to an image in validation"
    assert found[6].reason is None


def test_an_unknown_official_split_is_named():
    with pytest.raises(errors.SourceError, match=r"'fold3' \(2 images\)"):
        split.assign(
            [image(0, raw_split="train"), image(1, raw_split="fold3"), image(2, raw_split="fold3")], split.SplitConfig()
        )


def test_the_stage_writes_a_row_for_each_accepted_image(tmp_path):
    images = [image(n, CLASSES[n % 3]) for n in range(90)]
    workspace = Workspace(tmp_path)
    made = run(workspace, images)
    table = pq.read_table(workspace.folder(made) / files.SPLIT)
    assert table.schema.equals(split.SCHEMA)
    rows = table.to_pylist()
    assert [row["image_id"] for row in rows] == sorted(each.image_id for each in images)
    assert all(CLASSES[row["class_index"]] == row["label"] for row in rows)
    assert Counter((row["split"], row["label"]) for row in rows) == {
        (name, label): made.counts[name][label] for name in files.SPLITS for label in CLASSES
    }
    assert {row["row"] for row in rows} == set(range(90))


def test_the_digest_is_the_same_for_the_same_images_in_any_order(tmp_path):
    images = [image(n, CLASSES[n % 3]) for n in range(90)]
    made = run(Workspace(tmp_path / "a"), images)
    again = run(Workspace(tmp_path / "b"), images[::-1], key="1")
    assert made.digest == again.digest
    other = run(Workspace(tmp_path / "a"), images, split.SplitConfig(seed=1))
    assert made.digest != other.digest


@pytest.mark.parametrize(
    ("images", "missing"),
    [
        ([image(n, CLASSES[n % 2]) for n in range(90)], "no surprise in train, no surprise in test"),
        ([image(n, CLASSES[min(n, 2)]) for n in range(90)], "no happy in test, no sad in test"),
        ([image(n, CLASSES[n % 3], raw_split=("train", "test")[n % 3 == 0]) for n in range(90)], "no happy in train"),
    ],
)
def test_a_class_that_would_miss_in_train_or_test_is_an_error(tmp_path, images, missing):
    with pytest.raises(errors.SourceError, match=missing):
        run(Workspace(tmp_path), images)


def test_an_empty_validation_split_is_an_error(tmp_path):
    images = [image(n, CLASSES[n % 3]) for n in range(6)]
    with pytest.raises(errors.SourceError, match="none at all in validation"):
        run(Workspace(tmp_path), images)
