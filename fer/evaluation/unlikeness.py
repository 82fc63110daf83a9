"""Whether a picture is unlike what a model was trained on, so that its answer means little.

Two figures of a prepared image tell. The *residual*: what the principal components of the training images leave of it,
once it is small and of one contrast; it needs numpy alone, and is large for noise, for drawings where photographs were
learned, and the other way round. The *face score*: how sure the face detector is of the image as a whole; it is for
pictures in which no face was looked for, and is low for those that show none, even where these are as smooth as faces.
A picture is unlike the training if either is beyond what all but a few of the validation images have.
"""

import base64
import functools
import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from fer.engine.records import Record
from fer.images import faces, prepare

_SIDE = 24  # px: an expression is coarser; noise is not averaged away
_N_COMPONENTS = 24
_LEAST_CONTRAST = 4.0  # grey levels: of less, noise would be taken for a pattern
_BEYOND_RESIDUAL = 0.001  # of the validation images; with the other less than the 1 % that may be warned of
_BEYOND_SCORE = 0.006
TRAIN_IMAGES, VALIDATION_IMAGES = 4_096, 2_048  # the detector takes 6 ms for each of the latter
_FLOAT16 = np.dtype("<f2")


class Unlikeness(Record):
    """`mean` and `components` are little-endian float16 in base64: (side * side,) and (n_components, side * side).

    They are of images of `side` x `side` pixels of mean 0 and standard deviation 1. An image whose residual is above
    `max_residual`, or whose face score is below `min_face_score`, is unlike the training.
    """

    side: int = Field(default=_SIDE, ge=1, le=1_024)
    n_components: int = Field(ge=1, le=4_096)
    mean: str
    components: str
    max_residual: float = Field(ge=0, allow_inf_nan=False)
    min_face_score: float = Field(ge=0, le=1)
    n_train_images: int = Field(ge=1)
    n_validation_images: int = Field(ge=1)

    def residuals(self, images: np.ndarray) -> np.ndarray:
        """(N,) float32 of (N, H, W) uint8 prepared images: squares summed over what the components leave."""
        mean = _decoded(self.mean)
        components = _decoded(self.components).reshape(self.n_components, -1)
        return _residuals(_normalised(images, self.side) - mean, components)

    def is_unlike(self, images: np.ndarray, *, face_found: bool | Sequence[bool]) -> np.ndarray:
        """(N,) bool of (N, H, W) uint8 prepared images; `face_found`: the detector found what an image shows, for all
        or for each. Where it did not, or was not asked, the face score counts as well."""
        unlike = self.residuals(images) > self.max_residual
        for index in np.flatnonzero(~(unlike | np.asarray(face_found, bool))):
            unlike[index] = not faces.has_mean_score(images[index], self.min_face_score)
        return unlike


def fit(train: np.ndarray, validation: np.ndarray) -> Unlikeness:
    """What (N, H, W) uint8 prepared images of train have in common, and how far (M, H, W) of validation are from that.

    `TRAIN_IMAGES` and `VALIDATION_IMAGES` suffice.
    """
    normalised = _normalised(train, _SIDE)
    mean = normalised.mean(axis=0)
    centred = normalised - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    components = vectors[:, ::-1][:, : min(_N_COMPONENTS, len(train))].T
    mean, components = mean.astype(_FLOAT16), components.astype(_FLOAT16)
    residuals = _residuals(_normalised(validation, _SIDE) - mean.astype(np.float32), components.astype(np.float32))
    scores = np.array([faces.mean_score(image) for image in validation])
    return Unlikeness(
        n_components=len(components),
        mean=base64.b64encode(mean.tobytes()).decode(),
        components=base64.b64encode(np.ascontiguousarray(components).tobytes()).decode(),
        max_residual=float(f"{_highest(residuals, _BEYOND_RESIDUAL):.4g}"),  # rounding differs by machine
        min_face_score=round(1 - _highest(1 - scores, _BEYOND_SCORE), 4),
        n_train_images=len(train),
        n_validation_images=len(validation),
    )


def _normalised(images: np.ndarray, side: int) -> np.ndarray:
    """(N, side * side) float32 of (N, H, W) uint8: small, of mean 0 and, unless there is hardly any contrast, of
    standard deviation 1."""
    small = np.stack([prepare.prepare(image, side, side, 0, 0.0) for image in images]).reshape(len(images), -1)
    values = small.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return values / np.maximum(values.std(axis=1, keepdims=True), _LEAST_CONTRAST)


def _residuals(centred: np.ndarray, components: np.ndarray) -> np.ndarray:
    return np.asarray((centred**2).sum(axis=1) - ((centred @ components.T) ** 2).sum(axis=1), np.float32)


def _highest(values: np.ndarray, beyond: float) -> float:
    """The value that another image of the kind exceeds with a probability of at most `beyond`, or, of too few images
    to tell, the highest there is (the quantile of conformal prediction)."""
    rank = min(math.ceil((len(values) + 1) * (1 - beyond)), len(values))
    return float(np.sort(values)[rank - 1])


@functools.lru_cache(maxsize=16)
def _decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), _FLOAT16).astype(np.float32)
