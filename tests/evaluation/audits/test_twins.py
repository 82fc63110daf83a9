import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts import curation, files
from fer.evaluation.audits import twins
from fer.evaluation.predictions import Predictions


def predictions(right):
    n = len(right)
    predicted = np.where(right, 0, 1)
    ids = [f"{number:03}" for number in range(n)]
    return Predictions(ids, np.zeros(n, int), predicted, np.eye(2)[predicted], np.ones(n, bool), ("a", "b"))


def test_twins_are_worth_the_difference_times_their_share():
    right = [True] * 8 + [False] * 2 + [True] * 15 + [False] * 15
    kinds = {f"{number:03}": "identical" if number < 4 else "near" for number in range(10)}
    found = twins.worth(predictions(right), kinds | {"elsewhere": "near"}, "train")
    assert (found.with_twin.n_images, found.without_twin.n_images) == (10, 30)
    assert found.difference.value == pytest.approx(0.8 - 0.5)
    assert found.worth.value == pytest.approx(23 / 40 - 0.5)
    low, high = found.worth.interval
    assert low < found.worth.value < high
    assert {kind: part.n_images for kind, part in found.kinds.items()} == {"identical": 4, "near": 6}


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.booleans())
def test_without_both_kinds_of_images_nothing_is_compared(right, have_twins):
    kinds = {f"{number:03}": "near" for number in range(len(right))} if have_twins else {}
    found = twins.worth(predictions(right), kinds, "train")
    assert (found.difference, found.worth) == (None, None)
    assert (found.with_twin is None) is not have_twins
    assert (found.without_twin is None) is have_twins


@pytest.fixture
def data(tmp_path):
    """Images 0 and 1 are train; 2 has the pixels of 0, 3 is near 1, 4 is mirrored and near 1, 5 has no twin."""
    n = 6
    splits = ["train", "train", *["test"] * 4]
    columns = {name: pa.nulls(n, curation.CURATION.field(name).type) for name in curation.CURATION.names}
    columns |= {
        "image_id": pa.array([str(number) for number in range(n)]),
        "pixel_sha256": pa.array(["p0", "p1", "p0", "p3", "p4", "p5"]),
        "raw_split": pa.array(splits),
    }
    pq.write_table(pa.table(columns), tmp_path / files.CURATION)
    pairs = [("1", "3", "near"), ("1", "4", "mirrored"), ("1", "4", "near"), ("3", "5", "near")]
    first, second, kind = zip(*pairs, strict=True)
    pq.write_table(pa.table({"first": first, "second": second, "kind": kind}), tmp_path / files.PAIRS)
    rows = {
        "image_id": columns["image_id"], "pixel_sha256": columns["pixel_sha256"], "split": pa.array(splits),
        "near_duplicates": pa.array([[], ["p3", "p4"], [], ["p1", "p5"], ["p1"], ["p3"]]),
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / files.SPLIT)
    return tmp_path


@pytest.mark.parametrize("is_official", [True, False])
def test_an_image_has_the_closest_kind_of_its_twins_in_train(data, is_official):
    found = twins.in_train(data, data, data, {}, is_official=is_official)
    assert {name: kind for name, kind in found.items() if name in "2345"} == {
        "2": "identical",
        "3": "near",
        "4": "near",
    }


def test_a_release_knows_the_images_that_it_was_trained_on_and_those_near_them(data):
    found = twins.in_training(pa.chunked_array([["p0", "p3"]]), data)
    assert found == {"0": "identical", "1": "near-duplicate", "2": "identical", "3": "identical", "5": "near-duplicate"}
