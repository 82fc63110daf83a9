import concurrent.futures
import contextlib
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib

import cv2
import numpy as np
import peak_memory
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin
from smooth_images import smooth_image

from fer.images import decode, encode, headers
from fer.images.formats import header


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".pgm", ".webp"])
def test_usual_formats_decode_to_grey(suffix):
    grey = np.tile(np.linspace(0, 255, 32, dtype=np.uint8), (24, 1))
    decoded = decode.decode(cv2.imencode(suffix, grey)[1].tobytes())
    assert decoded.shape == (24, 32)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - grey).max() < 24


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_with_or_without_alpha_becomes_grey(channels):
    colour = np.full((6, 7, channels), 255, np.uint8)
    colour[..., :3] = (200, 100, 50)  # BGR
    assert decode.decode(encode.png(colour)).tolist() == [[round(0.114 * 200 + 0.587 * 100 + 0.299 * 50)] * 7] * 6


def test_sixteen_bits_become_eight():
    encoded = cv2.imencode(".png", np.full((4, 4), 0x8000, np.uint16))[1].tobytes()
    assert np.all(decode.decode(encoded) == 128)


def test_an_image_is_turned_as_its_exif_says():
    upright = np.zeros((8, 16), np.uint8)
    jpeg = cv2.imencode(".jpg", upright)[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # one entry: orientation 6
    exif = b"Exif\0\0" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    assert decode.decode(turned).shape == (16, 8)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"<html>not found</html>", "a web page"), (b"\xff\xd8\xff", "cut short")]
)
def test_bytes_that_are_no_image_are_refused_with_the_reason(data, reason):
    with pytest.raises(decode.UndecodableImage, match=reason):
        decode.decode(data)


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(data):
    with contextlib.suppress(decode.UndecodableImage):
        assert decode.decode(data).ndim == 2


def test_dimensions_beyond_the_limit_are_refused_before_decoding():
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    with pytest.raises(decode.UndecodableImage, match="too large"):
        decode.decode(b"\x89PNG\r\n\x1a\n" + body)


def test_the_limit_is_the_same_whatever_the_environment_says():
    script = "import os, fer; print(os.environ['OPENCV_IO_MAX_IMAGE_PIXELS'])"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OPENCV_IO_MAX_IMAGE_PIXELS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) == 8192 * 8192


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
    data = _by_pillow(smooth_image(channels=channels), form, mode, **options)
    assert decode.decode(data).shape == (24, 20)
    for length in range(len(data)):
        with pytest.raises(decode.UndecodableImage):
            decode.decode(data[:length])


@settings(max_examples=3 * settings.default.max_examples)
@given(st.data())
def test_a_damaged_image_is_decoded_or_refused(data):
    form = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]))
    mode = data.draw(st.sampled_from(["L", "RGB", "1"])) if form != "WEBP" else "RGB"
    damaged = bytearray(_by_pillow(smooth_image(channels=3), form, mode))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(decode.UndecodableImage):
        decoded = decode.decode_with_format(bytes(damaged))
        assert decoded.pixels.dtype == np.uint8
        assert decoded.pixels.ndim == 2
        assert decoded.pixels.size


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_ordinary_images_are_what_opencv_makes_of_them(suffix, channels):
    suffix = ".ppm" if suffix == ".pgm" and channels == 3 else suffix
    for seed in range(20):
        data = cv2.imencode(suffix, smooth_image(seed, 30 + seed, 49, channels))[1].tobytes()
        assert np.array_equal(decode.decode(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE))


def test_a_jpeg_that_ends_in_medium_grey_is_not_taken_for_one_cut_short():
    grey = smooth_image(1, 48, 48)
    grey[-16:, -16:] = 128
    assert np.all(decode.decode(cv2.imencode(".jpg", grey)[1].tobytes())[-8:, -8:] == 128)
    assert np.all(decode.decode(cv2.imencode(".jpg", np.full((9, 13), 128, np.uint8))[1].tobytes()) == 128)


@pytest.mark.parametrize(
    ("channels", "mode", "options"), [(1, None, {}), (3, None, {}), (3, None, {"keep_rgb": True}), (3, "CMYK", {})]
)
def test_a_progressive_jpeg_cut_short_and_closed_again_is_refused(channels, mode, options):
    data = _by_pillow(smooth_image(7, 96, 96, channels), "JPEG", mode, progressive=True, quality=75, **options)
    whole = decode.decode(data)
    starts = range(data.index(b"\xff\xda") + 10, len(data) - 2)
    accepted = []
    for length in starts:
        with contextlib.suppress(decode.UndecodableImage):
            accepted.append(decode.decode(data[:length] + b"\xff\xd9"))
    assert len(accepted) < 0.01 * len(starts)
    assert all((pixels != whole).mean() < 0.03 for pixels in accepted)


def test_what_follows_a_jpeg_cut_short_and_closed_again_does_not_hide_it():
    whole = cv2.imencode(".jpg", smooth_image(8, 48, 48))[1].tobytes()
    for data in (whole, _by_pillow(smooth_image(8, 48, 48), "JPEG", progressive=True)):
        cut = data[: len(data) * 3 // 5] + b"\xff\xd9"
        for more in (b"", b"\xff\xd9", whole):
            with pytest.raises(decode.UndecodableImage, match=r"cut short|can't be decoded"):
                decode.decode(cut + more)
            decode.decode(data + more)


def test_a_whole_image_is_read_without_a_word(capfd):
    for suffix in (".jpg", ".png"):
        decode.decode_with_format(cv2.imencode(suffix, smooth_image(2))[1].tobytes())
    decode.decode_with_format(_by_pillow(smooth_image(2), "JPEG", progressive=True))
    assert capfd.readouterr() == ("", "")


def _png_with(chunks: bytes) -> bytes:
    data = encode.png(smooth_image(9))
    return data[:33] + chunks + data[33:]


def test_many_texts_in_a_png_take_no_memory_and_too_many_chunks_are_refused(monkeypatch):
    text = b"\0\0\0\0tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
    other = b"\0\0\0\0teST" + struct.pack(">I", zlib.crc32(b"teST"))
    assert headers.read(_png_with(text * 3 + other + text)).skipped == ((33, 69), (81, 93))
    assert np.array_equal(decode.decode(_png_with(text * 3 + other + text)), smooth_image(9))
    monkeypatch.setattr(header, "MAX_CHUNKS", 50)
    for kind in (text, other):
        decode.decode(_png_with(kind * 40))
        with pytest.raises(decode.UndecodableImage, match="a PNG of more than 50 chunks"):
            decode.decode(_png_with(kind * 60))


def test_a_webp_of_too_many_chunks_is_refused(monkeypatch):
    monkeypatch.setattr(header, "MAX_CHUNKS", 50)
    data = _by_pillow(smooth_image(channels=3), "WEBP")
    more = data[12:] + b"teST\0\0\0\0" * 50
    assert decode.decode(data).shape == (24, 20)
    with pytest.raises(decode.UndecodableImage, match="a WebP of more than 50 chunks"):
        decode.decode(b"RIFF" + struct.pack("<I", 4 + len(more)) + b"WEBP" + more)


def test_the_pages_of_a_tiff_are_not_walked_to_their_end(monkeypatch):
    read = []
    load = TiffImagePlugin.ImageFileDirectory_v2.load
    monkeypatch.setattr(
        TiffImagePlugin.ImageFileDirectory_v2, "load", lambda self, file: read.append(1) or load(self, file)
    )
    buffer = io.BytesIO()
    pages = [Image.fromarray(smooth_image(n)) for n in range(30)]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    read.clear()
    with pytest.raises(decode.UndecodableImage, match="several pages"):
        decode.decode(buffer.getvalue())
    assert len(read) < 10


def test_threads_leave_the_warnings_of_the_process_as_they_were():
    """Those of a Dask worker that read what Pillow decodes."""
    buffer = io.BytesIO()
    Image.fromarray(smooth_image(1, 64, 64)).save(buffer, "TIFF")
    before, switched = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(decode.decode_with_format, [buffer.getvalue()] * 800))
        assert list(warnings.filters) == before
    finally:
        sys.setswitchinterval(switched)
        warnings.filters[:] = before


def test_reading_costs_no_memory_beyond_the_picture_for_what_is_too_large():
    header = struct.pack(">IIBBBBB", 8_193, 8_193, 16, 6, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with peak_memory.risen() as rise, pytest.raises(decode.UndecodableImage, match="too large"):
        decode.decode_with_format(b"\x89PNG\r\n\x1a\n" + chunk)
    assert rise[0] < 16 << 20  # the picture would take 512 MiB
