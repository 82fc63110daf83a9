"""ResNet50 (He et al. 2016, arXiv:1512.03385) of keras.applications, for grey images.

The grey channel is given thrice, as the blue, green and red whose ImageNet means the published weights expect to be
taken off. `mean` and `std` of the train split are not used: a network that starts from weights needs the scale it was
trained with, and one that does not has batch norms.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fer.models import config as configs

if TYPE_CHECKING:
    import keras

_MEANS = (103.939, 116.779, 123.68)  # of ImageNet's blue, green and red, 0-255


class Config(configs.ModelConfig):
    """ResNet50 of keras.applications."""

    name: Literal["resnet50"] = "resnet50"
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share dropped before the last layer")


def build(config: Config, *, height: int, width: int, n_classes: int, mean: float, std: float) -> "keras.Model":
    """Build the model for pixels (N, height, width, 1), 32 x 32 at least."""
    import keras

    from fer.models import backbone, layers

    pixels, x = backbone.of_grey(height, width, scale=1.0, offset=[-channel_mean for channel_mean in _MEANS])
    network = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x)
    backbone.quick_norms(network)
    return layers.pooled(pixels, network.output, "resnet50", n_classes, config.dropout)


def backbone_for_weights(config: Config) -> "keras.Model":
    """The network without its top, as published weights of it are saved."""
    import keras

    return keras.applications.ResNet50(include_top=False, weights=None)
