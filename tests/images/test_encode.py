import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as arrays
from smooth_images import smooth_image

from fer.images import decode, encode


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_a_grey_png_comes_back_pixel_for_pixel(image):
    assert np.array_equal(decode.decode(encode.png(image)), image)


def test_an_image_survives_jpeg_the_better_the_higher_its_quality():
    image = smooth_image(3, 48, 48)
    losses = [
        np.abs(decode.decode(encode.jpeg(image, quality)).astype(float) - image).mean() for quality in (20, 70, 100)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1 < losses[0]
