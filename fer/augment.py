"""Augmented copies of grey (H, W) uint8 images: rotation, shift, shear, zoom and flip in one affine resampling.

A copy depends on (seed, image id, replica) alone, so that neither the order of the work nor the worker matters.
"""

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

# Our own pools run one process a core; OpenCV's threads below them would fight for the same cores.
cv2.setNumThreads(0)


class AugmentConfig(BaseModel):
    """How far an augmented copy may be from its source; each amount is drawn evenly between minus and plus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation_deg: float = Field(default=15.0, ge=0, le=180, description="rotation about the centre")
    shift: float = Field(default=0.1, ge=0, le=0.5, description="shift along each axis, as a fraction of its length")
    shear_deg: float = Field(default=8.0, ge=0, le=60, description="slant of the vertical axis")
    zoom: float = Field(default=0.1, ge=0, le=0.9, description="0.1: to between 0.9 and 1.1 of the size")
    horizontal_flip: bool = Field(default=True, description="mirror half of the copies left to right")


@dataclass(frozen=True)
class Parameters:
    """One augmentation. Shifts are fractions of the width and height; `zoom` over 1 enlarges."""

    rotation_deg: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    shear_deg: float = 0.0
    zoom: float = 1.0
    flipped: bool = False


def parameters(seed: int, image_id: str, replica: int, config: AugmentConfig) -> Parameters:
    """The augmentation of an image's copy number `replica`: the same for the same arguments, everywhere."""
    digest = hashlib.sha256(f"{seed}\0{image_id}\0{replica}".encode()).digest()
    # Six numbers evenly in [-1, 1], each of 32 bits of the digest.
    rotation, shift_x, shift_y, shear, zoom, side = (
        int.from_bytes(digest[at : at + 4], "big") / 0xFFFF_FFFF * 2 - 1 for at in range(0, 24, 4)
    )
    return Parameters(
        rotation * config.rotation_deg,
        shift_x * config.shift,
        shift_y * config.shift,
        shear * config.shear_deg,
        1 + zoom * config.zoom,
        config.horizontal_flip and side > 0,
    )


def matrix(chosen: Parameters, height: int, width: int) -> np.ndarray:
    """The (2, 3) float64 map from a source pixel (x, y) to its place in the copy.

    About the image's centre it flips, zooms, shears and rotates, in this order, and then it shifts.
    """
    turn, slant = math.radians(chosen.rotation_deg), math.tan(math.radians(chosen.shear_deg))
    scale_x, scale_y = (-chosen.zoom if chosen.flipped else chosen.zoom), chosen.zoom
    cos, sin = math.cos(turn), math.sin(turn)
    linear = np.array(  # rotation @ shear @ zoom and flip
        [[cos * scale_x, (cos * slant - sin) * scale_y], [sin * scale_x, (sin * slant + cos) * scale_y]]
    )
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.array([chosen.shift_x * width, chosen.shift_y * height])
    moved = centre + shift - linear @ centre
    return np.column_stack([linear, moved])


def augment(image: np.ndarray, chosen: Parameters) -> np.ndarray:
    """Resample grey (H, W) uint8 once, bilinearly; what lies beyond its edges is its mirror image."""
    height, width = image.shape
    return cv2.warpAffine(
        image,
        matrix(chosen, height, width),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
