"""Tombstones in the store: written once, read whole, and without a picture."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import errors
from fer.ingest.tombstones import records

DIGESTS = st.lists(st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}"), min_size=1, max_size=4)
FEATURES = st.lists(st.binary(min_size=24, max_size=24), max_size=3)


@given(DIGESTS, FEATURES, st.randoms(use_true_random=False))
def test_the_same_images_have_the_same_tombstone_in_any_order(digests, features, random):
    one = records.tombstone(digests, features, "subject", "me", "asked")
    shuffled = random.sample(digests, len(digests)) + digests[:1]
    other = records.tombstone(shuffled, features[::-1], "file", "you")
    assert one.id == other.id
    assert records.Tombstones.of([one, other]).digests() == sorted(set(digests))
    assert records.Tombstones.of([one]).features() == sorted(set(features))


@given(DIGESTS, DIGESTS)
def test_other_images_have_another_one(digests, others):
    same = set(digests) == set(others)
    ids = {records.tombstone(given, [], "digest", "me").id for given in (digests, others)}
    assert len(ids) == (1 if same else 2)


def test_tombstones_are_written_once_and_read_again(store):
    assert records.read(store) is None
    first, second = (records.tombstone([letter * 64], [], "digest", "me", "why") for letter in "ab")
    assert records.write(store, first)
    assert not records.write(store, first.model_copy(update={"by": "another"}))
    records.write(store, second)
    found = records.read(store)
    assert found == records.Tombstones.of([first, second])
    assert found.identity != records.Tombstones.of([first]).identity


@pytest.mark.parametrize("change", ["digest", "seal", "nonsense"])
def test_a_tombstone_that_was_altered_ends_the_run(store, change):
    made = records.tombstone(["a" * 64, "b" * 64], [], "digest", "me")
    records.write(store, made)
    key = f"{records.PREFIX}{made.id}.json"
    document = json.loads(store.get(key).data)
    if change == "digest":
        document["pixel_sha256"] = document["pixel_sha256"][:1]
    if change == "seal":
        document = {name: value for name, value in document.items() if name in records.Tombstone.model_fields}
    store.put(key, b"{" if change == "nonsense" else json.dumps(document).encode())
    with pytest.raises(errors.IntegrityError, match="comes back"):
        records.read(store)


def test_features_are_24_bytes_and_no_picture():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2304), np.uint8)
    assert [len(features) for features in records.features_of(pixels)] == [24] * 3
