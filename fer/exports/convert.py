"""The worker's side of an export: a model converted once for all formats, and each file asked about the test images."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fer import errors
from fer.engine import disk
from fer.evaluation import predictions, unlikeness
from fer.exports import litert_file, onnx_file, serving
from fer.exports.config import ExportConfig
from fer.exports.fidelity import Tally
from fer.models import model_file, saved_model, validation
from fer.progress import Progress
from fer.shards import selection

if TYPE_CHECKING:
    import keras

_MOST_CHARS = 300  # of what a converter says of what it can't do


class Reference(NamedTuple):
    """What Keras said of N images of a split: by image id the row of `truth` (N,), class indexes, and of
    `probabilities` (N, classes), both in the models' order of the classes."""

    rows: dict[str, int]
    truth: np.ndarray
    probabilities: np.ndarray


def convert(
    model_folder: str,
    model_classes: list[str],
    shards_folder: str,
    config: dict[str, Any],
    split_name: str,
    recorded: str | None,
    out: str,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Write the model of a folder to `out` in the forms that `config` asks for, and ask each about the images of a
    split. `recorded` are predictions of these by Keras; None: they are those of validation beside the model.

    `faults` says why a format can't be had, by format; `tallies` has a `Tally` by file; `unlikeness` is an `Unlikeness`
    by the shards' train and validation images, None without any of these. What is in 8 bits is so by train images of
    the shards folder, and by no others.
    """
    _on_tensorflow()
    settings = ExportConfig.model_validate(config)
    folder, shards = Path(out), Path(shards_folder)
    model = saved_model.load(Path(model_folder))
    height, width = model.input_shape[1:3]
    at_once = model_file.images_at_once(height, width)
    pixels = _of_train(shards, settings, at_once) if settings.int8 else None
    traced, spec = _traced(model)
    faults: dict[str, str] = {}
    n_steps = len(settings.formats) + 2
    for number, kind in enumerate(settings.formats, start=1):
        try:
            made = _onnx(traced, spec, pixels) if kind == "onnx" else _litert(traced, pixels)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # of what they can't convert converters raise a dozen types
            if type(error).__name__ == "ResourceExhaustedError":
                raise
            faults[kind] = f"{type(error).__name__}: {error}".splitlines()[0][:_MOST_CHARS]
        else:
            for name, content in made.items():
                disk.write(folder / name, content)
        progress(number, n_steps, "formats")
    files = [name for name in serving.MODELS if (folder / name).is_file()]
    reference = _recorded(Path(recorded), model_classes) if recorded else _validation(Path(model_folder), model_classes)
    tallies = _tallies(folder, files, reference, shards, split_name, at_once)
    progress(n_steps - 1, n_steps, "formats")
    fitted = _unlikeness(shards, at_once)
    progress(n_steps, n_steps, "formats")
    return {
        "faults": faults,
        "tallies": {name: tally.model_dump() for name, tally in tallies.items()},
        "unlikeness": None if fitted is None else fitted.model_dump(mode="json"),
    }


def _on_tensorflow() -> None:
    """Let Keras, if it is not imported yet, run on TensorFlow, whose functions are what is converted."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"


def _of_train(shards: Path, config: ExportConfig, at_once: int) -> np.ndarray:
    """(N, H, W, 1) float32 of the train images that the seed and their ids choose."""
    chosen = selection.choose(selection.image_ids(shards, "train"), config.calibration_images, config.seed)
    parts = [batch.pixels for batch in selection.batches(shards, "train", chosen, at_once)]
    return np.concatenate(parts).astype(np.float32)[..., np.newaxis]


def _unlikeness(shards: Path, at_once: int) -> unlikeness.Unlikeness | None:
    """What tells a picture that is unlike the train images; None without any, or without validation images."""
    some = []
    for split, most in (("train", unlikeness.TRAIN_IMAGES), ("validation", unlikeness.VALIDATION_IMAGES)):
        chosen = selection.choose(selection.image_ids(shards, split), most, 0)
        if not chosen:
            return None
        some.append(np.concatenate([batch.pixels for batch in selection.batches(shards, split, chosen, at_once)]))
    return unlikeness.fit(*some)


def _traced(model: "keras.Model") -> tuple[Any, Any]:
    """The model's answers as a `tf.function`, and the `tf.TensorSpec` of its input."""
    import tensorflow as tf

    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=onnx_file.INPUT)
    return tf.function(lambda pixels: model(pixels, training=False), input_signature=[spec]), spec


def _onnx(traced: Any, spec: Any, pixels: np.ndarray | None) -> dict[str, bytes]:
    whole = onnx_file.converted(traced, spec)
    made = {serving.ONNX: whole.SerializeToString(deterministic=True)}
    if pixels is not None:
        made[serving.ONNX_INT8] = onnx_file.quantised(whole, pixels).SerializeToString(deterministic=True)
    return made


def _litert(traced: Any, pixels: np.ndarray | None) -> dict[str, bytes]:
    function = litert_file.frozen(traced)
    made = {serving.LITERT: litert_file.converted(function)}
    if pixels is not None:
        made[serving.LITERT_INT8] = litert_file.converted(function, pixels)
    return made


def _recorded(path: Path, classes: list[str]) -> Reference:
    rows = predictions.read(path)
    order = [rows.classes.index(name) for name in classes]
    own = np.array([classes.index(name) for name in rows.classes])
    places = {image_id: row for row, image_id in enumerate(rows.image_ids)}
    return Reference(places, own[rows.class_indexes], rows.probabilities[:, order])


def _validation(model_folder: Path, classes: list[str]) -> Reference:
    outputs = validation.read(model_folder, len(classes))
    places = {image_id: row for row, image_id in enumerate(outputs.image_ids)}
    return Reference(places, outputs.class_indexes, outputs.probabilities)


def _tallies(
    folder: Path, files: list[str], reference: Reference, shards: Path, split_name: str, at_once: int
) -> dict[str, Tally]:
    """What each file says of the split's images beside what Keras said of them. Raises IntegrityError if some lack."""
    asked = {name: (onnx_file if name in serving.OF_ONNX else litert_file).opened(folder / name) for name in files}
    tallies, n_asked = {name: Tally() for name in files}, 0
    for batch in selection.batches(shards, split_name, reference.rows, at_once):
        rows = [reference.rows[image_id] for image_id in batch.image_ids]
        truth, expected = reference.truth[rows], reference.probabilities[rows]
        pixels = batch.pixels.astype(np.float32)[..., np.newaxis]
        for name, answers in asked.items():
            tallies[name] = tallies[name].with_batch(truth, expected, answers(pixels))
        n_asked += len(rows)
    if not 0 < n_asked == len(reference.rows):
        raise errors.IntegrityError(
            f"An export must be asked about all {split_name} images that Keras was asked about, and some at least.",
            received=f"{n_asked:,} of {len(reference.rows):,} in {shards}",
            todo="run the same command again; or leave exports out: --set 'export.formats=[]'",
        )
    return tallies
