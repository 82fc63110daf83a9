"""Which parts of the test are looked at by themselves."""

from pydantic import Field, field_validator

from fer.engine.records import Record
from fer.ingest.naming import path_patterns


class SlicesConfig(Record):
    """Which parts of the test are looked at by themselves, beside those by properties, issues, sources and subjects."""

    enabled: bool = Field(default=True, description="look at all")
    min_slice_size: int = Field(
        default=50,
        ge=2,
        description="images of a slice; of fewer an accuracy is known to ±0.14 at best, and to look at many small ones "
        "finds some that are bad by chance",
    )
    patterns: dict[str, str] = Field(
        default={},
        description="groups that paths name, e.g. of people: column -> regular expression for paths whose first group "
        'is the value, e.g. {"gender": "/[0-9]+_([01])_"}',
    )

    @field_validator("patterns")
    @classmethod
    def _are_bounded(cls, patterns: dict[str, str]) -> dict[str, str]:
        return {name: path_patterns.check(pattern) for name, pattern in patterns.items()}
