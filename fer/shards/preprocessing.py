"""How an encoded image becomes a model's input: the settings, the record beside shards and models, and the work itself.

The record `preprocessing.json` holds a *probe*: what a few generated images became. If today's code makes others of
them, a model must neither predict nor be compared.
"""

from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError, field_validator

from data_contracts import files
from fer import errors
from fer.engine.records import Record
from fer.images import decode, encode, faces, prepare

_Contrast = prepare.Contrast  # by its module it could not be named below a field of the same name
_PROBES = ((48, 48), (31, 40), (300, 260))  # (H, W): about as large as usual inputs, smaller and larger
_PROBE_TOLERANCE = 2  # grey levels: builds of OpenCV round differently


class PreprocessConfig(Record):
    """How an encoded image becomes a model's input."""

    height: int = Field(default=48, ge=8, le=1_024, description="pixels, after resizing")
    width: int = Field(default=48, ge=8, le=1_024, description="pixels, after resizing")
    blur_kernel: int = Field(
        default=3, ge=0, le=31, description="side of the Gaussian blur's kernel in pixels, odd; 0: no blur"
    )
    blur_sigma: float = Field(
        default=0.0, ge=0, le=10, description="of the Gaussian blur, in pixels; 0: chosen from the kernel's size"
    )
    contrast: _Contrast = Field(
        default="none",
        description="evened out after resizing: over the whole image (equalise), or within limits tile by tile (clahe)",
    )
    face: faces.CropMode = Field(
        default="whole",
        description="what is taken of an image: all of it, its largest face (crop), or that turned until the eyes are "
        "level (align); all of it where no face is found",
    )
    face_margin: float = Field(
        default=0.1, ge=0, le=1, description="around a face framed as FER2013's are, as a fraction of its side"
    )
    images_per_shard: int = Field(
        default=2_048, ge=1, le=4_096, description="at most; large images get fewer, 64 MiB of pixels a shard"
    )

    @field_validator("blur_kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value and value % 2 == 0:
            raise ValueError("must be odd, or 0 for no blur")
        return value


class Preprocessing(Record):
    """The content of `preprocessing.json`: how a model's input was made. `mean` and `std` are of 0-255 pixels."""

    config: PreprocessConfig
    classes: tuple[str, ...]
    height: int
    width: int
    mean: float = Field(allow_inf_nan=False)
    std: float = Field(allow_inf_nan=False)
    probe: tuple[int, ...] = Field(description="what `probe` gave when this was written")
    detector: str | None = Field(
        default=None, description="the detector of the faces that were cut out; null if none were"
    )

    def is_kept(self) -> bool:
        """Whether this code still prepares images as it did then, except for rounding."""
        if self.detector != detector(self.config):
            return False
        now = probe(self.config)
        return len(now) == len(self.probe) and max(map(abs, np.subtract(now, self.probe))) <= _PROBE_TOLERANCE

    def require_kept(self) -> None:
        """Raise IntegrityError unless this code still prepares images so."""
        if not self.is_kept():
            raise errors.IntegrityError(
                "Images must be prepared for a model as they were when it was trained.",
                received="other pixels from this version of the code than from that of the training",
                todo="use the version of this project that trained the model, or retrain",
            )


def detector(config: PreprocessConfig) -> str | None:
    """The detector of the faces that are cut out by this config; None if none are."""
    return None if config.face == "whole" else faces.DETECTOR


def probe(config: PreprocessConfig) -> tuple[int, ...]:
    """Some pixels of generated images after preprocessing: what tells one preprocessing code from another."""
    sampled: list[int] = []
    for height, width in _PROBES:
        rows, columns = np.mgrid[:height, :width]
        pattern = ((rows * 5) ^ (columns * 3)).astype(np.uint8)
        prepared = prepare_encoded(encode.png(pattern), config)
        sampled += prepared[:: max(1, config.height // 8), :: max(1, config.width // 8)].ravel().tolist()
    return tuple(sampled)


def load_record(folder: Path) -> Preprocessing:
    """Read `preprocessing.json` from a folder of shards or of a model. Raises IntegrityError."""
    path = folder / files.PREPROCESSING
    try:
        return Preprocessing.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise errors.IntegrityError(
            f"{files.PREPROCESSING} must be readable by this version of the project.",
            received=f"{' '.join(map(str, (path, *first['loc'])))}: {first['msg']}",
            todo="use the version of this project that made it, or retrain under another name: --name NAME",
        ) from error


def prepare_encoded(data: bytes, config: PreprocessConfig, out: np.ndarray | None = None) -> np.ndarray:
    """Encoded image to a model's input, (H, W) uint8, in `out` if it is given: for training and prediction alike.

    Raises decode.UndecodableImage.
    """
    return prepare_pixels(faces.crop_largest(decode.decode(data), config.face, config.face_margin), config, out)


def prepare_pixels(image: np.ndarray, config: PreprocessConfig, out: np.ndarray | None = None) -> np.ndarray:
    """The part taken of an image, grey (H, W) uint8, to a model's input, (H, W) uint8, in `out` if it is given."""
    return prepare.prepare(
        image, config.height, config.width, config.blur_kernel, config.blur_sigma, config.contrast, out
    )
