import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts import curation as contract
from fer import errors
from fer.curation import groups

NEAR, SHIFTED = contract.KINDS.index("near"), contract.KINDS.index("shifted")


def of(contents, pairs=(), kinds=None, subject=None):
    """The groups of images of these contents, and `pairs` of their rows."""
    rows = np.array(list(pairs), np.int64).reshape(-1, 2)
    return groups.of_rows(
        pa.chunked_array([pa.array(contents, pa.string())]),
        rows,
        np.full(len(rows), NEAR) if kinds is None else np.array(kinds),
        None if subject is None else np.array(subject),
    )


def partition(numbers):
    """The rows of each group, in order."""
    return sorted(np.flatnonzero(numbers == number).tolist() for number in np.unique(numbers))


def test_a_pair_holds_for_all_copies_of_its_two_images():
    links = of(["a", "a", "b", "b", "c", "d"], [(0, 2), (2, 4)])
    assert links.near_duplicate_sha256s().to_pylist() == [["b"], ["b"], ["a", "c"], ["a", "c"], ["b"], []]
    assert partition(links.duplicate_group) == [[0, 1, 2, 3, 4], [5]]
    linked = links.linked_bits(np.array([1, 0, 2, 0, 4, 0], np.uint8))
    assert linked.identical.tolist() == [1, 1, 2, 2, 4, 0]
    assert linked.near.tolist() == [2, 2, 5, 5, 2, 0]
    assert linked.duplicates.tolist() == [3, 3, 7, 7, 6, 0]


def test_identical_images_are_duplicates_without_a_pair():
    links = of(["same", "same", "other"])
    assert partition(links.duplicate_group) == [[0, 1], [2]]
    assert links.near_duplicate_sha256s().to_pylist() == [[], [], []]


def test_kinds_of_links_are_kept_apart():
    links = of(["a", "b", "c"], [(0, 1), (1, 2)], [NEAR, SHIFTED], subject=[0, -1, 0])
    linked = links.linked_bits(np.array([1, 2, 4], np.uint8))
    assert (linked.near.tolist(), linked.shifted.tolist()) == ([2, 1, 0], [0, 4, 2])
    assert linked.mirrored.tolist() == [0, 0, 0]
    assert linked.subject.tolist() == [5, 0, 5]
    assert linked.all.tolist() == [7, 7, 7]


def test_subjects_connect_split_groups_but_no_duplicate_groups():
    links = of(["d", "a", "b", "c"], [(1, 2)], subject=[0, 0, -1, -1])
    assert partition(links.split_group) == [[0, 1, 2], [3]]
    assert partition(links.duplicate_group) == [[0], [1, 2], [3]]
    assert [links.split_group_keys[number] for number in links.split_group] == ["a", "a", "a", "c"]


@given(
    st.lists(st.integers(0, 6), max_size=12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8)
)
def test_near_duplicates_are_mutual_and_within_the_group(contents, edges):
    names = [str(content) for content in contents]
    links = of(names, [edge for edge in edges if max(edge) < len(names)])
    near = links.near_duplicate_sha256s().to_pylist()
    for one, other in itertools.product(range(len(names)), repeat=2):
        assert (names[other] in near[one]) == (names[one] in near[other])
        if names[other] in near[one] or names[one] == names[other]:
            assert links.duplicate_group[one] == links.duplicate_group[other]
        assert names[one] not in near[one]


def test_a_pair_of_an_unknown_image_is_an_error():
    images = pa.table({"image_id": ["a"], "pixel_sha256": ["1"], "subject": pa.array([None], pa.string())})
    pairs = pa.table({"first": ["a"], "second": ["b"], "kind": ["near"]})
    with pytest.raises(errors.IntegrityError, match="1 image IDs"):
        groups.read(images, pairs)


def test_values_are_numbered_in_their_order_and_null_is_none_of_them():
    codes, values = groups.factorize(pa.chunked_array([["b", None], ["a", "b"]]))
    assert codes.tolist() == [1, -1, 0, 1]
    assert values.to_pylist() == ["a", "b"]


def test_an_image_is_leaked_by_its_own_pixels_and_those_of_a_near_duplicate():
    rows = pa.table(
        {"pixel_sha256": ["1", "2", "3"], "near_duplicates": pa.array([[], ["1", "9"], ["9"]], pa.list_(pa.string()))}
    )
    assert groups.leaked(rows, pa.chunked_array([["1"]])).tolist() == [True, True, False]
    assert not groups.leaked(rows, pa.chunked_array([[]], pa.string())).any()
