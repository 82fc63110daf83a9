"""What the backbones of keras.applications need to take grey images."""

from typing import Any

import keras

from fer import errors
from fer.models import layers

_SMALLEST_PX = 32


def of_grey(height: int, width: int, *, scale: float, offset: float | list[float]) -> tuple[Any, Any]:
    """The pixels (N, height, width, 1) that a model takes, and the three scaled channels made of them.

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
    """Let its batch norms' statistics follow as fast as those of the other models."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = layers.MOMENTUM
