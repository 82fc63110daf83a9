import json

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts import properties
from fer.curation.versions import difference
from fer.curation.versions.version import Version


def version(rows, name="x"):
    """A version of (image_id, pixel_sha256, label, split) rows."""
    ids, pixels, labels, splits = zip(*rows, strict=True) if rows else ((), (), (), ())
    n = len(rows)
    columns = {
        "image_id": pa.array(ids, pa.string()),
        "source": pa.array(["demo"] * n, pa.string()),
        "path": pa.array([f"{image_id}.png" for image_id in ids], pa.string()),
        "pixel_sha256": pa.array(pixels, pa.string()),
        "label": pa.array(labels, pa.string()),
        **{column: pa.array(np.arange(n) % 7, pa.float32()) for column in properties.EDGES},
        "split": pa.array(splits, pa.string()),
    }
    return Version(name, name, pa.table(columns))


def changes(a, b):
    """(change, image_id in A, in B) of each row."""
    _, table = difference.between(version(a), version(b))
    return sorted((row["change"], row["image_id_a"] or "", row["image_id_b"] or "") for row in table.to_pylist())


def test_each_kind_of_change_is_told_image_by_image():
    a = [
        ("1", "p1", "happy", "train"),
        ("2", "p2", "sad", "train"),
        ("3", "p3", "sad", "test"),
        ("4", "p4", "sad", "test"),
    ]
    b = [
        ("1", "p1", "happy", "train"),
        ("2", "p2", "happy", "test"),
        ("9", "p3", "sad", "test"),
        ("5", "p5", "sad", "train"),
    ]
    found, _ = difference.between(version(a, "old"), version(b, "new"))
    assert changes(a, b) == [
        ("added", "", "5"), ("moved", "2", "2"), ("relabelled", "2", "2"), ("removed", "4", ""), ("renamed", "3", "9"),
    ]  # fmt: skip
    assert (found.n_same, found.n_moved, found.relabelled, found.moved) == (
        1, 1, {"sad": {"happy": 1}}, {"train": {"test": 1}},
    )  # fmt: skip
    assert found.classes["sad"].model_dump() == {"a": 3, "b": 2, "added": 1, "removed": 1}
    assert found.splits["train"].model_dump() == {"a": 2, "b": 2, "added": 1, "removed": 0}
    assert found.examples["removed"] == ("4",)
    assert {test["of"] for test in found.drift} == {"all"}


def test_of_copies_those_with_the_same_label_are_matched_first():
    a = [("1", "p", "happy", "train"), ("2", "p", "sad", "train")]
    b = [("8", "p", "sad", "train"), ("9", "p", "sad", "train")]
    assert changes(a, b) == [("relabelled", "1", "9"), ("renamed", "1", "9"), ("renamed", "2", "8")]
    assert changes(b, a) == [("relabelled", "9", "1"), ("renamed", "8", "2"), ("renamed", "9", "1")]


def test_without_the_splits_of_one_nothing_is_said_of_moves():
    a = [("1", "p", "happy", None)]
    found, _ = difference.between(version(a), version([("1", "p", "happy", "test")]))
    assert (found.n_moved, found.moved, found.splits, found.is_empty) == (None, None, {}, True)


@st.composite
def versions(draw):
    """Two versions that share images, pixels and labels."""

    def rows():
        n = draw(st.integers(0, 12))
        ids = draw(st.permutations(range(14)))[:n]
        return [
            (f"{image_id:02}", f"p{draw(st.integers(0, 5))}", draw(st.sampled_from("hs")), draw(st.sampled_from("ab")))
            for image_id in ids
        ]

    return rows(), rows()


@settings(max_examples=settings.default.max_examples // 2)
@given(versions())
def test_exchanging_the_versions_mirrors_every_change(case):
    a, b = case
    there, back = changes(a, b), changes(b, a)
    names = {"added": "removed", "removed": "added"}
    assert sorted((names.get(change, change), in_b, in_a) for change, in_a, in_b in there) == back
    found, mirrored = (difference.between(version(x), version(y))[0] for x, y in ((a, b), (b, a)))
    assert (found.n_added, found.n_removed, found.n_same) == (mirrored.n_removed, mirrored.n_added, mirrored.n_same)


@settings(max_examples=settings.default.max_examples // 2)
@given(versions(), st.randoms())
def test_the_order_of_the_files_does_not_matter(case, random):
    a, b = case
    shuffled = random.sample(a, len(a)), random.sample(b, len(b))
    assert changes(*shuffled) == changes(a, b)


@given(versions())
def test_every_image_is_counted_once(case):
    a, b = case
    found, table = difference.between(version(a), version(b))
    assert found.n_a - found.n_removed == found.n_b - found.n_added
    assert table.schema.equals(difference.SCHEMA)
    json.dumps(found.model_dump(mode="json"))


@given(versions())
def test_a_version_differs_in_nothing_from_itself(case):
    a, _ = case
    found, table = difference.between(version(a), version(a))
    assert (found.is_empty, len(table), found.n_same) == (True, 0, len(a))
    assert not any(test["drifted"] for test in found.drift)
