"""The zoo: one module a model, built by name.

A model takes grey pixels (N, H, W, 1), 0-255, uint8 or float; normalises them itself; and ends in softmax
probabilities (N, classes). It is made of Keras 3's own layers only, so that it loads in safe mode.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import keras


class ModelConfig(BaseModel):
    """Which model, and how large."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["sequential-cnn"] = Field(default="sequential-cnn", description="the model's name in the zoo")
    width: int = Field(default=32, ge=1, le=512, description="filters of the first block; each next block doubles them")
    blocks: int = Field(default=3, ge=1, le=6, description="convolution blocks; each halves height and width")
    stem_filters: int = Field(default=32, ge=1, le=512, description="filters of the first convolution")
    stem_stride: int = Field(
        default=2, ge=1, le=8, description="step of the first convolution: 1 keeps every pixel, 4 suits 224x224"
    )
    dense_units: int = Field(default=128, ge=1, le=4096, description="units of the dense layer before the last")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share dropped before the last layer; blocks drop half")


def build(
    config: ModelConfig, *, height: int, width: int, n_classes: int, mean: float, std: float
) -> "keras.Sequential":
    """Build the model that `config` names for (height, width) pixels of the given mean and std (0-255)."""
    from fer.models import sequential_cnn

    builders = {"sequential-cnn": sequential_cnn.build}
    return builders[config.name](config, height=height, width=width, n_classes=n_classes, mean=mean, std=std)
