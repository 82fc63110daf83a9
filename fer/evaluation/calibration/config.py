"""How a model is calibrated."""

from pydantic import Field

from fer.engine.records import Record


class CalibrationConfig(Record):
    """How a trained model's probabilities are made to mean what they say, by its validation images."""

    coverage: float = Field(
        default=0.9,
        gt=0.5,
        lt=1,
        description="share of images whose true class is to be in the set that a prediction gives; a set of several "
        "classes says that the model is unsure. At 0.9, which leaves one in ten out, it is 2.3 classes a face on "
        "FER2013, at 0.95 three",
    )
    by_class: bool = Field(
        default=False,
        description="whether the coverage is to hold for each class by itself, at the price of larger sets; a class "
        "with few validation images (9 at 0.9) is then in every set",
    )
    min_images: int = Field(
        default=50,
        ge=1,
        description="validation images to calibrate by; with fewer the temperature is 1 and there are no sets",
    )
