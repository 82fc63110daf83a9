import numpy as np
import pytest
from smooth_images import smooth_image

from fer.images import prepare


@pytest.mark.parametrize(("height", "width"), [(48, 48), (20, 90), (90, 20), (100, 100), (1, 1)])
def test_prepared_images_have_the_asked_size(height, width):
    prepared = prepare.prepare(np.full((50, 60), 7, np.uint8), height, width, 3, 0.0)
    assert prepared.shape == (height, width)
    assert prepared.dtype == np.uint8
    assert np.all(prepared == 7)


def test_shrinking_averages_areas():
    squares = np.kron(np.array([[0, 100], [200, 40]]), np.ones((4, 4))).astype(np.uint8)
    squares[0, 0] = 160  # one of sixteen pixels: interpolating between the middle ones would miss it
    assert prepare.prepare(squares, 2, 2, 0, 0.0).tolist() == [[10, 100], [200, 40]]


def test_an_image_of_the_asked_size_without_blur_is_not_touched():
    image = np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)
    assert np.array_equal(prepare.prepare(image, 9, 9, 0, 0.0), image)


def test_blur_spreads_a_point_evenly_and_keeps_its_sum():
    point = np.zeros((9, 9), np.uint8)
    point[4, 4] = 240
    blurred = prepare.prepare(point, 9, 9, 5, 1.0)
    assert np.array_equal(blurred, blurred.T)
    assert blurred[4, 4] == blurred.max() < 240
    assert abs(int(blurred.sum()) - 240) <= 12
    assert not blurred[:2].any()


def test_equalised_grey_levels_are_about_as_frequent_whatever_the_exposure():
    face = smooth_image(10, 48, 48)
    for exposed in (face, face // 4 + 20, face // 3 + 150):
        flat = prepare.prepare(exposed, 48, 48, 0, 0.0, "equalise")
        assert np.abs(np.percentile(flat, [10, 50, 90]) - [25, 127, 230]).max() < 12
        assert np.all(np.diff(flat.ravel()[np.argsort(exposed, axis=None)].astype(int)) >= 0)


@pytest.mark.parametrize("side", [1, 5, 47, 48, 100, 224])
def test_limited_contrast_keeps_the_size_and_brings_out_what_is_faint(side):
    pale = np.clip(smooth_image(11, side, side) // 8 + 100, 0, 255).astype(np.uint8)
    before = pale.copy()
    clear = prepare.prepare(pale, side, side, 0, 0.0, "clahe")
    assert clear.shape == (side, side)
    assert clear.dtype == np.uint8
    assert side < 40 or clear.std() > 1.3 * pale.std()
    assert np.array_equal(prepare.prepare(pale, side, side, 0, 0.0, "clahe"), clear)
    assert np.array_equal(pale, before)


def test_limited_contrast_works_on_each_part_by_itself_and_leaves_noise_faint():
    halves = np.concatenate([smooth_image(12, 48, 24) // 4, smooth_image(13, 48, 24) // 4 + 190], axis=1)
    clear = prepare.prepare(halves, 48, 48, 0, 0.0, "clahe")
    whole = prepare.prepare(halves, 48, 48, 0, 0.0, "equalise")
    assert clear[:, :12].std() > halves[:, :12].std()
    noise = np.random.default_rng(14).integers(126, 130, (48, 48)).astype(np.uint8)
    assert (
        prepare.prepare(noise, 48, 48, 0, 0.0, "clahe").std()
        < 8
        < prepare.prepare(noise, 48, 48, 0, 0.0, "equalise").std()
    )
    assert not np.array_equal(clear, whole)


def test_contrast_comes_after_the_size_and_before_the_blur():
    face = smooth_image(15, 96, 96)
    small = prepare.prepare(face, 48, 48, 0, 0.0)
    for contrast in ("equalise", "clahe"):
        evened = prepare.prepare(small, 48, 48, 0, 0.0, contrast)
        assert np.array_equal(prepare.prepare(face, 48, 48, 3, 0.0, contrast), prepare.prepare(evened, 48, 48, 3, 0.0))
