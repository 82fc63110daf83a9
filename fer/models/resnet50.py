"""ResNet50 (He et al. 2016, arXiv:1512.03385) of keras.applications, for grey images.

The grey channel is given thrice, as the blue, green and red whose ImageNet means the published weights expect to be
taken off. `mean` and `std` of the train split are not used: a network that starts from weights needs the scale it was
trained with, and one that does not has batch norms.
"""

import keras

from fer.models import backbone, zoo
from fer.models import layers as parts

_MEANS = (103.939, 116.779, 123.68)  # of ImageNet's blue, green and red, 0-255


def build(config: zoo.ResNet50, *, height: int, width: int, n_classes: int, mean: float, std: float) -> keras.Model:
    """Build the model for pixels (N, height, width, 1), 32 x 32 at least."""
    pixels, x = backbone.of_grey(height, width, scale=1.0, offset=[-each for each in _MEANS])
    network = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x)
    backbone.quick_norms(network)
    return parts.pooled(pixels, network.output, "resnet50", n_classes, config.dropout)
