"""Prediction: what a model says about the faces in image files.

A model knows faces framed as its training images were, so a picture's faces are looked for, and each is cut out as the
training's images were: by `preprocess.face=crop` or `align` again; for a model that was trained on whole images, which
are crops such as FER2013's, framed as those are. What is such a crop already is taken whole by the latter.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from fer import errors
from fer.engine import arithmetic, child_process
from fer.images import decode, faces
from fer.models import saved_model
from fer.progress import Progress, silent
from fer.shards import preprocessing

_TIMEOUT_S = 3_600.0
NO_FACE = "no face found; --whole takes all of the picture for one"


class Prediction(BaseModel):
    """What a model says about one face of a file: a label and the probability of each class, or why there is none.

    `box` is what the detector found: left, upper, width and height in pixels of the upright picture, and `score` (0-1)
    how sure it was; both null if it was not asked. `taken`: what the model saw.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    label: str | None = None
    probabilities: dict[str, float] = {}
    error: str | None = None
    taken: Literal["face", "whole"] | None = None
    box: tuple[int, int, int, int] | None = None
    score: float | None = None
    note: str | None = None


class Input(NamedTuple):
    """What is shown to a model: `pixels` (H, W) uint8, and the prediction as far as it can be made without one."""

    pixels: np.ndarray
    known: Prediction


def predict(
    model_folder: Path, paths: Sequence[Path], *, whole: bool = False, progress: Progress = silent
) -> list[Prediction]:
    """Predict the emotion of each face in each image file, in a child process, by a folder as `train` or the registry
    leaves it.

    `whole`: of all of the image, whatever is in it. The faces of one file stand together, the largest first.
    Raises IntegrityError if the model can't be loaded in safe mode. A file that can't be read, or shows no face, gets
    an `error`.
    """
    arguments = {
        "model_folder": str(model_folder.resolve()),
        "paths": [str(path) for path in paths],
        "whole": whole,
    }
    found = child_process.run(
        predict_files,
        arguments,
        child_process.Job(
            "Prediction",
            timeout_s=_TIMEOUT_S,
            if_too_slow="give it fewer files at a time",
            threads=arithmetic.SCORING_THREADS,
        ),
        progress=progress,
    )
    return [Prediction.model_validate(each) for each in found]


def predict_files(model_folder: str, paths: list[str], whole: bool, *, progress: Progress) -> list[dict[str, Any]]:
    """The child's work: the predictions as JSON can say them."""
    folder = Path(model_folder)
    record = preprocessing.load_record(folder)
    if not record.is_kept():
        raise errors.IntegrityError(
            "Images must be prepared for a model as they were when it was trained.",
            received="other pixels from this version of the code than from that of the training",
            todo="predict with the version of this project that trained the model, or retrain",
        )
    model = saved_model.load(folder)
    found: list[Prediction] = []
    shape = (record.height, record.width, 1)
    at_once = max(1, min(len(paths), saved_model.batch_size(np.empty((0, *shape)))))
    for start in range(0, len(paths), at_once):
        here = paths[start : start + at_once]
        read = [each for path in here for each in read_inputs(Path(path), record.config, whole=whole)]
        pixels = [each.pixels for each in read if isinstance(each, Input)]
        stacked = np.reshape(pixels, (len(pixels), *shape)).astype(np.uint8)
        rows = iter(saved_model.probabilities(model, stacked, at_once))
        found += [each if isinstance(each, Prediction) else _said(each.known, next(rows), record) for each in read]
        progress(start + len(here), len(paths), "images")
    return [each.model_dump(mode="json") for each in found]


def read_inputs(path: Path, config: preprocessing.PreprocessConfig, *, whole: bool) -> list[Input | Prediction]:
    """What a model is shown of a file, a face each; or the one prediction that says why it is shown nothing."""
    try:
        image = decode.decode(path.read_bytes())
    except decode.UndecodableImage as error:
        return [Prediction(path=path, error=str(error))]
    except OSError as error:
        return [Prediction(path=path, error=error.strerror or str(error))]
    if whole:
        known = Prediction(path=path, taken="whole", note="all of it, as asked")
        return [Input(preprocessing.prepare_pixels(image, config), known)]
    found = faces.find(image)
    if not found:
        return [Prediction(path=path, error=NO_FACE)]
    return [_input(path, image, found, at, config) for at in range(len(found))]


def _input(
    path: Path, image: np.ndarray, found: list[faces.Face], at: int, config: preprocessing.PreprocessConfig
) -> Input:
    face = found[at]
    (x, y), (width, height) = face.points[:2].tolist()
    box = (round(x - width / 2), round(y - height / 2), round(width), round(height))
    note = f"face {at + 1} of {len(found)}" if len(found) > 1 else "the face"
    if config.face != "whole":
        taken = faces.crop(image, face, config.face, config.face_margin)
    elif len(found) == 1 and faces.is_crop(image, face):
        known = Prediction(path=path, taken="whole", box=box, score=face.score, note="all of it: a crop already")
        return Input(preprocessing.prepare_pixels(image, config), known)
    else:
        taken = faces.crop(image, face, "crop", 0.0)
    known = Prediction(path=path, taken="face", box=box, score=face.score, note=note)
    return Input(preprocessing.prepare_pixels(taken, config), known)


def _said(known: Prediction, probabilities: np.ndarray, record: preprocessing.Preprocessing) -> Prediction:
    named = {name: float(value) for name, value in zip(record.classes, probabilities, strict=True)}
    return known.model_copy(update={"label": max(named, key=named.__getitem__), "probabilities": named})
