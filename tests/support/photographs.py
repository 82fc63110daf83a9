"""Pictures with the spectrum of photographs, and thumbnails of them."""

import functools

import numpy as np
from scipy import fft, ndimage

from fer.images import framings

SIDE = framings.SIDE
N = 60


@functools.lru_cache(maxsize=8)
def photographs(seed, n=N, side=2 * SIDE):
    """Unrelated random pictures (n, side, side) with a photograph's spectrum: amplitudes fall with the frequency."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(fft.fftfreq(side), fft.fftfreq(side)))
    frequency[0, 0] = np.inf
    waves = draw.normal(size=(n, side, side)) + 1j * draw.normal(size=(n, side, side))
    pictures = fft.ifft2(waves / frequency**1.3).real
    pictures -= pictures.mean(axis=(1, 2), keepdims=True)
    pictures = np.clip(128 + 50 * pictures / pictures.std(axis=(1, 2), keepdims=True), 0, 255)
    pictures.setflags(write=False)  # they are the same for all tests
    return pictures


def taken(picture, *, right=0.0, down=0.0, zoom=1.0, degrees=0.0):
    """The middle of the picture as a thumbnail (SIDE, SIDE); `right` and `down` in the picture's pixels; a zoom above 1
    shows less."""
    turn = np.radians(degrees)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / zoom
    middle = (picture.shape[0] - 1) / 2
    offset = middle + np.array([down, right]) - matrix @ np.full(2, (SIDE - 1) / 2)
    return np.rint(ndimage.affine_transform(picture, matrix, offset, (SIDE, SIDE), order=1, mode="nearest"))
