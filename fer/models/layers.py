"""Blocks that several networks of the zoo use."""

from typing import Any

import keras

# Keras's 0.99 lags behind by hundreds of steps, more than a small dataset has in its first epochs.
MOMENTUM = 0.9


def normalised(height: int, width: int, mean: float, std: float) -> tuple[Any, Any]:
    """The model's input of pixels (N, height, width, 1), and (pixels - mean) / std."""
    pixels = keras.Input((height, width, 1), name="pixels")
    return pixels, keras.layers.Rescaling(1 / std, offset=-mean / std, name="normalise")(pixels)


def convolution(x: Any, name: str, filters: int, kernel: int = 3, stride: int = 1, padding: str = "same") -> Any:
    """A convolution without bias, and a batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167)."""
    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)


def activated(x: Any, name: str, filters: int, kernel: int = 3, stride: int = 1, padding: str = "same") -> Any:
    """A `convolution` with its batch norm, and a ReLU."""
    return keras.layers.ReLU(name=f"{name}_relu")(convolution(x, name, filters, kernel, stride, padding))


def excited(x: Any, name: str, squeeze: int) -> Any:
    """Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507); `squeeze` 0 leaves it out."""
    if squeeze == 0:
        return x
    filters = x.shape[-1]
    scale = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    scale = keras.layers.Dense(max(8, filters // squeeze), activation="relu", name=f"{name}_reduce")(scale)
    scale = keras.layers.Dense(filters, activation="sigmoid", name=f"{name}_excite")(scale)
    return keras.layers.Multiply(name=f"{name}_scale")([x, scale])


def pooled(pixels: Any, x: Any, name: str, n_classes: int, dropout: float) -> keras.Model:
    """The model from `pixels` to the probabilities that global pooling, dropout and a dense layer make of `x`."""
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(pixels, probabilities(x, n_classes), name=name)


def probabilities(x: Any, n_classes: int) -> Any:
    """The probabilities (N, n_classes) of `x` (N, features): a dense layer and softmax in float32."""
    return keras.layers.Dense(n_classes, activation="softmax", dtype="float32", name="probabilities")(x)
