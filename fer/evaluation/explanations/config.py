"""What a recipe asks to be explained of a model."""

from pydantic import Field

from fer.engine.records import Record


class ExplanationsConfig(Record):
    """How many images an average face is of, and how many mistakes are listed."""

    enabled: bool = Field(default=True, description="whether explanations are made at all")
    min_images: int = Field(
        default=20,
        ge=10,
        description="of a class that the model has right, without near-duplicates; of fewer no average face is shown: "
        "it would be a person's",
    )
    images_per_class: int = Field(default=200, ge=10, description="at most, in an average face")
    listed: int = Field(default=50, ge=0, le=10_000, description="mistakes of each kind, by image id")
    seed: int = Field(default=0, ge=0, description="of the choice of images")
