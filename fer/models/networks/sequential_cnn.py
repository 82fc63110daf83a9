"""A sequential CNN: the 2024 student report's kind of model, plain or with batch normalisation and dropout.

normalise -> stem -> blocks of (Conv-BN-ReLU) x 2, pool, dropout -> flatten -> dense -> softmax. The convolutions are
VGG's pairs of 3x3 (Simonyan & Zisserman 2015, arXiv:1409.1556) with batch normalisation (Ioffe & Szegedy 2015,
arXiv:1502.03167). Two convolutions of 32 filters at 48x48 alone would cost as much as all that follows the stem:
a stem of stride 2 leaves them out.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fer.models import config as configs

if TYPE_CHECKING:
    import keras


class Config(configs.ModelConfig):
    """The 2024 student report's kind of model."""

    name: Literal["sequential-cnn"] = "sequential-cnn"
    width: int = Field(default=32, ge=1, le=512, description="filters of the first block; each next block doubles them")
    blocks: int = Field(default=3, ge=1, le=6, description="convolution blocks; each halves height and width")
    stem_filters: int = Field(default=32, ge=1, le=512, description="filters of the first convolution")
    stem_stride: int = Field(
        default=2, ge=1, le=8, description="step of the first convolution: 1 keeps every pixel, 4 suits 224x224"
    )
    dense_units: int = Field(default=128, ge=1, le=4096, description="units of the dense layer before the last")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share dropped before the last layer; blocks drop half")
    regularised: bool = Field(
        default=True, description="with batch norms and dropout; without, it is as plain as the report's"
    )

    @property
    def min_micro_batch(self) -> int:
        """2 with batch norms: that of the dense layer makes one image the same as any other."""
        return 2 if self.regularised else 1


def build(config: Config, *, height: int, width: int, n_classes: int, mean: float, std: float) -> "keras.Sequential":
    """Build the model for pixels (N, height, width, 1); `mean` and `std` are those of the train split, 0-255."""
    import keras
    from keras import layers

    from fer.models.layers import MOMENTUM

    # All at once: `Sequential.add` builds the model anew for each layer.
    network = [
        keras.Input((height, width, 1), name="pixels"),
        layers.Rescaling(1 / std, offset=-mean / std, name="normalise"),
        *_convolution(config, "stem", config.stem_filters, 2 * config.stem_stride + 1, config.stem_stride),
    ]
    for block in range(config.blocks):
        filters = config.width * 2**block
        network += _convolution(config, f"block{block + 1}a", filters)
        network += _convolution(config, f"block{block + 1}b", filters)
        network.append(layers.MaxPooling2D(2, padding="same", name=f"block{block + 1}_pool"))
        if config.regularised:
            network.append(layers.Dropout(config.dropout / 2, name=f"block{block + 1}_dropout"))
    network.append(layers.Flatten(name="flatten"))
    network.append(layers.Dense(config.dense_units, use_bias=not config.regularised, name="dense"))
    if config.regularised:
        network.append(layers.BatchNormalization(momentum=MOMENTUM, name="dense_norm"))
    network.append(layers.ReLU(name="dense_relu"))
    if config.regularised:
        network.append(layers.Dropout(config.dropout, name="dense_dropout"))
    network.append(layers.Dense(n_classes, activation="softmax", dtype="float32", name="probabilities"))
    return keras.Sequential(network, name="sequential_cnn")


def _convolution(config: Config, name: str, filters: int, kernel: int = 3, stride: int = 1) -> "list[keras.Layer]":
    from keras import layers

    from fer.models.layers import MOMENTUM

    convolution = layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        use_bias=not config.regularised,  # batch normalisation has one
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )
    norm = [layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")] if config.regularised else []
    return [convolution, *norm, layers.ReLU(name=f"{name}_relu")]
