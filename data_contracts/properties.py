"""The properties of images that are compared and drawn: columns of the manifest -> edges of their histograms' bins.

The outer bins hold all beyond.
"""

import numpy as np

_GREY = np.linspace(0, 256, 33)
_SIDES_PX = 2 ** np.linspace(3, 13, 41)  # quarter octaves
EDGES = {
    "mean": _GREY,
    "std": np.linspace(0, 128, 33),
    "p99": _GREY,
    "p05": _GREY,
    "entropy": np.linspace(0, 8, 33),
    "sharpness": np.linspace(0, 4, 33),
    "width": _SIDES_PX,
    "height": _SIDES_PX,
}
