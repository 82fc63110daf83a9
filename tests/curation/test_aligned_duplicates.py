"""Near-duplicates that are moved, cropped, zoomed, turned, mirrored or written over, and what is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, ndimage

from data_contracts import curation
from fer.curation import alignment, near_duplicates, probes

SIDE = probes.SIDE
N = 60
CORRELATION = 0.95


def photographs(seed, n=N, side=2 * SIDE):
    """Pictures with a photograph's spectrum, amplitude by 1 / frequency, and nothing in common: (n, side, side)."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(fft.fftfreq(side), fft.fftfreq(side)))
    frequency[0, 0] = np.inf
    waves = draw.normal(size=(n, side, side)) + 1j * draw.normal(size=(n, side, side))
    pictures = fft.ifft2(waves / frequency**1.3).real
    pictures -= pictures.mean(axis=(1, 2), keepdims=True)
    return np.clip(128 + 50 * pictures / pictures.std(axis=(1, 2), keepdims=True), 0, 255)


def taken(picture, *, right=0.0, down=0.0, zoom=1.0, degrees=0.0):
    """The middle of the picture as a thumbnail; `right` and `down` in its pixels, a zoom over 1 shows less."""
    turn = np.radians(degrees)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / zoom
    middle = (picture.shape[0] - 1) / 2
    offset = middle + np.array([down, right]) - matrix @ np.full(2, (SIDE - 1) / 2)
    return np.rint(ndimage.affine_transform(picture, matrix, offset, (SIDE, SIDE), order=1, mode="nearest"))


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
    found = near_duplicates.find(thumbnails, [str(at) for at in range(len(thumbnails))], 0.9, CORRELATION)
    kinds = [curation.KINDS[kind] for kind in found.kind]
    return {(i, j): kind for i, j, kind in zip(found.first.tolist(), found.second.tolist(), kinds, strict=True)}


@pytest.mark.parametrize("name", KINDS)
def test_a_copy_is_found_whichever_of_the_two_comes_first(name):
    wanted, change = KINDS[name]
    pictures = photographs(1)
    originals = np.stack([taken(each) for each in pictures])
    copies = np.stack([change(each, 1 if at % 2 else -1) for at, each in enumerate(pictures)])
    for pair in ((originals, copies), (copies, originals)):
        found = search(*pair)
        hits = {at: found[at, at + N] for at in range(N) if (at, at + N) in found}
        assert len(hits) >= 0.95 * N
        if wanted:
            assert set(hits.values()) == {wanted}
        assert len(found) == len(hits)  # and nothing else


def test_what_has_nothing_in_common_is_no_pair():
    assert search(photographs(2, n=200)[:, :SIDE, :SIDE]) == {}


def test_near_twins_alone_are_looked_for_without_a_bound_for_aligned_ones():
    pictures = photographs(3, n=4)
    both = np.stack([taken(each) for each in pictures] + [taken(each, right=3) for each in pictures])
    thumbnails = both.astype(np.uint8).reshape(len(both), -1)
    assert not len(near_duplicates.find(thumbnails, list("abcdefgh"), 0.9).first)


def test_a_pair_has_the_closest_kind_and_stands_once():
    picture = photographs(4, n=1)[0]
    symmetric = taken(picture) + taken(picture)[:, ::-1]
    same = symmetric / 2
    found = search(np.stack([same, same, 0.9 * same]))
    assert found == {(0, 1): "near", (0, 2): "near", (1, 2): "near"}


def test_images_whose_middle_is_of_one_grey_are_compared_as_they_are_alone():
    frames = np.full((3, SIDE, SIDE), 128.0)
    frames[1:, 0, :24] = 0
    frames[2, -1, 3] = 255
    assert set(search(frames).values()) <= {"near"}


@given(seed=st.integers(0, 1000), n_others=st.integers(0, 30))
@settings(max_examples=5)
def test_whether_two_images_are_a_pair_hangs_on_these_two_alone(seed, n_others):
    pictures = photographs(seed, n=4)
    pair = np.stack([taken(each) for each in pictures] + [taken(each, right=2, zoom=1.1) for each in pictures])
    others = photographs(seed + 5000, n=n_others)[:, :SIDE, :SIDE] if n_others else np.empty((0, SIDE, SIDE))
    alone, among = search(pair), search(pair, others)
    assert {ends: kind for ends, kind in among.items() if max(ends) < len(pair)} == alone


def test_alignment_finds_where_the_other_image_lies():
    picture = photographs(6, n=1)[0]
    near = probes.View(right=-3.0, down=1.0, zoom=1.1, turn=np.radians(5))
    images = np.stack([taken(picture), taken(picture, right=2.0, down=-1.5, zoom=1.06, degrees=3)]).astype(np.uint8)
    aligner = alignment.Aligner(images)
    placed = aligner.align(np.array([0]), np.array([1]), np.array([False]), near)
    assert placed.correlation[0] > 0.98
    turn = np.radians(3)
    right, down = 1.06 * (np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [-2.0, 1.5])
    np.testing.assert_allclose(placed.views[0], [right, down, 1.06, turn], atol=0.1)
    backwards = aligner.align(np.array([0]), np.array([0]), np.array([False]), near)
    assert backwards.correlation[0] == 1
    np.testing.assert_allclose(backwards.views[0], [0, 0, 1, 0], atol=1e-2)


def test_the_inverse_of_each_probe_is_near_another_one_so_that_a_pair_need_be_compared_one_way_only():
    corners = np.array([[-17.0, -17], [-17, 17], [17, -17], [17, 17]])

    def moved(view, points):
        cos, sin = view.zoom * np.cos(view.turn), view.zoom * np.sin(view.turn)
        return points @ np.array([[cos, sin], [-sin, cos]]) + [view.right, view.down]

    for probe in probes.PROBES:
        back = min(np.abs(moved(other, moved(probe, corners)) - corners).max() for other in probes.PROBES)
        assert back < 2.5  # pixels; half of the lattice's spacing and of the zooms' steps
