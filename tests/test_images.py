import contextlib
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fer import images


@settings(deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_a_grey_png_comes_back_pixel_for_pixel(image):
    assert np.array_equal(images.decode(images.encode_png(image)), image)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".pgm", ".webp"])
def test_usual_formats_decode_to_grey(suffix):
    grey = np.tile(np.linspace(0, 255, 32, dtype=np.uint8), (24, 1))
    decoded = images.decode(cv2.imencode(suffix, grey)[1].tobytes())
    assert decoded.shape == (24, 32)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - grey).max() < 24


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_with_or_without_alpha_becomes_grey(channels):
    colour = np.full((6, 7, channels), 255, np.uint8)
    colour[..., :3] = (200, 100, 50)  # BGR
    assert (
        images.decode(images.encode_png(colour)).tolist() == [[round(0.114 * 200 + 0.587 * 100 + 0.299 * 50)] * 7] * 6
    )


def test_sixteen_bits_become_eight():
    encoded = cv2.imencode(".png", np.full((4, 4), 0x8000, np.uint16))[1].tobytes()
    assert np.all(images.decode(encoded) == 128)


def test_an_image_is_turned_as_its_exif_says():
    upright = np.zeros((8, 16), np.uint8)
    jpeg = cv2.imencode(".jpg", upright)[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # one entry: orientation 6
    exif = b"Exif\0\0" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    assert images.decode(turned).shape == (16, 8)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"<html>not found</html>", "not an image"), (b"\xff\xd8\xff", "not an image")]
)
def test_bytes_that_are_no_image_are_refused_with_the_reason(data, reason):
    with pytest.raises(images.UndecodableImage, match=reason):
        images.decode(data)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(data):
    with contextlib.suppress(images.UndecodableImage):
        assert images.decode(data).ndim == 2


@pytest.mark.parametrize(("height", "width"), [(48, 48), (20, 90), (90, 20), (100, 100), (1, 1)])
def test_prepared_images_have_the_asked_size(height, width):
    prepared = images.prepare(np.full((50, 60), 7, np.uint8), height, width, 3, 0.0)
    assert prepared.shape == (height, width)
    assert prepared.dtype == np.uint8
    assert np.all(prepared == 7)


def test_shrinking_averages_areas():
    squares = np.kron(np.array([[0, 100], [200, 40]]), np.ones((4, 4))).astype(np.uint8)
    squares[0, 0] = 160  # one of sixteen pixels: interpolating between the middle ones would miss it
    assert images.prepare(squares, 2, 2, 0, 0.0).tolist() == [[10, 100], [200, 40]]


def test_an_image_of_the_asked_size_without_blur_is_not_touched():
    image = np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)
    assert np.array_equal(images.prepare(image, 9, 9, 0, 0.0), image)


def test_blur_spreads_a_point_evenly_and_keeps_its_sum():
    point = np.zeros((9, 9), np.uint8)
    point[4, 4] = 240
    blurred = images.prepare(point, 9, 9, 5, 1.0)
    assert np.array_equal(blurred, blurred.T)
    assert blurred[4, 4] == blurred.max() < 240
    assert abs(int(blurred.sum()) - 240) <= 12
    assert not blurred[:2].any()


def test_dimensions_beyond_the_limit_are_refused_before_decoding():
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    with pytest.raises(images.UndecodableImage, match="refused"):
        images.decode(b"\x89PNG\r\n\x1a\n" + body)


def test_the_limit_is_the_same_whatever_the_environment_says():
    script = "import os, fer; print(os.environ['OPENCV_IO_MAX_IMAGE_PIXELS'])"
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OPENCV_IO_MAX_IMAGE_PIXELS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(told.stdout) == 8192 * 8192
