"""What an answer costs: by a release's exports, beside Keras' `predict` in the same process, and from pixels to result.

The model is that of the recipe fer2013-mini-xception, with random weights, which take as long as others; the faces are
drawn by the project. FER_BENCH_MODEL names a Keras file of a mini-Xception that others trained, such as the `fer`
package's, whose `predict` is measured beside. All of a batch take turns. A wall of other work moves the durations, most
of all the 99th percentile; the processor time of a frame says more there.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import Row
from data_contracts import files
from fer.engine import disk
from fer.evaluation import unlikeness
from fer.exports import convert, serving
from fer.exports.config import ExportConfig
from fer.images import encode
from fer.ingest.demo import faces as demo_faces
from fer.models import validation, zoo
from fer.progress import silent
from fer.recipes import catalog
from fer.serving.predictor import Predictor
from fer.serving.video_predictor import VideoPredictor
from fer.shards import parquet, preprocessing

_RECIPE = "fer2013-mini-xception"
_BATCHES = {1: 200, 256: 12}  # rounds
_FRAMES, _FPS = 125, 25
_TIMES, _FACE_MS, _FRAMES_PER_S, _PHOTO_MS = 3.0, 3.0, 25.0, 1_000.0  # the bars


def run() -> Iterator[Row]:
    recipe = catalog.load(_RECIPE)
    config = recipe.preprocess
    draw = np.random.default_rng(0)
    drawn = [demo_faces.draw(demo_faces.CLASSES[number % 7], draw) for number in range(256)]
    pixels = np.stack([preprocessing.prepare_pixels(face, config) for face in drawn])
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        folder = Path(temporary)
        model = _release(folder, recipe, pixels)
        for batch, rounds in _BATCHES.items():
            calls = {"keras": _keras(model, pixels[:batch])}
            if foreign := os.environ.get("FER_BENCH_MODEL"):
                calls["keras, the model of FER_BENCH_MODEL"] = _keras(_loaded(Path(foreign)), pixels[:batch])
            calls |= _exports(folder, pixels[:batch])
            yield from _rows(calls, batch, rounds)
        yield from _end_to_end(Predictor.from_folder(folder), drawn[0])


def _release(folder: Path, recipe: Any, pixels: np.ndarray) -> Any:
    """The Keras model; beside it in `folder` all that a release has to predict by."""
    config, classes = recipe.preprocess, demo_faces.CLASSES
    shape = {"height": config.height, "width": config.width}
    model = zoo.build(recipe.train.model, **shape, n_classes=len(classes), mean=128.0, std=64.0)
    model.save(folder / files.MODEL)
    record = preprocessing.Preprocessing(
        config=config, classes=classes, **shape, mean=128.0, std=64.0, probe=preprocessing.probe(config),
        detector=preprocessing.detector(config),
    )  # fmt: skip
    (folder / files.PREPROCESSING).write_text(record.model_dump_json())
    ids = [f"{row:03}" for row in range(len(pixels))]
    labels = np.arange(len(pixels), dtype=np.int32) % len(classes)
    for split in ("train", "validation"):
        parquet.write(folder / parquet.name(split, 0), ids, labels, pixels, classes)
    answers = model.predict(pixels[..., np.newaxis], verbose=0)
    validation.write(folder, validation.Outputs(ids, labels, answers))
    made = convert.convert(str(folder), list(classes), str(folder), ExportConfig().model_dump(mode="json"),
                           "validation", None, str(folder), progress=silent)  # fmt: skip
    known = unlikeness.Unlikeness.model_validate(made["unlikeness"])
    digests = {name: disk.sha256(folder / name) for name in serving.MODELS if (folder / name).is_file()}
    (folder / serving.FILE).write_text(serving.of(record, None, (), {}, digests, "crops", known).model_dump_json())
    return model


def _loaded(path: Path) -> Any:
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _keras(model: Any, pixels: np.ndarray) -> Callable[[], object]:
    height, width = model.input_shape[1:3]
    sized = np.stack([cv2.resize(face, (width, height)) for face in pixels])[..., np.newaxis].astype(np.float32)
    return lambda: model.predict(sized, batch_size=256, verbose=0)


def _exports(folder: Path, pixels: np.ndarray) -> dict[str, Callable[[], object]]:
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    given = pixels[..., np.newaxis].astype(np.float32)

    def onnx(name: str) -> Callable[[], object]:
        session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {session.get_inputs()[0].name: given})

    def litert(name: str) -> Callable[[], object]:
        interpreter = Interpreter(model_path=str(folder / name), num_threads=os.cpu_count())
        place = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(place, given.shape)
        interpreter.allocate_tensors()

        def call() -> object:
            interpreter.set_tensor(place, given)
            interpreter.invoke()
            return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

        return call

    makers = {name: onnx if name in serving.OF_ONNX else litert for name in serving.MODELS}
    return {name: make(name) for name, make in makers.items() if (folder / name).is_file()}


def _rows(calls: dict[str, Callable[[], object]], batch: int, rounds: int) -> Iterator[Row]:
    took = _durations(calls, rounds)
    keras_ms = float(np.median(took["keras"]))
    for name, durations in took.items():
        middle, slow = (float(np.percentile(durations, share)) for share in (50, 99))
        what = f"{name}, batch of {batch}"
        yield Row(f"{what}: p50; reference: Keras' predict", middle, "ms", keras_ms)
        yield Row(f"{what}: p99", slow, "ms")
        yield Row(f"{what}: throughput", 1_000 * batch / middle, "faces/s")
    best = min((name for name in took if not name.startswith("keras")), key=lambda name: float(np.median(took[name])))
    best_ms = float(np.median(took[best]))
    yield Row(f"{best}, the best, batch of {batch}: throughput; reference: Keras' predict", 1_000 * batch / best_ms,
              "faces/s", 1_000 * batch / keras_ms, at_least=_TIMES)  # fmt: skip
    if batch == 1:
        yield Row(f"{serving.ONNX}: p50 of a face; reference: the bar", float(np.median(took[serving.ONNX])), "ms",
                  _FACE_MS, at_most=1)  # fmt: skip


def _durations(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call in each round, after some to warm up."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-3, rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn >= 0:
                took[name].append(1_000 * (time.perf_counter() - began))
    return took


def _end_to_end(predictor: Predictor, face: np.ndarray) -> Iterator[Row]:
    photo = next(iter(_frames(face)))
    encoded = encode.jpeg(photo, 90)
    calls: dict[str, Callable[[], object]] = {
        "a crop of 48x48": lambda: predictor.predict(face, whole=True),
        "a photo of 640x480": lambda: predictor.predict(cv2.imdecode(np.frombuffer(encoded, np.uint8), 1)),
    }
    for name, durations in _durations(calls, 60).items():
        p50, p99 = (float(np.percentile(durations, share)) for share in (50, 99))
        bar = {"at_most": 1.0, "reference": _PHOTO_MS} if name.startswith("a photo") else {}
        yield Row(f"{name} to its result: p50", p50, "ms", **bar)
        yield Row(f"{name} to its result: p99", p99, "ms")
    watching = VideoPredictor(predictor)
    began, began_cpu = time.perf_counter(), time.process_time()
    for number, frame in enumerate(_frames(face)):
        watching.predict(frame, number / _FPS)
    took, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    yield Row("video of 640x480 with a face, found and answered; reference: the bar", _FRAMES / took, "frames/s",
              _FRAMES_PER_S, at_least=1)  # fmt: skip
    yield Row("the same: processor time of a frame", 1_000 * cpu / _FRAMES, "ms")


def _frames(face: np.ndarray) -> Iterator[np.ndarray]:
    """BGR frames of a face that moves."""
    large = cv2.resize(face, (140, 140), interpolation=cv2.INTER_CUBIC)
    ground = (np.arange(480)[:, None] // 6 + np.arange(640) // 6 + 30).astype(np.uint8)
    for number in range(_FRAMES):
        picture = ground.copy()
        left, top = 120 + 2 * number, 150 + round(20 * np.sin(number / 10))
        picture[top : top + 140, left : left + 140] = large
        yield cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
