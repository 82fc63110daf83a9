import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.shards import parquet, selection


@pytest.fixture
def folder(tmp_path):
    """25 images of a split in shards of 7, whose only pixel value is their number."""
    for number, start in enumerate(range(0, 25, 7)):
        rows = np.arange(start, min(start + 7, 25))
        pixels = np.repeat(rows.astype(np.uint8), 16).reshape(-1, 4, 4)
        ids = [f"id{row:02}" for row in rows]
        parquet.write(tmp_path / parquet.name("test", number), ids, (rows % 2).astype(np.int32), pixels, ("a", "b"))
    return tmp_path


@pytest.mark.parametrize("at_once", [1, 3, 4, 8, 100])
def test_the_chosen_images_come_in_full_batches(folder, at_once):
    chosen = [f"id{row:02}" for row in range(0, 25, 3)]
    parts = list(selection.batches(folder, "test", chosen, at_once))
    assert [image_id for part in parts for image_id in part.image_ids] == chosen
    assert [len(part.image_ids) for part in parts[:-1]] == [at_once] * (len(parts) - 1)
    pixels = np.concatenate([part.pixels for part in parts])
    np.testing.assert_array_equal(pixels[:, 0, 0], range(0, 25, 3))
    np.testing.assert_array_equal(np.concatenate([part.class_indexes for part in parts]), np.arange(0, 25, 3) % 2)


def test_none_are_chosen_and_all_are_named(folder):
    assert list(selection.batches(folder, "test", [], 4)) == []
    assert selection.image_ids(folder, "test") == [f"id{row:02}" for row in range(25)]


@given(ids=st.sets(st.text(max_size=5), max_size=30), at_most=st.integers(1, 35), extra=st.text(max_size=5))
def test_a_choice_of_images_has_no_order_and_stays_as_the_split_grows(ids, at_most, extra):
    chosen = selection.choose(sorted(ids), at_most, seed=0)
    assert chosen == selection.choose(sorted(ids, reverse=True), at_most, seed=0)
    assert len(chosen) == min(at_most, len(ids))
    grown = selection.choose(sorted(ids | {extra}), at_most, seed=0)
    assert len(set(chosen) - set(grown)) <= 1
