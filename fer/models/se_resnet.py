"""A compact residual network with squeeze and excitation, made for training on a CPU.

normalise -> 5x5 stem of stride 2 -> stages of residual blocks, the first at half size -> pool -> dropout -> softmax.
Residual blocks: He et al. 2016, arXiv:1512.03385; a shortcut that shrinks is averaged before its 1x1 convolution: He et
al. 2019, arXiv:1812.01187. Nothing runs at full size, where element-wise layers of few filters would cost more time
than all convolutions after them.
"""

from typing import Any

import keras

from fer.models import layers as parts
from fer.models import zoo


def build(config: zoo.SeResNet, *, height: int, width: int, n_classes: int, mean: float, std: float) -> keras.Model:
    """Build the model for pixels (N, height, width, 1); `mean` and `std` are those of the train split, 0-255."""
    pixels, x = parts.normalised(height, width, mean, std)
    x = parts.activated(x, "stem", config.stem_filters, 2 * config.stem_stride + 1, config.stem_stride)
    for stage, (filters, n_blocks) in enumerate(zip(config.widths, config.blocks, strict=True), start=1):
        for block in range(1, n_blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, f"stage{stage}_block{block}", filters, stride, config.squeeze)
    return parts.pooled(pixels, x, "se_resnet", n_classes, config.dropout)


def _block(x: Any, name: str, filters: int, stride: int, squeeze: int) -> Any:
    layers = keras.layers
    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, padding="same", name=f"{name}_shortcut_pool")(shortcut)
    if shortcut.shape[-1] != filters:
        shortcut = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_shortcut_conv")(shortcut)
    y = parts.activated(x, f"{name}a", filters, stride=stride)
    y = parts.excited(parts.convolution(y, f"{name}b", filters), name, squeeze)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([shortcut, y]))
