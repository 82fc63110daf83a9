"""Which images are known again as such that are to be forgotten."""

import hashlib

import numpy as np
import photographs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer.ingest.tombstones import matching, records

LIKENESS = 0.92


@pytest.fixture(scope="module")
def pictures():
    return photographs.photographs(5)


def thumbnail(picture, **framing) -> np.ndarray:
    """(2304,) uint8."""
    return np.clip(photographs.taken(picture, **framing), 0, 255).astype(np.uint8).reshape(-1)


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def matcher(*thumbnails: np.ndarray) -> matching.Matcher:
    return matching.Matcher(
        [digest(pixels) for pixels in thumbnails], records.features_of(np.array(thumbnails)), LIKENESS
    )


def matches(known: matching.Matcher, *thumbnails: np.ndarray) -> list[bool]:
    return known.matches([digest(one) for one in thumbnails], [one.tobytes() for one in thumbnails]).tolist()


@settings(max_examples=settings.default.max_examples // 2)
@given(
    st.integers(0, photographs.N - 1),
    st.floats(0.7, 1.3),
    st.integers(-20, 20),
    st.floats(0, 6),
    st.booleans(),
)
def test_a_picture_in_other_light_with_noise_or_mirrored_is_known_again(
    pictures, at, contrast, light, noise, is_mirrored
):
    pixels = thumbnail(pictures[at])
    square = pixels.reshape(48, 48)[:, ::-1] if is_mirrored else pixels.reshape(48, 48)
    noisy = (
        (square.astype(float) - 128) * contrast + 128 + light + noise * np.random.default_rng(at).normal(size=(48, 48))
    )
    assert matches(matcher(pixels), np.clip(noisy, 0, 255).astype(np.uint8).reshape(-1)) == [True]


@settings(max_examples=settings.default.max_examples // 4)
@given(st.sets(st.integers(0, photographs.N - 1), min_size=1, max_size=5))
def test_exactly_the_forgotten_ones_among_many_are_known_again(pictures, forgotten):
    thumbnails = [thumbnail(picture) for picture in pictures]
    known = matcher(*(thumbnails[at] for at in forgotten))
    assert set(np.flatnonzero(matches(known, *thumbnails)).tolist()) == forgotten


def test_moved_and_zoomed_framings_are_known_again(pictures):
    framings = [{"right": 5.0}, {"down": -4.0}, {"zoom": 1.1}, {"degrees": 5.0}, {"right": 3.0, "zoom": 0.92}]
    found = [
        matches(matcher(thumbnail(picture)), *(thumbnail(picture, **framing) for framing in framings))
        for picture in pictures[:20]
    ]
    assert np.mean(found) > 0.9


def test_pixels_are_known_by_their_digest_alone_where_there_is_no_contrast():
    black, grey = np.zeros(2304, np.uint8), np.full(2304, 7, np.uint8)
    assert records.features_of(np.array([black])) == []
    assert matches(matcher(black), black, grey) == [True, False]


def test_what_was_not_decoded_is_not_known():
    assert matcher(np.arange(2304, dtype=np.uint8)).matches([None], [None]).tolist() == [False]
