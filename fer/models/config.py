"""What the configs of all networks have in common. Each network's own `Config` stands beside its `build`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Filters = Annotated[int, Field(ge=1, le=2_048)]


class ModelConfig(BaseModel):
    """Base of every network's `Config`, which gives `name` the one value by which a recipe chooses the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str

    @property
    def min_micro_batch(self) -> int:
        """How many images must go through the model at once, at least, for it to learn."""
        return 1


class StagedConfig(ModelConfig):
    """Base of networks that are a stem and stages, each at half the size of the one before it."""

    stem_filters: int = Field(default=48, ge=1, le=512, description="filters of the first convolution")
    stem_stride: int = Field(default=2, ge=1, le=8, description="step of the first convolution; 8 suits 224x224")
    widths: tuple[Filters, ...] = Field(
        default=(48, 96, 192),
        min_length=1,
        max_length=6,
        description="filters of each stage, at half the size of the last",
    )
    squeeze: int = Field(
        default=8, ge=0, le=64, description="times fewer units than filters in squeeze and excitation; 0: without"
    )
    dropout: float = Field(default=0.4, ge=0, lt=1, description="share dropped before the last layer")
