"""Prediction: what a model says about image files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from fer import arithmetic, child, errors, images, preprocess, trained
from fer.progress import Progress, silent

_TIMEOUT_S = 3_600.0


class Prediction(BaseModel):
    """What a model says about one file: a label and the probability of each class, or why it could not be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    label: str | None = None
    probabilities: dict[str, float] = {}
    error: str | None = None


def predict(model_folder: Path, paths: Sequence[Path], *, progress: Progress = silent) -> list[Prediction]:
    """Predict the emotion in each image file, in a child process, by a folder as `train` or the registry leaves it.

    Raises IntegrityError if the model can't be loaded in safe mode. A file that can't be read gets an `error`.
    """
    arguments = {"model_folder": str(model_folder.resolve()), "paths": [str(path) for path in paths]}
    found = child.run(
        predict_files,
        arguments,
        what="Prediction",
        threads=arithmetic.SCORING_THREADS,
        timeout_s=_TIMEOUT_S,
        progress=progress,
        if_too_slow="give it fewer files at a time",
    )
    return [Prediction.model_validate(each) for each in found]


def predict_files(model_folder: str, paths: list[str], *, progress: Progress) -> list[dict[str, Any]]:
    """The child's work: the predictions as JSON can say them."""
    folder = Path(model_folder)
    record = preprocess.load_record(folder)
    if not record.is_kept():
        raise errors.IntegrityError(
            "Images must be prepared for a model as they were when it was trained.",
            received="other pixels from this version of the code than from that of the training",
            todo="predict with the version of this project that trained the model, or retrain",
        )
    model = trained.load(folder)
    found: list[Prediction] = []
    shape = (record.height, record.width, 1)
    at_once = max(1, min(len(paths), trained.batch_size(np.empty((0, *shape)))))
    for start in range(0, len(paths), at_once):
        here = [Path(path) for path in paths[start : start + at_once]]
        read = [read_pixels(path, record.config) for path in here]
        pixels = [each for each in read if isinstance(each, np.ndarray)]
        stacked = np.reshape(pixels, (len(pixels), *shape)).astype(np.uint8)
        rows = iter(trained.probabilities(model, stacked, at_once))
        for path, each in zip(here, read, strict=True):
            found.append(
                Prediction(path=path, error=each) if isinstance(each, str) else _said(path, next(rows), record)
            )
        progress(len(found), len(paths), "images")
    return [each.model_dump(mode="json") for each in found]


def read_pixels(path: Path, config: preprocess.PreprocessConfig) -> np.ndarray | str:
    """The model's input (H, W) uint8, or why there is none."""
    try:
        return preprocess.prepare_encoded(path.read_bytes(), config)
    except images.UndecodableImage as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def _said(path: Path, probabilities: np.ndarray, record: preprocess.Preprocessing) -> Prediction:
    named = {name: float(value) for name, value in zip(record.classes, probabilities, strict=True)}
    return Prediction(path=path, label=max(named, key=named.__getitem__), probabilities=named)
