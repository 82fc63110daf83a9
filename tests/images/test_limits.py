"""What a picture would cost is told from its header and its structure: before it is decoded, not after."""

import io

import cv2
import hostile_corpus as corpus
import numpy as np
import pytest
from PIL import Image

from fer import errors
from fer.images import decode, headers, limits
from fer.images.formats import jpeg_data
from fer.images.formats.header import UndecodableImage


def blank_jpeg(height=4096, width=4096, **options):
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width), 90, np.uint8)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def cut_and_closed(data, share):
    return data[: int(len(data) * share)] + b"\xff\xd9"


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 64}])
def test_a_large_jpeg_that_is_cut_and_closed_is_refused_without_decoding(options, monkeypatch):
    data = blank_jpeg(2048, 2048, **options)
    assert decode.decode(data).shape == (2048, 2048)
    monkeypatch.setattr(cv2, "imdecode", None)
    for share in (0.1, 0.5, 0.9) if "progressive" not in options else (0.05, 0.2):
        with pytest.raises(UndecodableImage, match="cut short"):
            decode.decode(cut_and_closed(data, share))


def test_after_a_whole_one_such_a_file_is_refused_too():
    data = blank_jpeg(2048, 2048)
    decode.decode(data)
    with pytest.raises(UndecodableImage, match="cut short"):
        decode.decode(cut_and_closed(data, 0.4))
    decode.decode(data)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 17), (40, 33), (64, 100)])
def test_a_whole_jpeg_always_has_enough(size, subsampling, progressive):
    for pixels in (np.zeros((*size, 3), np.uint8), np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("u1")):
        buffer = io.BytesIO()
        options = {"subsampling": subsampling, "progressive": progressive, "optimize": True}
        Image.fromarray(pixels).save(buffer, "JPEG", **options)
        assert jpeg_data.has_enough(buffer.getvalue())


def test_pictures_of_the_corpus_have_enough():
    whole = [case for case in corpus.IMAGES if case.suffix == ".jpg" and isinstance(case.outcome, corpus.Accepted)]
    assert whole
    assert all(jpeg_data.has_enough(case.make()) for case in whole)


def test_the_end_of_a_large_jpeg_is_checked_as_that_of_a_small_one():
    noise = np.random.default_rng(0).integers(0, 256, (2304, 2048)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=40)
    data = buffer.getvalue()
    decode.decode(data)
    with pytest.raises(UndecodableImage, match="cut short"):
        decode.decode(cut_and_closed(data, 0.9))


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("TIFF", {"compression": "tiff_adobe_deflate"})])
def test_few_bytes_for_many_pixels_are_refused_before_they_are_decoded(form, options):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((2200, 2200), np.uint8)).save(buffer, form, **options)
    with pytest.raises(UndecodableImage, match="too large for its bytes: over 250 pixels for each"):
        decode.decode(buffer.getvalue())


def test_a_large_jpeg_of_many_scans_is_refused():
    data = blank_jpeg(4096, 4096, progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(UndecodableImage, match="more scans than such have"):
        headers.read(data[:last] + data[last:-2] * 70 + b"\xff\xd9")


def test_each_limit_is_a_setting(limited):
    assert all(limit.description for limit in limits.current().described())
    limited(image_side_px=39)
    with pytest.raises(UndecodableImage, match="over 39 pixels a side"):
        decode.decode(corpus.png(corpus.grey(), 0))
    limited(image_side_px=70_000)
    with pytest.raises(errors.ConfigError, match="FER_LIMIT_IMAGE_SIDE_PX"):
        limits.current()
