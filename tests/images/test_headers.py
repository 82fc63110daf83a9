"""What is remembered of one file never changes what is found in another."""

import contextlib
import io
import struct
import zlib

import hostile_corpus as corpus
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fer.images import headers
from fer.images.formats import jpeg
from fer.images.formats.header import Header, UndecodableImage


def encoded(form, side=24, **options):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(side).integers(0, 256, (side, side)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


USUAL = {"JPEG": encoded("JPEG"), "PNG": encoded("PNG")}
OTHERS = {form: encoded(form, 9) for form in USUAL}


def outcome(data, after):
    """The header of `data` read after another file, or why it is refused."""
    headers.read(after)
    try:
        return headers.read(data)
    except UndecodableImage as error:
        return str(error)


@pytest.mark.parametrize("form", USUAL)
def test_a_file_says_the_same_after_one_that_begins_alike_as_after_another(form):
    known = Header(form, 24, 24)
    assert outcome(USUAL[form], USUAL[form]) == outcome(USUAL[form], OTHERS[form]) == known
    assert outcome(OTHERS[form], USUAL[form]) == Header(form, 9, 9)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in corpus.IMAGES])
def test_hostile_bytes_are_found_out_after_their_whole_likes_too(case):
    data = case.data
    with contextlib.suppress(UndecodableImage):
        headers.read(data)
    expected = outcome(data, OTHERS["JPEG"])
    for likes in (corpus.jpeg(), corpus.jpeg(corpus.colour()), corpus.png(corpus.grey(), 0)):
        assert outcome(data, likes) == expected


@settings(max_examples=3 * settings.default.max_examples)
@given(st.data())
def test_a_damaged_or_cut_file_says_the_same_after_its_whole_as_after_another(data):
    form = data.draw(st.sampled_from(sorted(USUAL)))
    damaged = bytearray(USUAL[form])
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.sampled_from([0, 0xC4, 0xD9, 0xDA, 0xFF]))
    damaged = bytes(damaged[: data.draw(st.integers(0, len(damaged)))]) + data.draw(
        st.sampled_from([b"", b"\xff\xd9", USUAL["JPEG"], USUAL["PNG"]])
    )
    assert outcome(damaged, USUAL[form]) == outcome(damaged, OTHERS[form])


def test_a_jpeg_of_several_scans_is_walked_to_its_end_after_one_that_begins_alike():
    whole = USUAL["JPEG"]
    scan = whole[whole.index(b"\xff\xda") : -2]
    many = whole[:-2] + scan * jpeg.MAX_SCANS + b"\xff\xd9"
    assert "scans" in outcome(many, whole)
    assert jpeg.end(whole[:-2] + scan + b"\xff\xd9") == len(whole) - 2 + len(scan)


def test_a_png_whose_second_chunk_hides_an_animation_is_refused_after_one_that_begins_alike():
    content = struct.pack(">II", 2, 0)
    frames = struct.pack(">I4s", 8, b"acTL") + content + struct.pack(">I", zlib.crc32(b"acTL" + content))
    whole = USUAL["PNG"]
    assert outcome(whole[:-12] + frames + whole[-12:], whole) == "an animation, not one picture"
