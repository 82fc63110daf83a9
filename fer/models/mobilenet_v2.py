"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) of keras.applications, for grey images.

The grey channel is given thrice, scaled to between -1 and 1 as the published weights expect it. `mean` and `std` of the
train split are not used: see `fer.models.resnet50`.
"""

import keras

from fer.models import backbone, zoo
from fer.models import layers as parts


def build(config: zoo.MobileNetV2, *, height: int, width: int, n_classes: int, mean: float, std: float) -> keras.Model:
    """Build the model for pixels (N, height, width, 1), 32 x 32 at least."""
    pixels, x = backbone.of_grey(height, width, scale=1 / 127.5, offset=-1.0)
    network = keras.applications.MobileNetV2(alpha=config.alpha, include_top=False, weights=None, input_tensor=x)
    backbone.quick_norms(network)
    return parts.pooled(pixels, network.output, "mobilenet_v2", n_classes, config.dropout)
