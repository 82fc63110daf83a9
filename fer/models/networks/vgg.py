"""Stages of 3x3 convolutions with squeeze and excitation, of the kind that leads the literature on FER2013.

normalise -> 5x5 stem of stride 2 -> stages of Conv-BN-ReLU, each but the last with a pool -> pool -> dropout ->
softmax. After Khaireddin & Chen 2021, arXiv:2105.03588, who get 0.733 with four stages, a stem of full size and 300
epochs of several optimisers in turn.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fer.models import config as configs

if TYPE_CHECKING:
    import keras


class Config(configs.StagedConfig):
    """Stages of 3x3 convolutions, the kind of network that leads the literature on FER2013."""

    name: Literal["vgg"] = "vgg"
    stem_filters: int = Field(default=64, ge=1, le=512, description="filters of the first convolution")
    widths: tuple[configs.Filters, ...] = Field(
        default=(64, 128, 256),
        min_length=1,
        max_length=6,
        description="filters of each stage, at half the size of the last",
    )
    convolutions: int = Field(default=3, ge=1, le=8, description="3x3 convolutions of each stage")


def build(config: Config, *, height: int, width: int, n_classes: int, mean: float, std: float) -> "keras.Model":
    """Build the model for pixels (N, height, width, 1); `mean` and `std` are those of the train split, 0-255."""
    import keras

    from fer.models import layers

    pixels, x = layers.normalised(height, width, mean, std)
    x = layers.activated(x, "stem", config.stem_filters, 2 * config.stem_stride + 1, config.stem_stride)
    for stage, filters in enumerate(config.widths, start=1):
        if stage > 1:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"stage{stage}_pool")(x)
        for number in range(1, config.convolutions + 1):
            x = layers.activated(x, f"stage{stage}_{number}", filters)
        x = layers.excited(x, f"stage{stage}", config.squeeze)
    return layers.pooled(pixels, x, "vgg", n_classes, config.dropout)
