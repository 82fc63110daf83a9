"""Stages of 3x3 convolutions with squeeze and excitation, of the kind that leads the literature on FER2013.

normalise -> 5x5 stem of stride 2 -> stages of Conv-BN-ReLU, each but the last with a pool -> pool -> dropout ->
softmax. After Khaireddin & Chen 2021, arXiv:2105.03588, who get 0.733 with four stages, a stem of full size and 300
epochs of several optimisers in turn.
"""

import keras

from fer.models import layers as parts
from fer.models import zoo


def build(config: zoo.Vgg, *, height: int, width: int, n_classes: int, mean: float, std: float) -> keras.Model:
    """Build the model for pixels (N, height, width, 1); `mean` and `std` are those of the train split, 0-255."""
    pixels, x = parts.normalised(height, width, mean, std)
    x = parts.activated(x, "stem", config.stem_filters, 2 * config.stem_stride + 1, config.stem_stride)
    for stage, filters in enumerate(config.widths, start=1):
        if stage > 1:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"stage{stage}_pool")(x)
        for number in range(1, config.convolutions + 1):
            x = parts.activated(x, f"stage{stage}_{number}", filters)
        x = parts.excited(x, f"stage{stage}", config.squeeze)
    return parts.pooled(pixels, x, "vgg", n_classes, config.dropout)
