"""The zoo: one module per model, built by name.

A model takes grey pixels (N, H, W, 1), 0-255, uint8 or float; normalises them itself; and ends in softmax
probabilities (N, classes). It is made of Keras 3's own layers only, so that it loads in safe mode. Its last layers are
"pool" or "flatten", what may stand between, and "probabilities", which stays float32 in mixed precision.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import keras

_Filters = Annotated[int, Field(ge=1, le=2_048)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def fewest_at_once(self) -> int:
        """How many images must go through the model at once, at least, for it to learn."""
        return 1


class SequentialCnn(_Model):
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
    def fewest_at_once(self) -> int:
        return 2 if self.regularised else 1  # the dense layer's batch norm makes one image the same as any other


class MiniXception(_Model):
    """A model of 58 thousand parameters, known from the `fer` package."""

    name: Literal["mini-xception"] = "mini-xception"
    stem_filters: int = Field(default=8, ge=1, le=256, description="filters of the two first convolutions")
    widths: tuple[_Filters, ...] = Field(
        default=(16, 32, 64, 128),
        min_length=1,
        max_length=6,
        description="filters of each module, which halves the size",
    )


class _Staged(_Model):
    stem_filters: int = Field(default=48, ge=1, le=512, description="filters of the first convolution")
    stem_stride: int = Field(default=2, ge=1, le=8, description="step of the first convolution; 8 suits 224x224")
    widths: tuple[_Filters, ...] = Field(
        default=(48, 96, 192),
        min_length=1,
        max_length=6,
        description="filters of each stage, at half the size of the last",
    )
    squeeze: int = Field(
        default=8, ge=0, le=64, description="times fewer units than filters in squeeze and excitation; 0: without"
    )
    dropout: float = Field(default=0.4, ge=0, lt=1, description="share dropped before the last layer")


class SeResNet(_Staged):
    """A compact residual network, made for training on a CPU."""

    name: Literal["se-resnet"] = "se-resnet"
    blocks: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(1, 2, 2), description="residual blocks of each stage"
    )

    @model_validator(mode="after")
    def _as_many(self) -> "SeResNet":
        if len(self.blocks) != len(self.widths):
            raise ValueError(f"blocks must name a number for each of the {len(self.widths)} widths")
        return self


class Vgg(_Staged):
    """Stages of 3x3 convolutions, the kind of network that leads the literature on FER2013."""

    name: Literal["vgg"] = "vgg"
    stem_filters: int = Field(default=64, ge=1, le=512, description="filters of the first convolution")
    widths: tuple[_Filters, ...] = Field(
        default=(64, 128, 256),
        min_length=1,
        max_length=6,
        description="filters of each stage, at half the size of the last",
    )
    convolutions: int = Field(default=3, ge=1, le=8, description="3x3 convolutions of each stage")


class ResNet50(_Model):
    """ResNet50 of keras.applications."""

    name: Literal["resnet50"] = "resnet50"
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share dropped before the last layer")


class MobileNetV2(_Model):
    """MobileNetV2 of keras.applications."""

    name: Literal["mobilenet-v2"] = "mobilenet-v2"
    alpha: float = Field(default=1.0, gt=0, le=2, description="times the filters of the published network")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share dropped before the last layer")


ModelConfig = Annotated[
    SequentialCnn | MiniXception | SeResNet | Vgg | ResNet50 | MobileNetV2, Field(discriminator="name")
]


def build(config: ModelConfig, *, height: int, width: int, n_classes: int, mean: float, std: float) -> "keras.Model":
    """Build the model that `config` names for (height, width) pixels of the given mean and std (0-255)."""
    from fer.models import mini_xception, mobilenet_v2, resnet50, se_resnet, sequential_cnn, vgg

    builders: dict[str, Callable[..., keras.Model]] = {
        "sequential-cnn": sequential_cnn.build,
        "mini-xception": mini_xception.build,
        "se-resnet": se_resnet.build,
        "vgg": vgg.build,
        "resnet50": resnet50.build,
        "mobilenet-v2": mobilenet_v2.build,
    }
    return builders[config.name](config, height=height, width=width, n_classes=n_classes, mean=mean, std=std)
