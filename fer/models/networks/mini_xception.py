"""mini-Xception (Arriaga, Valdenegro-Toro & Plöger 2017, arXiv:1710.07557): 58 thousand parameters.

normalise -> two 3x3 convolutions -> modules of two separable convolutions and a pool, beside a 1x1 convolution of
stride 2 -> a convolution to the classes -> pool -> softmax. The weight decay that the authors have in the layers is
the optimiser's here.
"""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fer.models import config as configs

if TYPE_CHECKING:
    import keras


class Config(configs.ModelConfig):
    """A model of 58 thousand parameters, known from the `fer` package."""

    name: Literal["mini-xception"] = "mini-xception"
    stem_filters: int = Field(default=8, ge=1, le=256, description="filters of the two first convolutions")
    widths: tuple[configs.Filters, ...] = Field(
        default=(16, 32, 64, 128),
        min_length=1,
        max_length=6,
        description="filters of each module, which halves the size",
    )


def build(config: Config, *, height: int, width: int, n_classes: int, mean: float, std: float) -> "keras.Model":
    """Build the model for pixels (N, height, width, 1); `mean` and `std` are those of the train split, 0-255."""
    import keras

    from fer.models import layers

    pixels, x = layers.normalised(height, width, mean, std)
    x = layers.activated(x, "stem_a", config.stem_filters, padding="valid")
    x = layers.activated(x, "stem_b", config.stem_filters, padding="valid")
    for number, filters in enumerate(config.widths, start=1):
        x = _module(x, f"module{number}", filters)
    x = keras.layers.Conv2D(n_classes, 3, padding="same", name="class_maps")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(pixels, keras.layers.Softmax(dtype="float32", name="probabilities")(x), name="mini_xception")


def _module(x: Any, name: str, filters: int) -> Any:
    import keras

    from fer.models import layers

    # The same as a 1x1 convolution of stride 2, whose gradient ends the process with TensorFlow 2.21 on oneDNN: 8
    # filters at 64x64 write where they must not.
    shortcut = keras.layers.MaxPooling2D(1, strides=2, padding="same", name=f"{name}_shortcut_pool")(x)
    shortcut = layers.convolution(shortcut, f"{name}_shortcut", filters, kernel=1)
    for branch in ("a", "b"):
        x = keras.layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=f"{name}{branch}_conv")(x)
        x = keras.layers.BatchNormalization(momentum=layers.MOMENTUM, name=f"{name}{branch}_norm")(x)
        if branch == "a":
            x = keras.layers.ReLU(name=f"{name}a_relu")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])
