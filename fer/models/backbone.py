"""Grey images as input of the backbones of keras.applications."""

from typing import Any

import keras

from fer import errors
from fer.models import layers

_SMALLEST_PX = 32


def of_grey(height: int, width: int, *, scale: float, offset: float | list[float]) -> tuple[Any, Any]:
    """The model's input of pixels (N, height, width, 1), and the three equal channels `pixels * scale + offset`.

    Raises ConfigError for images that are too small for a backbone.
    """
    if min(height, width) < _SMALLEST_PX:
        raise errors.ConfigError(
            f"A backbone of keras.applications must get images of {_SMALLEST_PX}x{_SMALLEST_PX} at least.",
            received=f"{height}x{width}",
            todo="raise preprocess.height and preprocess.width, or take another train.model",
        )
    pixels = keras.Input((height, width, 1), name="pixels")
    thrice = keras.layers.Concatenate(name="three_channels")([pixels] * 3)
    return pixels, keras.layers.Rescaling(scale, offset=offset, name="normalise")(thrice)


def quick_norms(backbone: keras.Model) -> None:
    """Give the backbone's batch norms the momentum of those in the other networks."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = layers.MOMENTUM
