"""mini-Xception (Arriaga, Valdenegro-Toro & Plöger 2017, arXiv:1710.07557): 58 thousand parameters.

normalise -> two 3x3 convolutions -> modules of two separable convolutions and a pool, beside a 1x1 convolution of
stride 2 -> a convolution to the classes -> pool -> softmax. The weight decay that the authors have in the layers is
the optimiser's here.
"""

from typing import Any

import keras

from fer.models import layers as parts
from fer.models import zoo


def build(config: zoo.MiniXception, *, height: int, width: int, n_classes: int, mean: float, std: float) -> keras.Model:
    """Build the model for pixels (N, height, width, 1); `mean` and `std` are those of the train split, 0-255."""
    pixels, x = parts.normalised(height, width, mean, std)
    x = parts.activated(x, "stem_a", config.stem_filters, padding="valid")
    x = parts.activated(x, "stem_b", config.stem_filters, padding="valid")
    for number, filters in enumerate(config.widths, start=1):
        x = _module(x, f"module{number}", filters)
    x = keras.layers.Conv2D(n_classes, 3, padding="same", name="class_maps")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(pixels, keras.layers.Softmax(dtype="float32", name="probabilities")(x), name="mini_xception")


def _module(x: Any, name: str, filters: int) -> Any:
    layers = keras.layers
    # The same as a 1x1 convolution of stride 2, whose gradient ends the process with TensorFlow 2.21 on oneDNN: 8
    # filters at 64x64 write where they must not.
    shortcut = layers.MaxPooling2D(1, strides=2, padding="same", name=f"{name}_shortcut_pool")(x)
    shortcut = parts.convolution(shortcut, f"{name}_shortcut", filters, kernel=1)
    for each in ("a", "b"):
        x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=f"{name}{each}_conv")(x)
        x = layers.BatchNormalization(momentum=parts.MOMENTUM, name=f"{name}{each}_norm")(x)
        if each == "a":
            x = layers.ReLU(name=f"{name}a_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    return layers.Add(name=f"{name}_add")([x, shortcut])
