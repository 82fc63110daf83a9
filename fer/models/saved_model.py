"""A trained model's folder: `model.keras`; `preprocessing.json`, what its input went through; `history.json`, one list
per measurement with a value per epoch; and `training.json`, what the training took and on which machine."""

import contextlib
import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_contracts import files
from fer import errors, plain_text
from fer.models import model_file
from fer.progress import Progress, silent

if TYPE_CHECKING:
    import keras

HISTORY = "history.json"
ABOUT = "training.json"
# What Keras, HDF5 and zipfile raise on a file with a flipped bit or a missing part.
_DAMAGE_ERRORS = (
    ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError, EOFError, zipfile.BadZipFile, zlib.error
)  # fmt: skip


def load(folder: Path) -> "keras.Model":
    """Load the model in Keras's safe mode, which runs no code from the file.

    Raises IntegrityError, also for a model beyond the limits, which is told before it is built, and for weights that
    are not finite.
    """
    import keras

    path = folder / files.MODEL
    must = f"{files.MODEL} must be a whole Keras model of Keras's own layers."
    with damage_as_error(path, must, todo="remove the folder, then fetch or train the model again"):
        contents = model_file.read(path)
        model_file.require_layers(contents, path)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    for layer in model.layers:
        require_finite(layer.get_weights(), f"the layer {plain_text.visible(layer.name[:80])!r} of {path}")
    return model


def require_finite(weights: Iterable[np.ndarray], where: str) -> None:
    """Raise IntegrityError for a weight that is no finite number; `where` it is, for the message."""
    for array in weights:
        if not np.isfinite(array).all():
            raise errors.IntegrityError(
                "A model's weights must be finite numbers.",
                received=f"{int((~np.isfinite(array)).sum()):,} of {array.size:,} that are not, in {where}",
                todo="take other weights, or train the model again",
            )


def require_size(model: "keras.Model", pixels: np.ndarray) -> None:
    """Raise ConfigError unless (N, H, W) or (N, H, W, 1) `pixels` have the size that the model takes."""
    if tuple(model.input_shape[1:3]) != pixels.shape[1:3]:
        raise errors.ConfigError(
            "A model must be scored on images of its own size.",
            received=f"a model of {model.input_shape[1:3]}, images of {pixels.shape[1:3]}",
            todo="preprocess the images as the model's preprocessing.json says",
        )


def environment(folder: Path) -> dict[str, str]:
    """Where the model in `folder` was trained: interpreter, libraries, variables, machine, threads, precision."""
    try:
        return dict(json.loads((folder / ABOUT).read_bytes())["environment"])
    except FileNotFoundError:
        return {}


@contextlib.contextmanager
def damage_as_error(path: Path, must: str, *, todo: str) -> Iterator[None]:
    """Raise IntegrityError for what reading a damaged file raises; a lack of memory is raised as it is."""
    try:
        yield
    except _DAMAGE_ERRORS as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # of JAX, whose errors are RuntimeErrors
            raise
        raise errors.IntegrityError(must, received=f"{type(error).__name__} on loading {path}", todo=todo) from error


def batch_size(pixels: np.ndarray) -> int:
    """How many of (N, H, W, 1) `pixels` are scored in one batch."""
    return model_file.images_at_once(pixels.shape[1], pixels.shape[2])


def probabilities(model: "keras.Model", pixels: np.ndarray, batch_size: int, progress: Progress = silent) -> np.ndarray:
    """The model's (N, classes) float32 probabilities of (N, H, W, 1) uint8 pixels.

    Raises IntegrityError for what is no finite number: the most probable class of it would be the first.
    """
    scores = outputs(model, pixels, batch_size, progress)
    if not np.isfinite(scores).all():
        raise errors.IntegrityError(
            "A model's probabilities must be finite numbers.",
            received=f"others for {int((~np.isfinite(scores)).any(axis=1).sum()):,} of {len(scores):,} images",
            todo="take another model, or train it again",
        )
    return scores


def outputs(model: "keras.Model", pixels: np.ndarray, batch_size: int, progress: Progress = silent) -> np.ndarray:
    """What the model says of the pixels, as `probabilities`, whatever it is: of a model in training."""
    scores = np.empty((len(pixels), model.output_shape[-1]), np.float32)
    for start in range(0, len(pixels), batch_size):
        batch = pixels[start : start + batch_size]
        # Short batches are padded: another shape would be compiled again.
        padded = np.concatenate([batch, np.zeros((batch_size - len(batch), *batch.shape[1:]), batch.dtype)])
        scores[start : start + len(batch)] = model.predict_on_batch(padded)[: len(batch)]
        progress(start + len(batch), len(pixels), "images scored")
    return scores


def digest(model: "keras.Model", preprocessing: bytes) -> str:
    """SHA-256 (hex) of the weights and of `preprocessing`, the bytes of `preprocessing.json`, which has the classes.

    Not of the file, which holds the time at which it was saved.
    """
    content = hashlib.sha256(preprocessing)
    for weights in model.get_weights():
        content.update(f"{weights.dtype.str}{weights.shape}".encode() + np.ascontiguousarray(weights).tobytes())
    return content.hexdigest()
