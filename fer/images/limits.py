"""How large an encoded image may be before it is quarantined: variables that begin with `FER_LIMIT_IMAGE_`.

What they refuse is in the manifest, so they are in the keys of the stages that decode images.
"""

import functools

from pydantic import Field

from fer import settings


class ImageLimits(settings.FromEnvironment):
    """The limits in force. `current()` reads them once a process; an empty variable counts as not set."""

    PREFIX = "FER_LIMIT_IMAGE_"

    side_px: int = Field(
        default=8_192,
        ge=1,
        le=65_535,
        description="pixels of a side, by the header: 67 million in a square, as a small file may claim far more",
    )
    bytes: int = Field(
        default=64 * 2**20,
        ge=1,
        description="bytes of an encoded image: a photo of 20 million pixels has 10 MB as a JPEG and 60 MB as they are",
    )
    pixels_per_byte: int = Field(
        default=250,
        ge=1,
        description="pixels for each byte of the file, in images of more than 4 million pixels: a blank JPEG has 85, "
        "what hides millions in a few bytes a thousand",
    )


@functools.lru_cache(maxsize=1)
def current() -> ImageLimits:
    """The limits in force, read when they are first asked for. Raises ConfigError for a variable that is not valid."""
    return ImageLimits.load()
