"""The inputs that releases are tried on never change: what was recorded of them would be worth nothing."""

import hashlib

import numpy as np
import pytest

from fer.models import drawn_inputs


@pytest.mark.parametrize(
    ("size", "digest"), [((48, 48), "4d024aa8051bd655"), ((31, 50), "c63f545f9e2d3be2"), ((1, 1), "796163920a1e04d9")]
)
def test_drawn_inputs_are_what_they_were(size, digest):
    pixels = drawn_inputs.pixels(*size)
    assert pixels.shape == (drawn_inputs.N, *size, 1)
    assert pixels.dtype == np.uint8
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == digest


def test_none_is_even_and_no_two_are_alike():
    pixels = drawn_inputs.pixels(48, 48).reshape(drawn_inputs.N, -1)
    assert (pixels.std(axis=1) > 5).all()
    assert len(np.unique(pixels, axis=0)) == drawn_inputs.N
