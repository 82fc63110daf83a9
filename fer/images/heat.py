"""A map of warm places over a grey image, as a picture."""

import cv2
import numpy as np

cv2.setNumThreads(0)  # `decode` gives the reason

_SIDE_PX = 96  # of the longer side: seven classes are 100 kB
_GAP_PX = 8
_OPACITY = 0.65  # of the warmest place
_DARKEST = 0.4  # of the colours: black would darken what is hardly warm
_MAP = cv2.COLORMAP_INFERNO


def beside(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Grey (H, W) uint8, enlarged, and on its right once more with `heat` over it, (h, w) float32 of 0 to 1.

    The result is (H', 2 W' + 8, 3) BGR uint8. Cold places show the image, warm ones dark to bright colours.
    """
    scale = _SIDE_PX / max(image.shape)
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    warmth = np.clip(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), 0, 1)
    colours = cv2.applyColorMap(np.rint(255 * (_DARKEST + (1 - _DARKEST) * warmth)).astype(np.uint8), _MAP)
    grey = np.dstack([large] * 3)
    opacity = (_OPACITY * np.sqrt(warmth))[..., np.newaxis]
    over = np.rint(grey * (1 - opacity) + colours * opacity).astype(np.uint8)
    gap = np.full((size[1], _GAP_PX, 3), 255, np.uint8)
    return np.hstack([grey, gap, over])
