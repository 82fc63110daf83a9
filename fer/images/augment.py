"""Augmented copies of grey (H, W) uint8 images: rotation, shift, shear, zoom and flip in one affine resampling.

Brightness and contrast and an erased rectangle may follow. A copy depends on (seed, image id, replica) alone, so that
neither the order of the work nor the worker matters.
"""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

# Our own pools run one process a core; OpenCV's threads below them would fight for the same cores.
cv2.setNumThreads(0)

MID_GREY = 128  # what contrast leaves as it is
# Random erasing (Zhong et al. 2020): the rectangle's share of the image's area, and its height over its width.
ERASED_AREA = (0.02, 0.33)
ERASED_ASPECT = (0.3, 1 / 0.3)


class AugmentConfig(BaseModel):
    """How far an augmented copy may be from its source; each amount is drawn evenly between minus and plus.

    All 0 and no flip: not at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation_deg: float = Field(default=15.0, ge=0, le=180, description="rotation about the centre")
    shift: float = Field(default=0.1, ge=0, le=0.5, description="shift along each axis, as a fraction of its length")
    shear_deg: float = Field(default=8.0, ge=0, le=60, description="slant of the vertical axis")
    zoom: float = Field(default=0.1, ge=0, le=0.9, description="0.1: to between 0.9 and 1.1 of the size")
    horizontal_flip: bool = Field(default=True, description="mirror half of the copies left to right")
    contrast: float = Field(
        default=0.0, ge=0, le=0.9, description="0.2: greys to between 0.8 and 1.2 of their distance from mid-grey"
    )
    brightness: float = Field(default=0.0, ge=0, le=128, description="added to every pixel, in grey levels of 0-255")
    erasing: float = Field(
        default=0.0, ge=0, le=1, description="share of the copies of which a rectangle is painted over in some grey"
    )


class Draws(NamedTuple):
    """The random parameters of N augmented copies.

    matrices: (N, 2, 3) float64, from a source pixel (x, y) to its place in the copy: about the image's centre it flips,
        zooms, shears and rotates, in this order, and then it shifts.
    gains, offsets: (N,) float32; a pixel becomes (pixel - MID_GREY) * gain + MID_GREY + offset.
    boxes: (N, 4) int32, top, left, height and width of the erased rectangle; height 0: none.
    fills: (N,) uint8, the grey in its place.
    """

    matrices: np.ndarray
    gains: np.ndarray
    offsets: np.ndarray
    boxes: np.ndarray
    fills: np.ndarray


def draw(
    seed: int, image_ids: Sequence[str], replicas: Iterable[int] | int, config: AugmentConfig, height: int, width: int
) -> Draws:
    """Draw the copies number `replicas` (of each image, or one for all) of images of this size.

    The same for the same (seed, image id, replica), whatever is drawn beside it.
    """
    replica_numbers = itertools.repeat(replicas) if isinstance(replicas, int) else replicas
    digests = [
        hashlib.blake2b(f"{seed}\0{image_id}\0{replica}".encode()).digest()
        for image_id, replica in zip(image_ids, replica_numbers, strict=not isinstance(replicas, int))
    ]
    # Sixteen numbers per copy, evenly in [0, 1), each of 32 bits of the digest; every quantity has its column for good.
    uniform = np.frombuffer(b"".join(digests), "<u4").reshape(-1, 16) * 2.0**-32
    symmetric = uniform * 2 - 1
    area = np.interp(uniform[:, 8], (0, 1), ERASED_AREA) * (height * width)
    aspect = np.exp(np.interp(uniform[:, 9], (0, 1), np.log(ERASED_ASPECT)))
    box_height = np.clip(np.rint(np.sqrt(area * aspect)), 1, height)
    box_width = np.clip(np.rint(np.sqrt(area / aspect)), 1, width)
    top, left = uniform[:, 10] * (height - box_height + 1), uniform[:, 11] * (width - box_width + 1)
    boxes = np.stack([top, left, box_height, box_width], axis=1).astype(np.int32)
    boxes[uniform[:, 12] >= config.erasing] = 0
    return Draws(
        _matrices(symmetric, config, height, width),
        (1 + symmetric[:, 6] * config.contrast).astype(np.float32),
        (symmetric[:, 7] * config.brightness).astype(np.float32),
        boxes,
        (uniform[:, 13] * 256).astype(np.uint8),
    )


def _matrices(symmetric: np.ndarray, config: AugmentConfig, height: int, width: int) -> np.ndarray:
    """`Draws.matrices` of the first six columns of `symmetric`, evenly in [-1, 1)."""
    turn = np.radians(symmetric[:, 0] * config.rotation_deg)
    slant = np.tan(np.radians(symmetric[:, 3] * config.shear_deg))
    scale_y = 1 + symmetric[:, 4] * config.zoom
    scale_x = np.where(config.horizontal_flip & (symmetric[:, 5] >= 0), -scale_y, scale_y)
    cos, sin = np.cos(turn), np.sin(turn)
    matrices = np.empty((len(symmetric), 2, 3))
    matrices[:, :, 0] = np.stack([cos * scale_x, sin * scale_x], axis=1)  # rotation @ shear @ zoom and flip
    matrices[:, :, 1] = np.stack([(cos * slant - sin) * scale_y, (sin * slant + cos) * scale_y], axis=1)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = symmetric[:, 1:3] * (config.shift * width, config.shift * height)
    matrices[:, :, 2] = centre + shift - matrices[:, :, :2] @ centre
    return matrices


def apply(pixels: np.ndarray, draws: Draws) -> np.ndarray:
    """Augmented copies of (N, H, W) uint8 `pixels`, by the `draws` for each: (N, H, W) uint8.

    Resampled once, bilinearly; beyond an image's edges lies its mirror image. Neither brightness nor contrast changes
    an erased rectangle.
    """
    height, width = pixels.shape[1:]
    out = np.empty_like(pixels)
    # The edge pixel itself is mirrored too: other mirrors than this one Keras does not have on TensorFlow.
    size, linear, mirrored = (width, height), cv2.INTER_LINEAR, cv2.BORDER_REFLECT
    for source, matrix, copy in zip(pixels, draws.matrices, out, strict=True):
        cv2.warpAffine(source, matrix, size, copy, linear, mirrored)
    changed = np.flatnonzero((draws.gains != 1) | (draws.offsets != 0))
    for row, table in zip(changed, _greys(draws.gains[changed], draws.offsets[changed]), strict=True):
        cv2.LUT(out[row], table, out[row])
    for row in np.flatnonzero(draws.boxes[:, 2]):
        top, left, box_height, box_width = draws.boxes[row]
        out[row, top : top + box_height, left : left + box_width] = draws.fills[row]
    return out


def _greys(gains: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The new value of each grey level, (N, 256) uint8."""
    levels = np.arange(256, dtype=np.float32) - MID_GREY
    return np.clip(np.rint(levels * gains[:, None] + (MID_GREY + offsets[:, None])), 0, 255).astype(np.uint8)
