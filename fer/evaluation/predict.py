"""Prediction: the emotions of the faces in image files, by a model.

A model knows faces framed as its training images were, so a picture's faces are looked for, and each is cut out as the
training's images were: by `preprocess.face=crop` or `align` again; for a model that was trained on whole images, which
are crops such as FER2013's, framed as those are. What is such a crop already is taken whole by the latter.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from fer.engine.processes import child_process
from fer.engine.records import Record
from fer.evaluation import scoring_process
from fer.evaluation.calibration import calibrator
from fer.images import decode, faces
from fer.images import limits as image_limits
from fer.models import saved_model
from fer.progress import Progress, silent
from fer.shards import preprocessing

_TIMEOUT_S = 3_600.0
NO_FACE = "no face found; --whole takes all of the picture for one"


class Prediction(Record):
    """The prediction for one face of a file: a label and the probability of each class, or why there is none.

    `box` is the detected face: left, upper, width and height in pixels of the upright picture, and `score` (0-1) the
    detector's confidence; both null if it was not run. `taken`: what the model was shown. `set`: classes among which
    the true one is in a share of `coverage` of such images as the model was validated on, the most probable first; with
    more than one the model is `unsure`. All three are null for a release without a calibration.
    """

    path: Path
    label: str | None = None
    probabilities: dict[str, float] = Field(default={})
    error: str | None = None
    taken: Literal["face", "whole"] | None = None
    box: tuple[int, int, int, int] | None = None
    score: float | None = None
    note: str | None = None
    set: tuple[str, ...] | None = None
    coverage: float | None = None
    unsure: bool | None = None


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
    records = child_process.run(
        predict_files,
        arguments,
        scoring_process.job("Prediction", _TIMEOUT_S, if_too_slow="give it fewer files at a time"),
        progress=progress,
    )
    return [Prediction.model_validate(record) for record in records]


def predict_files(model_folder: str, paths: list[str], whole: bool, *, progress: Progress) -> list[dict[str, Any]]:
    """The worker's side: the predictions in JSON's types."""
    folder = Path(model_folder)
    record = preprocessing.load_record(folder)
    record.require_kept()
    calibration = calibrator.load(folder)
    model = saved_model.load(folder)
    predicted: list[Prediction] = []
    shape = (record.height, record.width, 1)
    batch_size = max(1, min(len(paths), saved_model.batch_size(np.empty((0, *shape)))))
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        inputs = [item for path in batch for item in read_inputs(Path(path), record.config, whole=whole)]
        pixels = [item.pixels for item in inputs if isinstance(item, Input)]
        stacked = np.reshape(pixels, (len(pixels), *shape)).astype(np.uint8)
        labelled = iter(
            _labelled(
                [item.known for item in inputs if isinstance(item, Input)],
                saved_model.probabilities(model, stacked, batch_size),
                record.classes,
                calibration,
            )
        )
        predicted += [item if isinstance(item, Prediction) else next(labelled) for item in inputs]
        progress(start + len(batch), len(paths), "images")
    return [prediction.model_dump(mode="json") for prediction in predicted]


def read_inputs(path: Path, config: preprocessing.PreprocessConfig, *, whole: bool) -> list[Input | Prediction]:
    """What a model is shown of a file, one input per face; or the one prediction that says why it is shown nothing."""
    try:
        image = decode.decode(_bytes(path))
    except decode.UndecodableImage as error:
        return [Prediction(path=path, error=str(error))]
    except OSError as error:
        return [Prediction(path=path, error=error.strerror or str(error))]
    if whole:
        known = Prediction(path=path, taken="whole", note="all of it, as asked")
        return [Input(preprocessing.prepare_pixels(image, config), known)]
    detected = faces.find(image)
    if not detected:
        return [Prediction(path=path, error=NO_FACE)]
    return [_input(path, image, detected, index, config) for index in range(len(detected))]


def _bytes(path: Path) -> bytes:
    """The file's content. Raises UndecodableImage for what is no file or beyond the limit, OSError."""
    limit = image_limits.current().bytes
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise decode.UndecodableImage("no file but a pipe, a device or a folder")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise decode.UndecodableImage(f"too large to be read: over {limit:,} bytes")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe would be waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _input(
    path: Path, image: np.ndarray, detected: list[faces.Face], index: int, config: preprocessing.PreprocessConfig
) -> Input:
    face = detected[index]
    (x, y), (width, height) = face.points[:2].tolist()
    box = (round(x - width / 2), round(y - height / 2), round(width), round(height))
    note = f"face {index + 1} of {len(detected)}" if len(detected) > 1 else "the face"
    if config.face != "whole":
        taken = faces.crop(image, face, config.face, config.face_margin)
    elif len(detected) == 1 and faces.is_crop(image, face):
        known = Prediction(path=path, taken="whole", box=box, score=face.score, note="all of it: a crop already")
        return Input(preprocessing.prepare_pixels(image, config), known)
    else:
        taken = faces.crop(image, face, "crop", 0.0)
    known = Prediction(path=path, taken="face", box=box, score=face.score, note=note)
    return Input(preprocessing.prepare_pixels(taken, config), known)


def _labelled(
    known: Sequence[Prediction],
    probabilities: np.ndarray,
    classes: tuple[str, ...],
    calibration: calibrator.Calibration | None,
) -> list[Prediction]:
    """The predictions by (N, classes) probabilities, calibrated where the model has a calibration."""
    has_sets = calibration is not None and bool(calibration.sets)
    if calibration is not None:
        probabilities = calibration.probabilities(probabilities)
    predictions = []
    for index, (prediction, row) in enumerate(zip(known, probabilities, strict=True)):
        named = {name: float(value) for name, value in zip(classes, row, strict=True)}
        update: dict[str, Any] = {"label": max(named, key=named.__getitem__), "probabilities": named}
        if calibration is not None and has_sets:
            (chosen,) = calibration.sets_of(probabilities[index : index + 1], classes)
            inside = [name for name, is_inside in zip(classes, chosen, strict=True) if is_inside]
            inside.sort(key=lambda name: -named[name])
            update |= {"set": tuple(inside), "coverage": calibration.coverage, "unsure": len(inside) > 1}
        predictions.append(prediction.model_copy(update=update))
    return predictions
