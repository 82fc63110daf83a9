"""What a recipe asks to be measured of a model's robustness."""

from typing import Annotated

from pydantic import Field, field_validator

from fer.engine.records import Record
from fer.images import corruptions as of_images


class RobustnessConfig(Record):
    """Which corruptions a model is tried on, and on how many images."""

    enabled: bool = Field(default=True, description="whether it is measured at all, of the candidate and the champion")
    corruptions: tuple[of_images.Kind, ...] = Field(
        default=of_images.KINDS, min_length=1, description="kinds; see the page on robustness"
    )
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(
        default=of_images.SEVERITIES, min_length=1, description="of 1 to 5"
    )
    max_images: int = Field(
        default=1_000,
        ge=1,
        description="of the test split, the same ones each time: the mean over all corruptions is then known to ±0.03, "
        "and each image is scored once a corruption, severity and movement, 73 times by default",
    )
    seed: int = Field(
        default=0, ge=0, description="of the images chosen, and of what is drawn at random in corruptions"
    )

    @field_validator("corruptions", "severities")
    @classmethod
    def _in_order(cls, values: tuple) -> tuple:
        return tuple(value for value in (*of_images.KINDS, *of_images.SEVERITIES) if value in values)
