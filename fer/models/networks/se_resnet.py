"""A compact residual network with squeeze and excitation, made for training on a CPU.

normalise -> 5x5 stem of stride 2 -> stages of residual blocks, the first at half size -> pool -> dropout -> softmax.
Residual blocks: He et al. 2016, arXiv:1512.03385; a shortcut that shrinks is averaged before its 1x1 convolution: He et
al. 2019, arXiv:1812.01187. Nothing runs at full size, where element-wise layers of few filters would cost more time
than all convolutions after them.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from fer.models import config as configs

if TYPE_CHECKING:
    import keras


class Config(configs.StagedConfig):
    """A compact residual network, made for training on a CPU."""

    name: Literal["se-resnet"] = "se-resnet"
    blocks: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(1, 2, 2), description="residual blocks of each stage"
    )

    @model_validator(mode="after")
    def _as_many(self) -> "Config":
        if len(self.blocks) != len(self.widths):
            raise ValueError(f"blocks must name a number for each of the {len(self.widths)} widths")
        return self


def build(config: Config, *, height: int, width: int, n_classes: int, mean: float, std: float) -> "keras.Model":
    """Build the model for pixels (N, height, width, 1); `mean` and `std` are those of the train split, 0-255."""
    from fer.models import layers

    pixels, x = layers.normalised(height, width, mean, std)
    x = layers.activated(x, "stem", config.stem_filters, 2 * config.stem_stride + 1, config.stem_stride)
    for stage, (filters, n_blocks) in enumerate(zip(config.widths, config.blocks, strict=True), start=1):
        for block in range(1, n_blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, f"stage{stage}_block{block}", filters, stride, config.squeeze)
    return layers.pooled(pixels, x, "se_resnet", n_classes, config.dropout)


def _block(x: Any, name: str, filters: int, stride: int, squeeze: int) -> Any:
    import keras

    from fer.models import layers

    shortcut = x
    if stride > 1:
        shortcut = keras.layers.AveragePooling2D(stride, padding="same", name=f"{name}_shortcut_pool")(shortcut)
    if shortcut.shape[-1] != filters:
        shortcut = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_shortcut_conv")(shortcut)
    y = layers.activated(x, f"{name}a", filters, stride=stride)
    y = layers.excited(layers.convolution(y, f"{name}b", filters), name, squeeze)
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([shortcut, y]))
