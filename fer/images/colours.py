"""Encoded bytes to colours, for pictures that people look at; what models see is grey (`decode`)."""

import cv2
import numpy as np

from fer.images import decode, headers

cv2.setNumThreads(0)  # `decode` gives the reason


def in_colour(data: bytes, shape: tuple[int, ...]) -> np.ndarray | None:
    """(H, W, 3) BGR uint8, turned as its EXIF says, of an image that `decode` makes (H, W) of, its `shape`.

    None where OpenCV can't be relied upon: what Pillow decodes there, and what becomes another size.
    Raises UndecodableImage for what is no image.
    """
    head = headers.read(data)
    if head.format != "JPEG" and not head.plain:
        return None
    kept = np.frombuffer(decode.without(data, head.skipped), np.uint8)
    pixels = cv2.imdecode(kept, cv2.IMREAD_COLOR)
    return pixels if pixels is not None and pixels.shape[:2] == shape else None
