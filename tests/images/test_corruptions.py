import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.images import corruptions
from fer.ingest.demo import faces

IDS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(4, 48, 48) uint8 drawn faces."""
    draw = np.random.default_rng(0)
    return np.stack([faces.draw(label, draw) for label in ("happy", "sad", "angry", "fear")])


@pytest.mark.parametrize("kind", corruptions.KINDS)
def test_a_corruption_keeps_shape_and_type_and_gets_worse_with_severity(kind, pixels):
    pixels = np.tile(pixels, (10, 1, 1))
    ids = [str(row) for row in range(len(pixels))]
    before = pixels.copy()
    distances = []
    for severity in corruptions.SEVERITIES:
        corrupted = corruptions.corrupt(pixels, ids, kind, severity)
        assert (corrupted.shape, corrupted.dtype) == (pixels.shape, np.uint8)
        distances.append(np.abs(corrupted.astype(float) - pixels).mean())
    assert distances[0] > 0
    assert all(less < more for less, more in itertools.pairwise(distances))
    assert distances[-1] > 1.5 * distances[0]
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("kind", corruptions.KINDS)
def test_a_corruption_depends_on_the_image_alone_whatever_is_beside_it(kind, pixels):
    together = corruptions.corrupt(pixels, IDS, kind, 4)
    np.testing.assert_array_equal(corruptions.corrupt(pixels[::-1], IDS[::-1], kind, 4)[::-1], together)
    np.testing.assert_array_equal(corruptions.corrupt(pixels[2:3], IDS[2:3], kind, 4), together[2:3])


DRAWN = ("gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "occlusion")


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_drawn_differs_by_image_severity_and_seed(kind, pixels):
    same = np.repeat(pixels[:1], 2, axis=0)
    one, other = corruptions.corrupt(same, ["a", "b"], kind, 3)
    assert not np.array_equal(one, other)
    assert not np.array_equal(corruptions.corrupt(same[:1], ["a"], kind, 3, seed=1)[0], one)


def test_the_same_images_are_made_worse_in_the_same_way_everywhere():
    """Grey levels of a generated image: the product of this code on another machine or in another process."""
    rows, columns = np.mgrid[:48, :48]
    image = ((rows * 5) ^ (columns * 3)).astype(np.uint8)[np.newaxis]
    sums = {kind: int(corruptions.corrupt(image, ["id"], kind, 3).astype(int).sum()) for kind in SUMS}
    assert sums == SUMS


SUMS = {
    "gaussian_noise": 282_201,
    "shot_noise": 280_702,
    "impulse_noise": 281_736,
    "darkness": 98_989,
    "occlusion": 291_606,
}


def test_lengths_are_of_the_image_so_that_a_severity_means_the_same_at_every_size(pixels):
    large = np.stack([cv2.resize(image, (144, 144), interpolation=cv2.INTER_CUBIC) for image in pixels])
    for kind in ("defocus_blur", "pixelation", "low_resolution", "rotation"):
        at_48 = corruptions.corrupt(pixels, IDS, kind, 4)
        at_144 = corruptions.corrupt(large, IDS, kind, 4)
        small = np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA) for image in at_144])
        change = np.abs(at_48.astype(float) - pixels).mean()
        assert np.abs(small.astype(float) - at_48).mean() < 0.5 * change


@given(
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    kind=st.sampled_from(corruptions.KINDS),
    severity=st.sampled_from(corruptions.SEVERITIES),
    level=st.integers(0, 255),
)
def test_no_size_and_no_flat_image_is_too_much(height, width, kind, severity, level):
    flat = np.full((1, height, width), level, np.uint8)
    assert corruptions.corrupt(flat, ["x"], kind, severity).shape == flat.shape


def test_none_of_no_images():
    nothing = np.empty((0, 48, 48), np.uint8)
    assert corruptions.corrupt(nothing, [], "jpeg", 1).shape == nothing.shape
    assert corruptions.perturb(nothing, "smaller").shape == nothing.shape


def test_a_nuisance_moves_the_face_as_it_says(pixels):
    np.testing.assert_array_equal(corruptions.perturb(pixels, "mirror"), pixels[:, :, ::-1])
    np.testing.assert_array_equal(corruptions.perturb(pixels, "shift_right")[:, :, 2:], pixels[:, :, :-2])
    np.testing.assert_array_equal(corruptions.perturb(pixels, "shift_left")[:, :, :-2], pixels[:, :, 2:])
    np.testing.assert_array_equal(corruptions.perturb(pixels, "shift_down")[:, 2:], pixels[:, :-2])
    np.testing.assert_array_equal(corruptions.perturb(pixels, "shift_up")[:, :-2], pixels[:, 2:])
    dot = np.zeros((1, 48, 48), np.uint8)
    dot[0, 24, 44] = 255  # 20.5 px right of the centre
    for nuisance, place in {"larger": 45.0, "smaller": 43.0}.items():
        moved = corruptions.perturb(dot, nuisance)[0].astype(float)
        assert moved.sum(axis=0) @ np.arange(48) / moved.sum() == pytest.approx(place, abs=0.15)
