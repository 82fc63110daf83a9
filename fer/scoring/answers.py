"""A release that answers in this process: what is shown to it of a picture, and what it says.

By its ONNX export, on one thread, where the release has one; by Keras where it was made before there were exports.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from data_contracts import files
from fer import errors
from fer.evaluation.calibration import calibrator
from fer.images import decode, faces
from fer.models import saved_model
from fer.shards import preprocessing

ONNX = "model.onnx"
Model = Callable[[np.ndarray], np.ndarray]  # (N, H, W) uint8 -> (N, classes) float32, not calibrated


class Shown(NamedTuple):
    """What a model is shown of a picture: `pixels` (H, W) uint8; `box` and `score` of the face where one was found."""

    pixels: np.ndarray
    taken: Literal["face", "whole"]
    box: tuple[int, int, int, int] | None = None
    score: float | None = None


class Said(NamedTuple):
    """What is said of N inputs: calibrated (N, classes) float32; (N, classes) bool, the sets, None without any."""

    probabilities: np.ndarray
    sets: np.ndarray | None


class Answers:
    """A release in a folder as the registry leaves it. Raises IntegrityError for one that can't be used."""

    def __init__(self, folder: Path, model_file: str, sha256: str, calibration: calibrator.Calibration | None):
        self.record = preprocessing.load_record(folder)
        self.record.require_kept()
        self.calibration = calibration
        self._model = _onnx(folder / model_file, sha256) if model_file == ONNX else _keras(folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.record.classes

    def shown(self, data: bytes, *, whole: bool) -> list[Shown]:
        """What of an encoded picture is shown to the model: each face, or all of it. Raises decode.UndecodableImage."""
        image = decode.decode(data)
        config = self.record.config
        if whole:
            return [Shown(preprocessing.prepare_pixels(image, config), "whole")]
        detected = faces.find(image)
        return [_face(image, face, config, alone=len(detected) == 1) for face in detected]

    def say(self, pixels: Sequence[np.ndarray]) -> Said:
        """What the release says of inputs as `shown` makes them."""
        shape = (len(pixels), self.record.height, self.record.width)
        probabilities = self._model(np.reshape(pixels, shape).astype(np.uint8))
        if self.calibration is None:
            return Said(probabilities, None)
        probabilities = self.calibration.probabilities(probabilities)
        has_sets = bool(self.calibration.sets)
        return Said(probabilities, self.calibration.sets_of(probabilities, self.classes) if has_sets else None)


@functools.lru_cache(maxsize=1)
def opened(folder: Path, model_file: str, sha256: str, calibration: Path | None) -> Answers:
    """A release, once in a process. `calibration` is the folder with its `calibration.json`, if it has one."""
    return Answers(folder, model_file, sha256, None if calibration is None else calibrator.load(calibration))


def _face(image: np.ndarray, face: faces.Face, config: preprocessing.PreprocessConfig, *, alone: bool) -> Shown:
    """A face framed as the training's images were; a picture that is a crop already, all of it."""
    (x, y), (width, height) = face.points[:2].tolist()
    box = (round(x - width / 2), round(y - height / 2), round(width), round(height))
    if config.face == "whole" and alone and faces.is_crop(image, face):
        return Shown(preprocessing.prepare_pixels(image, config), "whole", box, face.score)
    if config.face == "whole":
        taken = faces.crop(image, face, "crop", 0.0)
    else:
        taken = faces.crop(image, face, config.face, config.face_margin)
    return Shown(preprocessing.prepare_pixels(taken, config), "face", box, face.score)


def _onnx(path: Path, sha256: str) -> Model:
    import onnxruntime

    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise errors.IntegrityError(
            f"A release's {ONNX} must be the one that its manifest names.",
            received=f"another one at {path}",
            todo="run the same command again, which fetches it anew",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # one process works on each core
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def scores(pixels: np.ndarray) -> np.ndarray:
        (found,) = session.run(None, {name: pixels[..., np.newaxis].astype(np.float32)})
        return _finite(np.asarray(found, np.float32), path)

    return scores


def _keras(folder: Path) -> Model:
    model = saved_model.load(folder)

    def scores(pixels: np.ndarray) -> np.ndarray:
        inputs = pixels[..., np.newaxis]
        return saved_model.probabilities(model, inputs, saved_model.batch_size(inputs))

    return scores


def _finite(scores: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise errors.IntegrityError(
            "A model's probabilities must be finite numbers.",
            received=f"others from {path}",
            todo="take another model, or train it again",
        )
    return scores


def model_file_of(released: Sequence[str]) -> str:
    """Which of a release's files answers."""
    return ONNX if ONNX in released else files.MODEL
