"""The folder of a release whose model is an export alone: one layer of random weights, made without Keras."""

import hashlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from data_contracts import files
from fer.evaluation.calibration import calibrator
from fer.exports import serving
from fer.shards import preprocessing

CLASSES = ("happy", "sad", "angry")
SIDE = 16


def write(folder, *, classes=CLASSES, sets=False, **config):
    """Write it, and return the folder; `sets`: with a calibration by which all have `happy` in their sets. `config`:
    fields of PreprocessConfig."""
    folder.mkdir(parents=True, exist_ok=True)
    config = preprocessing.PreprocessConfig(**{"height": SIDE, "width": SIDE, **config})
    record = preprocessing.Preprocessing(
        config=config, classes=classes, height=config.height, width=config.width, mean=128.0, std=70.0,
        probe=preprocessing.probe(config), detector=preprocessing.detector(config),
    )  # fmt: skip
    (folder / files.PREPROCESSING).write_text(record.model_dump_json())
    model_file(folder / "model.onnx", (config.height, config.width), len(classes))
    if sets:
        (folder / calibrator.FILE).write_text(calibration(classes).model_dump_json())
    return folder


def serving_json(folder, whole_shows="crops", unlikeness=None):
    """Write beside the files of a folder what they are and what their digests are, as a release does."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    record, calibration = preprocessing.load_record(folder), calibrator.load(folder)
    content = serving.of(record, calibration, (), {}, digests, whole_shows, unlikeness)
    (folder / serving.FILE).write_text(content.model_dump_json())


def model_file(path, shape, n_classes, *, scale=0.01, output="probabilities"):
    """An ONNX file: pixels (N, H, W, 1) float32 to probabilities (N, n_classes) float32."""
    weights = np.random.default_rng(0).normal(0, scale, (shape[0] * shape[1], n_classes)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], [output], axis=1),
        ],
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", *shape, 1])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", n_classes])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(model)


def calibration(classes=CLASSES):
    """One that makes each model less sure, and has the first class in every set."""
    thresholds = {classes[0]: None, **dict.fromkeys(classes[1:], 0.0)}
    return calibrator.Calibration(
        classes=classes, temperature=3.0, coverage=0.9, by_class=True, n_images=100, images_by_class={},
        sets=(calibrator.SetLevel(coverage=0.9, thresholds=thresholds),),
    )  # fmt: skip
