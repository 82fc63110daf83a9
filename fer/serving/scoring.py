"""A release's model, run: by its export in this process, or by Keras in one of its own where there is no export."""

import contextlib
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from data_contracts import files
from fer import errors, limits
from fer.engine.processes import process_pool
from fer.exports import serving
from fer.progress import Progress

if TYPE_CHECKING:
    import onnxruntime

_TIMEOUT_S = 3_600.0
_MOST_AT_ONCE = 256
_PIXELS_AT_ONCE = 2**20


class Scorer(Protocol):
    """What runs a model."""

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(N, classes) float32, before calibration, of (N, H, W) uint8 prepared pixels. Raises IntegrityError."""


class OnnxScorer:
    """A model's export `model.onnx`, run by onnxruntime. May be used by several threads at once."""

    def __init__(self, folder: Path, shape: tuple[int, int], n_classes: int, sha256: str | None, threads: int = 0):
        """Load it from `folder`; its inputs have `shape`, height and width.

        `sha256` is that of its bytes, None if nobody says so. `threads` that it computes in; 0: as many as there are
        cores. Raises IntegrityError for other bytes, and for what is no such model.
        """
        import onnxruntime

        path = folder / serving.ONNX
        most = limits.current().model_bytes
        if path.stat().st_size > most:
            raise errors.IntegrityError(
                f"A model's file must have at most {most:,} bytes.",
                received=f"{path.stat().st_size:,} at {path}",
                todo=limits.to_raise("model_bytes"),
            )
        model = path.read_bytes()
        if sha256 is not None and hashlib.sha256(model).hexdigest() != sha256:
            raise altered(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or process_pool.usable_cores()  # a container's quota may be less
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # else idle threads take a core
        options.log_severity_level = 4
        with _as_integrity_error(path):
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = _require_form(self._session, (*shape, 1), n_classes, path)
        self._path = path
        self._batch_size = max(1, min(_MOST_AT_ONCE, _PIXELS_AT_ONCE // (shape[0] * shape[1])))

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(N, classes) float32, before calibration, of (N, H, W) uint8 prepared pixels. Raises IntegrityError."""
        batches = []
        for start in range(0, len(pixels), self._batch_size):
            batch = pixels[start : start + self._batch_size, ..., np.newaxis].astype(np.float32)
            with _as_integrity_error(self._path):
                batches.append(self._session.run(None, {self._input: batch})[0])
        return _finite(np.concatenate(batches), self._path)


class KerasScorer:
    """A release from before there were exports: Keras scores in a process of its own, which takes seconds a call."""

    def __init__(self, folder: Path):
        self._folder = folder

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(N, classes) float32, before calibration, of (N, H, W) uint8 prepared pixels.

        Raises IntegrityError if the model can't be loaded in safe mode, TrainingError if its process fails.
        """
        from fer.engine.processes import child_process
        from fer.evaluation import scoring_process

        with tempfile.TemporaryDirectory() as temporary:
            there = Path(temporary) / "pixels.npy"
            np.save(there, pixels[..., np.newaxis], allow_pickle=False)
            job = scoring_process.job("Prediction", _TIMEOUT_S, if_too_slow="give it fewer pictures at a time")
            arguments = {"model_folder": str(self._folder.resolve()), "pixels": str(there)}
            rows: list[list[float]] = child_process.run(score_by_keras, arguments, job)
        return _finite(np.array(rows, np.float32), self._folder / files.MODEL)


def score_by_keras(model_folder: str, pixels: str, *, progress: Progress) -> list[list[float]]:
    """The worker's side: the probabilities of the (N, H, W, 1) uint8 array in the file `pixels`."""
    from fer.models import saved_model

    model = saved_model.load(Path(model_folder))
    images = np.load(pixels, allow_pickle=False)
    saved_model.require_size(model, images)
    at_once = max(1, min(len(images), saved_model.batch_size(images)))
    rows: list[list[float]] = saved_model.probabilities(model, images, at_once, progress).astype(float).tolist()
    return rows


def altered(path: Path) -> errors.IntegrityError:
    """The error of a file that is not as it was released."""
    return errors.IntegrityError(
        f"{path.name} must be the one that was released.",
        received=f"other bytes at {path}",
        todo="remove the folder, then fetch or export the model again",
    )


def _require_form(
    session: "onnxruntime.InferenceSession", shape: tuple[int, int, int], n_classes: int, path: Path
) -> str:
    """The name of the input. Raises IntegrityError unless images of `shape` become probabilities of the classes."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    forms = [(list(one.shape[1:]), one.type) for one in (*inputs, *outputs)]
    expected = [(list(shape), "tensor(float)"), ([n_classes], "tensor(float)")]
    if forms != expected or isinstance(inputs[0].shape[0], int):
        raise errors.IntegrityError(
            f"{path.name} must make {n_classes} probabilities of any number of images of {shape[0]}x{shape[1]}.",
            received=f"{json.dumps(forms, default=str)[:200]} in {path}",
            todo="fetch or export the model again",
        )
    return str(inputs[0].name)


def _finite(probabilities: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(probabilities).all():
        raise errors.IntegrityError(
            "A model's probabilities must be finite numbers.", received=f"others from {path}", todo="train it again"
        )
    return probabilities


@contextlib.contextmanager
def _as_integrity_error(path: Path) -> Any:
    """Raise IntegrityError for what onnxruntime raises for a model that it can't load or run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    try:
        yield
    except (raised.Fail, raised.InvalidArgument, raised.InvalidGraph, raised.InvalidProtobuf, raised.NotImplemented,
            raised.RuntimeException, raised.NoModel) as error:  # fmt: skip
        raise errors.IntegrityError(
            f"{path.name} must be a model that onnxruntime runs.",
            received=f"{type(error).__name__} at {path}",
            todo="remove the folder, then fetch or export the model again",
        ) from error
