"""What a recipe asks of a model's exports."""

from typing import Literal

from pydantic import Field, field_validator

from fer.engine.records import Record

Format = Literal["onnx", "litert"]


class ExportConfig(Record):
    """In which forms a model is released beside Keras' own, and how near to it they must be."""

    formats: tuple[Format, ...] = Field(
        default=("onnx", "litert"),
        description="of `model.onnx` and `model.tflite`; none: the release is of use with TensorFlow alone",
    )
    int8: bool = Field(
        default=True,
        description="whether there is one of 8-bit integers beside each: a quarter as large, and quicker",
    )
    calibration_images: int = Field(
        default=256,
        ge=16,
        le=10_000,
        description="of train, by which the ranges of what layers put out are found for 8 bits; no other image is seen",
    )
    max_difference: float = Field(
        default=1e-4,
        gt=0,
        le=0.1,
        description="of a probability between the model and a float32 export, on any test image: rounding alone makes "
        "1e-6; more is another model, and is refused",
    )
    max_int8_loss: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="of accuracy by 8 bits, by the lower end of the paired interval at 95 %: what `gate.margin` takes "
        "for as good by default. With more the file is left out of the release, which goes on without it",
    )
    seed: int = Field(default=0, ge=0, description="of the choice of `calibration_images`")

    @field_validator("formats")
    @classmethod
    def _in_order(cls, values: tuple[Format, ...]) -> tuple[Format, ...]:
        return tuple(value for value in ("onnx", "litert") if value in values)
