"""Pictures with drawn faces: crops like FER2013's, and photographs with faces at given places."""

import cv2
import numpy as np

from fer.ingest.demo import faces


def drawn(seed):
    """A face as a crop, grey (48, 48) uint8."""
    return faces.draw(faces.CLASSES[seed % 7], np.random.default_rng(seed))


def photo(*faces_at, width=640, height=480):
    """Grey (height, width) uint8 with a drawn face of `side` pixels at each (x, y, side), cut off at the edge."""
    pixels = (np.arange(height)[:, None] // 6 + np.arange(width) // 6 + 30).astype(np.uint8)
    for seed, (x, y, side) in enumerate(faces_at):
        face = cv2.resize(drawn(seed), (side, side), interpolation=cv2.INTER_CUBIC)
        left, top = max(0, x), max(0, y)
        inside = face[top - y : height - y, left - x : width - x]
        pixels[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return pixels
