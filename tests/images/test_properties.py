import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from smooth_images import smooth_image

from fer.images import properties


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=60)))
def test_properties_are_those_of_the_pixels(pixels):
    measured = properties.measure(pixels)
    assert measured.mean == pytest.approx(pixels.mean())
    assert measured.std == pytest.approx(pixels.std(), abs=1e-4)
    assert measured.p05 == np.percentile(pixels, 5, method="inverted_cdf")
    assert measured.p99 == np.percentile(pixels, 99, method="inverted_cdf")
    shares = np.unique(pixels, return_counts=True)[1] / pixels.size
    assert measured.entropy == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-9)
    assert all(math.isfinite(value) for value in dataclasses.astuple(measured))
    assert measured == properties.measure(pixels, properties.thumbnail(pixels))


def test_blur_takes_sharpness_away_and_contrast_does_not():
    sharp = np.random.default_rng(5).integers(60, 190, (48, 48)).astype(np.uint8)
    blurred = cv2.GaussianBlur(sharp, (9, 9), 3.0)
    pale = (sharp // 3 + 80).astype(np.uint8)
    assert properties.measure(blurred).sharpness < properties.measure(sharp).sharpness / 20
    assert properties.measure(pale).sharpness == pytest.approx(properties.measure(sharp).sharpness, rel=0.02)
    larger = cv2.resize(sharp, (192, 192), interpolation=cv2.INTER_NEAREST)
    assert properties.measure(larger).sharpness == pytest.approx(properties.measure(sharp).sharpness)


def test_a_blank_image_has_no_sharpness_and_no_entropy():
    measured = properties.measure(np.full((48, 48), 200, np.uint8))
    assert measured == properties.Properties(mean=200, std=0, p05=200, p99=200, entropy=0, sharpness=0)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (1, 1), (96, 96), (20, 200), (200, 20), (3, 8192)])
def test_a_thumbnail_is_square(height, width):
    pixels = np.full((height, width), 9, np.uint8)
    small = properties.thumbnail(pixels)
    assert small.shape == (48, 48)
    assert small.dtype == np.uint8
    assert np.all(small == 9)


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)), st.booleans())
def test_sums_are_exact_whatever_the_shape(pixels, is_turned):
    pixels = pixels.T[::-1] if is_turned and pixels.ndim else pixels
    values = pixels.ravel().tolist()
    assert properties.sums(pixels) == (sum(values), sum(value**2 for value in values))


def test_sums_of_many_bright_pixels_are_exact():
    n = (1 << 24) + 3
    assert properties.sums(np.full(n, 255, np.uint8)) == (255 * n, 255**2 * n)


def test_sums_are_exact_however_many_pixels_are_summed_at_once(monkeypatch):
    monkeypatch.setattr(properties, "_SUMMED", 1_000)
    pixels = np.random.default_rng(8).integers(0, 256, (7, 31, 29)).astype(np.uint8)
    values = pixels.ravel().tolist()
    assert properties.sums(pixels) == (sum(values), sum(value**2 for value in values))


def test_a_thumbnail_averages_what_it_squeezes_along_each_axis():
    stripes = np.tile(np.array([0, 100], np.uint8), (48, 48))  # (48, 96)
    assert np.all(properties.thumbnail(stripes) == 50)
    assert np.all(properties.thumbnail(stripes[:24]) == 50)
    assert np.array_equal(properties.thumbnail(smooth_image(6, 48, 48)), smooth_image(6, 48, 48))
