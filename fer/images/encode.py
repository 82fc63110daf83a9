"""Pixels to encoded bytes."""

import cv2
import numpy as np

cv2.setNumThreads(0)  # `decode` gives the reason


def png(pixels: np.ndarray) -> bytes:
    """Encode a grey (H, W) or colour (H, W, 3) BGR uint8 image as PNG."""
    return cv2.imencode(".png", pixels)[1].tobytes()


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """Encode a grey (H, W) or colour (H, W, 3) BGR uint8 image as JPEG of `quality` 0-100."""
    return cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()
