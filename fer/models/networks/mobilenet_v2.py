"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) of keras.applications, for grey images.

The grey channel is given thrice, scaled to between -1 and 1 as the published weights expect it. `mean` and `std` of the
train split are not used: see `fer.models.networks.resnet50`.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fer.models import config as configs

if TYPE_CHECKING:
    import keras


class Config(configs.ModelConfig):
    """MobileNetV2 of keras.applications."""

    name: Literal["mobilenet-v2"] = "mobilenet-v2"
    alpha: float = Field(default=1.0, gt=0, le=2, description="times the filters of the published network")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share dropped before the last layer")


def build(config: Config, *, height: int, width: int, n_classes: int, mean: float, std: float) -> "keras.Model":
    """Build the model for pixels (N, height, width, 1), 32 x 32 at least."""
    import keras

    from fer.models import backbone, layers

    pixels, x = backbone.of_grey(height, width, scale=1 / 127.5, offset=-1.0)
    network = keras.applications.MobileNetV2(alpha=config.alpha, include_top=False, weights=None, input_tensor=x)
    backbone.quick_norms(network)
    return layers.pooled(pixels, network.output, "mobilenet_v2", n_classes, config.dropout)


def backbone_for_weights(config: Config) -> "keras.Model":
    """The network without its top, as published weights of it are saved."""
    import keras

    return keras.applications.MobileNetV2(alpha=config.alpha, include_top=False, weights=None)
