"""Images for tests of pixel operations."""

import cv2
import numpy as np


def smooth_image(seed: int = 0, height: int = 24, width: int = 20, channels: int = 1) -> np.ndarray:
    """Random blobs as (height, width) uint8, or (height, width, channels) for several."""
    shape = (6, 5) if channels == 1 else (6, 5, channels)
    coarse = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
