"""Inputs that show no one, for trying a model: drawn from nothing but their size, the same everywhere and for good."""

import hashlib

import numpy as np

N = 16


def pixels(height: int, width: int) -> np.ndarray:
    """(16, height, width, 1) uint8: ramps, rings and stripes, and noise of four grains.

    None is even: a model may divide by an image's own spread.
    """
    y, x = np.mgrid[0:height, 0:width]
    across, down = x / max(1, width - 1), y / max(1, height - 1)  # 0 to 1
    radius = np.hypot(across - 0.5, down - 0.5)
    shapes = [
        *(darkest + 0.2 * across for darkest in (0.0, 0.4, 0.8)),
        across,
        1 - across,
        down,
        1 - down,
        np.minimum(1, 2 * radius),
        np.maximum(0, 1 - 2 * radius),
        *((np.floor(periods * along) % 2) for periods, along in ((4, across), (8, down), (6, across + down))),
    ]
    noise = [_noise(height, width, grain) for grain in (1, 2, 4, 8)]
    return np.stack([*(np.round(255 * shape).astype(np.uint8) for shape in shapes), *noise])[..., np.newaxis]


def _noise(height: int, width: int, grain: int) -> np.ndarray:
    """(height, width) uint8 in squares of `grain` pixels: no library's generator, which may change its draws."""
    rows, columns = -(-height // grain), -(-width // grain)
    drawn = hashlib.shake_256(f"noise {grain}".encode()).digest(rows * columns)
    squares = np.frombuffer(drawn, np.uint8).reshape(rows, columns)
    return squares.repeat(grain, axis=0).repeat(grain, axis=1)[:height, :width]
