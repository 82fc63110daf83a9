import concurrent.futures
import contextlib
import dataclasses
import io
import math
import os
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, TiffImagePlugin

from fer.images import headers, images


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
    ("data", "reason"), [(b"", "empty"), (b"<html>not found</html>", "a web page"), (b"\xff\xd8\xff", "cut short")]
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


def test_equalised_grey_levels_are_about_as_frequent_whatever_the_exposure():
    face = _face(10, 48, 48)
    for exposed in (face, face // 4 + 20, face // 3 + 150):
        flat = images.prepare(exposed, 48, 48, 0, 0.0, "equalise")
        assert np.abs(np.percentile(flat, [10, 50, 90]) - [25, 127, 230]).max() < 12
        assert np.all(np.diff(flat.ravel()[np.argsort(exposed, axis=None)].astype(int)) >= 0)


@pytest.mark.parametrize("side", [1, 5, 47, 48, 100, 224])
def test_limited_contrast_keeps_the_size_and_brings_out_what_is_faint(side):
    pale = np.clip(_face(11, side, side) // 8 + 100, 0, 255).astype(np.uint8)
    before = pale.copy()
    clear = images.prepare(pale, side, side, 0, 0.0, "clahe")
    assert clear.shape == (side, side)
    assert clear.dtype == np.uint8
    assert side < 40 or clear.std() > 1.3 * pale.std()
    assert np.array_equal(images.prepare(pale, side, side, 0, 0.0, "clahe"), clear)
    assert np.array_equal(pale, before)


def test_limited_contrast_works_on_each_part_by_itself_and_leaves_noise_faint():
    halves = np.concatenate([_face(12, 48, 24) // 4, _face(13, 48, 24) // 4 + 190], axis=1)
    clear = images.prepare(halves, 48, 48, 0, 0.0, "clahe")
    whole = images.prepare(halves, 48, 48, 0, 0.0, "equalise")
    assert clear[:, :12].std() > halves[:, :12].std()
    noise = np.random.default_rng(14).integers(126, 130, (48, 48)).astype(np.uint8)
    assert (
        images.prepare(noise, 48, 48, 0, 0.0, "clahe").std()
        < 8
        < images.prepare(noise, 48, 48, 0, 0.0, "equalise").std()
    )
    assert not np.array_equal(clear, whole)


def test_contrast_comes_after_the_size_and_before_the_blur():
    face = _face(15, 96, 96)
    small = images.prepare(face, 48, 48, 0, 0.0)
    for contrast in ("equalise", "clahe"):
        evened = images.prepare(small, 48, 48, 0, 0.0, contrast)
        assert np.array_equal(images.prepare(face, 48, 48, 3, 0.0, contrast), images.prepare(evened, 48, 48, 3, 0.0))


def test_dimensions_beyond_the_limit_are_refused_before_decoding():
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    with pytest.raises(images.UndecodableImage, match="too large"):
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


def _face(seed: int = 0, height: int = 24, width: int = 20, channels: int = 1) -> np.ndarray:
    shape = (6, 5) if channels == 1 else (6, 5, channels)
    coarse = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _by_pillow(pixels: np.ndarray, form: str, mode: str | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("JPEG", None, {}),
        ("JPEG", None, {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("PNG", None, {}),
        ("PNG", "P", {}),
        ("PNG", "RGBA", {}),
        ("GIF", None, {}),
        ("BMP", None, {}),
        ("BMP", "RGBA", {}),
        ("WEBP", None, {}),
        ("WEBP", None, {"lossless": True}),
        ("WEBP", "RGBA", {}),
        ("PPM", None, {}),
        ("PPM", "1", {}),
        ("TIFF", None, {}),
        ("TIFF", None, {"compression": "tiff_lzw"}),
        ("TIFF", None, {"compression": "tiff_adobe_deflate"}),
        ("TIFF", None, {"compression": "packbits"}),
        ("TIFF", "1", {"compression": "group4"}),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_cut_anywhere_is_refused(form, mode, options, channels):
    data = _by_pillow(_face(channels=channels), form, mode, **options)
    assert images.decode(data).shape == (24, 20)
    for length in range(len(data)):
        with pytest.raises(images.UndecodableImage):
            images.decode(data[:length])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_image_is_decoded_or_refused(data):
    form = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]))
    mode = data.draw(st.sampled_from(["L", "RGB", "1"])) if form != "WEBP" else "RGB"
    damaged = bytearray(_by_pillow(_face(channels=3), form, mode))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(images.UndecodableImage):
        found = images.read(bytes(damaged))
        assert found.pixels.dtype == np.uint8
        assert found.pixels.ndim == 2
        assert found.pixels.size


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_ordinary_images_are_what_opencv_makes_of_them(suffix, channels):
    suffix = ".ppm" if suffix == ".pgm" and channels == 3 else suffix
    for seed in range(20):
        data = cv2.imencode(suffix, _face(seed, 30 + seed, 49, channels))[1].tobytes()
        assert np.array_equal(images.decode(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE))


def test_a_jpeg_that_ends_in_medium_grey_is_not_taken_for_one_cut_short():
    grey = _face(1, 48, 48)
    grey[-16:, -16:] = 128
    assert np.all(images.decode(cv2.imencode(".jpg", grey)[1].tobytes())[-8:, -8:] == 128)
    assert np.all(images.decode(cv2.imencode(".jpg", np.full((9, 13), 128, np.uint8))[1].tobytes()) == 128)


@pytest.mark.parametrize(
    ("channels", "mode", "options"), [(1, None, {}), (3, None, {}), (3, None, {"keep_rgb": True}), (3, "CMYK", {})]
)
def test_a_progressive_jpeg_cut_short_and_closed_again_is_refused(channels, mode, options):
    data = _by_pillow(_face(7, 96, 96, channels), "JPEG", mode, progressive=True, quality=75, **options)
    whole = images.decode(data)
    starts = range(data.index(b"\xff\xda") + 10, len(data) - 2)
    accepted = []
    for length in starts:
        with contextlib.suppress(images.UndecodableImage):
            accepted.append(images.decode(data[:length] + b"\xff\xd9"))
    assert len(accepted) < 0.01 * len(starts)
    assert all((pixels != whole).mean() < 0.03 for pixels in accepted)


def test_what_follows_a_jpeg_cut_short_and_closed_again_does_not_hide_it():
    whole = cv2.imencode(".jpg", _face(8, 48, 48))[1].tobytes()
    for data in (whole, _by_pillow(_face(8, 48, 48), "JPEG", progressive=True)):
        cut = data[: len(data) * 3 // 5] + b"\xff\xd9"
        for more in (b"", b"\xff\xd9", whole):
            with pytest.raises(images.UndecodableImage, match=r"cut short|can't be decoded"):
                images.decode(cut + more)
            images.decode(data + more)


def test_a_whole_image_is_read_without_a_word(capfd):
    for suffix in (".jpg", ".png"):
        images.read(cv2.imencode(suffix, _face(2))[1].tobytes())
    images.read(_by_pillow(_face(2), "JPEG", progressive=True))
    assert capfd.readouterr() == ("", "")


def _png_with(chunks: bytes) -> bytes:
    data = images.encode_png(_face(9))
    return data[:33] + chunks + data[33:]


def test_many_texts_in_a_png_take_no_memory_and_too_many_chunks_are_refused(monkeypatch):
    text = b"\0\0\0\0tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
    other = b"\0\0\0\0teST" + struct.pack(">I", zlib.crc32(b"teST"))
    assert headers.read(_png_with(text * 3 + other + text)).skipped == ((33, 69), (81, 93))
    assert np.array_equal(images.decode(_png_with(text * 3 + other + text)), _face(9))
    monkeypatch.setattr(headers, "MAX_CHUNKS", 50)
    for kind in (text, other):
        images.decode(_png_with(kind * 40))
        with pytest.raises(images.UndecodableImage, match="a PNG of more than 50 chunks"):
            images.decode(_png_with(kind * 60))


def test_a_webp_of_too_many_chunks_is_refused(monkeypatch):
    monkeypatch.setattr(headers, "MAX_CHUNKS", 50)
    data = _by_pillow(_face(channels=3), "WEBP")
    more = data[12:] + b"teST\0\0\0\0" * 50
    assert images.decode(data).shape == (24, 20)
    with pytest.raises(images.UndecodableImage, match="a WebP of more than 50 chunks"):
        images.decode(b"RIFF" + struct.pack("<I", 4 + len(more)) + b"WEBP" + more)


def test_the_pages_of_a_tiff_are_not_walked_to_their_end(monkeypatch):
    read = []
    load = TiffImagePlugin.ImageFileDirectory_v2.load
    monkeypatch.setattr(
        TiffImagePlugin.ImageFileDirectory_v2, "load", lambda self, file: read.append(1) or load(self, file)
    )
    buffer = io.BytesIO()
    pages = [Image.fromarray(_face(n)) for n in range(30)]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    read.clear()
    with pytest.raises(images.UndecodableImage, match="several pages"):
        images.decode(buffer.getvalue())
    assert len(read) < 10


@settings(deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=60)))
def test_properties_are_those_of_the_pixels(pixels):
    found = images.properties(pixels)
    assert found.mean == pytest.approx(pixels.mean())
    assert found.std == pytest.approx(pixels.std(), abs=1e-4)
    assert found.p05 == np.percentile(pixels, 5, method="inverted_cdf")
    assert found.p99 == np.percentile(pixels, 99, method="inverted_cdf")
    shares = np.unique(pixels, return_counts=True)[1] / pixels.size
    assert found.entropy == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-9)
    assert all(math.isfinite(each) for each in dataclasses.astuple(found))
    assert found == images.properties(pixels, images.thumbnail(pixels))


def test_blur_takes_sharpness_away_and_contrast_does_not():
    sharp = np.random.default_rng(5).integers(60, 190, (48, 48)).astype(np.uint8)
    blurred = cv2.GaussianBlur(sharp, (9, 9), 3.0)
    pale = (sharp // 3 + 80).astype(np.uint8)
    assert images.properties(blurred).sharpness < images.properties(sharp).sharpness / 20
    assert images.properties(pale).sharpness == pytest.approx(images.properties(sharp).sharpness, rel=0.02)
    larger = cv2.resize(sharp, (192, 192), interpolation=cv2.INTER_NEAREST)
    assert images.properties(larger).sharpness == pytest.approx(images.properties(sharp).sharpness)


def test_a_blank_image_has_no_sharpness_and_no_entropy():
    found = images.properties(np.full((48, 48), 200, np.uint8))
    assert found == images.Properties(mean=200, std=0, p05=200, p99=200, entropy=0, sharpness=0)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (1, 1), (96, 96), (20, 200), (200, 20), (3, 8192)])
def test_a_thumbnail_is_square(height, width):
    pixels = np.full((height, width), 9, np.uint8)
    small = images.thumbnail(pixels)
    assert small.shape == (48, 48)
    assert small.dtype == np.uint8
    assert np.all(small == 9)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)), st.booleans())
def test_sums_are_exact_whatever_the_shape(pixels, is_turned):
    pixels = pixels.T[::-1] if is_turned and pixels.ndim else pixels
    values = pixels.ravel().tolist()
    assert images.sums(pixels) == (sum(values), sum(value**2 for value in values))


def test_sums_of_many_bright_pixels_are_exact():
    n = (1 << 24) + 3
    assert images.sums(np.full(n, 255, np.uint8)) == (255 * n, 255**2 * n)


def test_sums_are_exact_however_many_pixels_are_summed_at_once(monkeypatch):
    monkeypatch.setattr(images, "_SUMMED", 1_000)
    pixels = np.random.default_rng(8).integers(0, 256, (7, 31, 29)).astype(np.uint8)
    values = pixels.ravel().tolist()
    assert images.sums(pixels) == (sum(values), sum(value**2 for value in values))


def test_threads_leave_the_warnings_of_the_process_as_they_were():
    """Those of a Dask worker that read what Pillow decodes."""
    buffer = io.BytesIO()
    Image.fromarray(_face(1, 64, 64)).save(buffer, "TIFF")
    before, switched = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(images.read, [buffer.getvalue()] * 800))
        assert list(warnings.filters) == before
    finally:
        sys.setswitchinterval(switched)
        warnings.filters[:] = before


def test_a_thumbnail_averages_what_it_squeezes_along_each_axis():
    stripes = np.tile(np.array([0, 100], np.uint8), (48, 48))  # (48, 96)
    assert np.all(images.thumbnail(stripes) == 50)
    assert np.all(images.thumbnail(stripes[:24]) == 50)
    assert np.array_equal(images.thumbnail(_face(6, 48, 48)), _face(6, 48, 48))


def test_reading_costs_no_memory_beyond_the_picture_for_what_is_too_large():
    header = struct.pack(">IIBBBBB", 8_193, 8_193, 16, 6, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    tracemalloc.start()
    try:
        with pytest.raises(images.UndecodableImage, match="too large"):
            images.read(b"\x89PNG\r\n\x1a\n" + chunk)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
