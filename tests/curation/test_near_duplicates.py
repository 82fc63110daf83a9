import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import SIDE, N, photographs, taken

from data_contracts import curation
from fer import errors
from fer.curation import near_duplicates

CORRELATION = 0.95


def smooth(draw, n, side=48):
    """Images of a few soft shapes, as faces have, of any brightness and contrast: (n, side * side) uint8."""
    coarse = draw.normal(size=(n, 6, 6)).repeat(side // 6, axis=1).repeat(side // 6, axis=2)
    fine = coarse + 0.3 * draw.normal(size=coarse.shape)
    return np.clip(128 + draw.uniform(5, 60, (n, 1, 1)) * fine, 0, 255).astype(np.uint8).reshape(n, side * side)


def near(draw, image, noise):
    return np.clip(image + draw.normal(0, noise, image.shape), 0, 255).astype(np.uint8)


def brute_force(thumbnails, correlation):
    measured = np.corrcoef(thumbnails.astype(np.float64))
    return {(i, j) for i, j in zip(*np.nonzero(measured >= correlation), strict=True) if i < j}


def pairs_of(pairs):
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def names(n):
    return [str(number) for number in range(n)]


@given(st.integers(0, 10_000), st.sampled_from([0.8, 0.9, 0.97]))
@settings(max_examples=8)
def test_no_pair_of_brute_force_is_lost_and_none_is_added(seed, correlation):
    draw = np.random.default_rng(seed)
    images = smooth(draw, 60)
    images = np.concatenate([images, *(near(draw, images[:20], noise) for noise in (2, 10, 25, 50))])
    expected_pairs = brute_force(images, correlation)
    assert pairs_of(near_duplicates.find(images, names(len(images)), correlation)) == expected_pairs
    assert len(expected_pairs) >= 20


def test_pairs_are_found_across_tiles_and_sorted():
    draw = np.random.default_rng(0)
    images = smooth(draw, 2_600)
    images[2_590:] = near(draw, images[:10], 1)
    pairs = near_duplicates.find(images, names(len(images)), 0.9)
    assert {(row, 2_590 + row) for row in range(10)} <= pairs_of(pairs)
    assert sorted(pairs_of(pairs)) == list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def test_brightness_and_contrast_play_no_part():
    draw = np.random.default_rng(0)
    image = draw.integers(100, 120, 2_304)
    pairs = near_duplicates.find(np.stack([image, 2 * image - 100, 255 - image]).astype(np.uint8), names(3), 0.99)
    assert pairs_of(pairs) == {(0, 1)}
    assert pairs.correlation[0] == 1


def test_hardly_any_contrast_is_compared_like_any_other():
    flat = np.full((3, 2_304), 7, np.uint8)
    flat[0, 5] = flat[1, 5] = 8
    flat[2, 6] = 8
    assert pairs_of(near_duplicates.find(flat, names(3), 0.9)) == {(0, 1)}


def test_copies_are_paired_with_the_first_of_them_alone():
    draw = np.random.default_rng(0)
    images = smooth(draw, 3)
    images[2] = near(draw, images[0], 2)
    copied = images[[0, 0, 1, 0, 2, 2]]
    pairs = near_duplicates.find(copied, ["a", "a", "b", "a", "c", "c"], 0.9)
    assert pairs_of(pairs) == {(0, 1), (0, 3), (0, 4), (4, 5)}
    assert pairs.correlation[pairs.second == 4] < 1
    assert (pairs.correlation[pairs.second != 4] == 1).all()


def test_images_of_one_grey_are_paired_with_their_copies_alone():
    grey = np.full((4, 2_304), 9, np.uint8)
    grey[3] = 200
    assert pairs_of(near_duplicates.find(grey, ["nine", "nine", "another size", "light"], 0.9)) == {(0, 1)}


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images_make_no_pair(n):
    pairs = near_duplicates.find(smooth(np.random.default_rng(0), n), names(n), 0.9)
    assert len(pairs.first) == len(pairs.second) == len(pairs.correlation) == 0


def test_a_dataset_of_one_scene_is_refused_before_memory_runs_out(monkeypatch):
    monkeypatch.setattr(near_duplicates, "_MAX_PAIRS", 50)
    draw = np.random.default_rng(0)
    images = near(draw, smooth(draw, 1).repeat(12, axis=0), 2)
    with pytest.raises(errors.SourceError, match="near_duplicate_correlation"):
        near_duplicates.find(images, names(12), 0.9)


def under(thumbnail, rows, grey):
    return np.concatenate([np.full((rows, SIDE), grey), thumbnail[rows:]])


def framed(thumbnail, px, grey):
    return np.pad(thumbnail[px:-px, px:-px], px, constant_values=grey)


KINDS = {
    "shifted by 3 pixels": ("shifted", lambda p, sign: taken(p, right=3 * sign)),
    "shifted by 3 pixels along both axes": ("shifted", lambda p, sign: taken(p, right=3 * sign, down=3)),
    "cropped by 8 % a side": ("shifted", lambda p, sign: taken(p, zoom=1 / 0.84)),
    "with more around it": ("shifted", lambda p, sign: taken(p, zoom=0.86)),
    "turned by 10 degrees": ("shifted", lambda p, sign: taken(p, degrees=10 * sign)),
    "cropped, turned and shifted": ("shifted", lambda p, sign: taken(p, zoom=1.12, degrees=4 * sign, right=2)),
    "mirrored": ("mirrored", lambda p, sign: taken(p)[:, ::-1]),
    "mirrored and shifted by 3 pixels": ("mirrored", lambda p, sign: taken(p, right=3 * sign)[:, ::-1]),
    "in a frame of 2 pixels": (None, lambda p, sign: framed(taken(p), 2, 0 if sign > 0 else 255)),
    "under a band of 6 rows": (None, lambda p, sign: under(taken(p), 6, 0 if sign > 0 else 255)),
    "darker and flatter": ("near", lambda p, sign: 40 + 0.5 * taken(p)),
}


def search(*images):
    thumbnails = np.clip(np.concatenate(images), 0, 255).astype(np.uint8).reshape(-1, SIDE * SIDE)
    pairs = near_duplicates.find(thumbnails, [str(row) for row in range(len(thumbnails))], 0.9, CORRELATION)
    kinds = [curation.KINDS[kind] for kind in pairs.kind]
    return {(i, j): kind for i, j, kind in zip(pairs.first.tolist(), pairs.second.tolist(), kinds, strict=True)}


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_is_found_whichever_of_the_two_comes_first(name):
    expected_kind, change = KINDS[name]
    pictures = photographs(1)
    originals = np.stack([taken(picture) for picture in pictures])
    copies = np.stack([change(picture, 1 if number % 2 else -1) for number, picture in enumerate(pictures)])
    for pair in ((originals, copies), (copies, originals)):
        kinds_by_pair = search(*pair)
        hits = {
            number: kinds_by_pair[number, number + N] for number in range(N) if (number, number + N) in kinds_by_pair
        }
        assert len(hits) >= 0.95 * N
        if expected_kind:
            assert set(hits.values()) == {expected_kind}
        assert len(kinds_by_pair) == len(hits)  # and nothing else


def test_what_has_nothing_in_common_is_no_pair():
    assert search(photographs(2, n=200)[:, :SIDE, :SIDE]) == {}


def test_near_duplicates_alone_are_looked_for_without_a_threshold_for_aligned_ones():
    pictures = photographs(3, n=4)
    both = np.stack([taken(picture) for picture in pictures] + [taken(picture, right=3) for picture in pictures])
    thumbnails = both.astype(np.uint8).reshape(len(both), -1)
    assert not len(near_duplicates.find(thumbnails, list("abcdefgh"), 0.9).first)


def test_a_pair_has_the_closest_kind_and_stands_once():
    picture = photographs(4, n=1)[0]
    symmetric = taken(picture) + taken(picture)[:, ::-1]
    same = symmetric / 2
    kinds_by_pair = search(np.stack([same, same, 0.9 * same]))
    assert kinds_by_pair == {(0, 1): "near", (0, 2): "near", (1, 2): "near"}


def test_images_whose_middle_is_of_one_grey_are_compared_as_they_are_alone():
    frames = np.full((3, SIDE, SIDE), 128.0)
    frames[1:, 0, :24] = 0
    frames[2, -1, 3] = 255
    assert set(search(frames).values()) <= {"near"}


@given(seed=st.integers(0, 1000), n_others=st.integers(0, 30))
@settings(max_examples=5)
def test_whether_two_images_are_a_pair_depends_on_these_two_alone(seed, n_others):
    pictures = photographs(seed, n=4)
    pair = np.stack(
        [taken(picture) for picture in pictures] + [taken(picture, right=2, zoom=1.1) for picture in pictures]
    )
    others = photographs(seed + 5000, n=n_others)[:, :SIDE, :SIDE] if n_others else np.empty((0, SIDE, SIDE))
    alone, among = search(pair), search(pair, others)
    assert {ends: kind for ends, kind in among.items() if max(ends) < len(pair)} == alone
