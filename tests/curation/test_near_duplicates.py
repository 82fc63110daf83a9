import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import errors
from fer.curation import near_duplicates


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


def found(pairs):
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def names(n):
    return [str(at) for at in range(n)]


@given(st.integers(0, 10_000), st.sampled_from([0.8, 0.9, 0.97]))
@settings(max_examples=8)
def test_no_pair_of_brute_force_is_lost_and_none_is_added(seed, correlation):
    draw = np.random.default_rng(seed)
    images = smooth(draw, 60)
    images = np.concatenate([images, *(near(draw, images[:20], noise) for noise in (2, 10, 25, 50))])
    wanted = brute_force(images, correlation)
    assert found(near_duplicates.find(images, names(len(images)), correlation)) == wanted
    assert len(wanted) >= 20


def test_pairs_are_found_across_tiles_and_sorted():
    draw = np.random.default_rng(0)
    images = smooth(draw, 2_600)
    images[2_590:] = near(draw, images[:10], 1)
    pairs = near_duplicates.find(images, names(len(images)), 0.9)
    assert {(at, 2_590 + at) for at in range(10)} <= found(pairs)
    assert sorted(found(pairs)) == list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def test_brightness_and_contrast_play_no_part():
    draw = np.random.default_rng(0)
    image = draw.integers(100, 120, 2_304)
    pairs = near_duplicates.find(np.stack([image, 2 * image - 100, 255 - image]).astype(np.uint8), names(3), 0.99)
    assert found(pairs) == {(0, 1)}
    assert pairs.correlation[0] == 1


def test_hardly_any_contrast_is_compared_like_any_other():
    flat = np.full((3, 2_304), 7, np.uint8)
    flat[0, 5] = flat[1, 5] = 8
    flat[2, 6] = 8
    assert found(near_duplicates.find(flat, names(3), 0.9)) == {(0, 1)}


def test_copies_are_paired_with_the_first_of_them_alone():
    draw = np.random.default_rng(0)
    images = smooth(draw, 3)
    images[2] = near(draw, images[0], 2)
    copied = images[[0, 0, 1, 0, 2, 2]]
    pairs = near_duplicates.find(copied, ["a", "a", "b", "a", "c", "c"], 0.9)
    assert found(pairs) == {(0, 1), (0, 3), (0, 4), (4, 5)}
    assert pairs.correlation[pairs.second == 4] < 1
    assert (pairs.correlation[pairs.second != 4] == 1).all()


def test_images_of_one_grey_are_paired_with_their_copies_alone():
    grey = np.full((4, 2_304), 9, np.uint8)
    grey[3] = 200
    assert found(near_duplicates.find(grey, ["nine", "nine", "another size", "light"], 0.9)) == {(0, 1)}


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
