"""A release that answers without TensorFlow: a tiny ONNX model in the place where the registry leaves one."""

import hashlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from data_contracts import files
from fer.evaluation import predictions
from fer.evaluation.calibration import calibrator
from fer.evaluation.refs import CalibrationRef
from fer.exports import serving
from fer.scoring.refs import ScoreConfig
from fer.shards import preprocessing
from fer.training.refs import ModelRef

CLASSES = ("happy", "sad")
SIDE = 8
CONFIG = preprocessing.PreprocessConfig(height=SIDE, width=SIDE, blur_kernel=0)


def onnx_bytes():
    """A model by which bright pictures are happy: softmax of (mean - 128) / 16 and its opposite."""
    weights = np.zeros((SIDE * SIDE, 2), np.float32)
    weights[:, 0], weights[:, 1] = 1 / (16 * SIDE * SIDE), -1 / (16 * SIDE * SIDE)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
            helper.make_node("Add", ["logits", "b"], ["moved"]),
            helper.make_node("Softmax", ["moved"], ["y"], axis=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, SIDE, SIDE, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([-8, 8], np.float32), "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(onnx.ModelProto.SerializeToString(model))


def record():
    """How its images were prepared."""
    return preprocessing.Preprocessing(
        config=CONFIG,
        classes=CLASSES,
        height=SIDE,
        width=SIDE,
        mean=128.0,
        std=60.0,
        probe=preprocessing.probe(CONFIG),
    )


def calibration(thresholds=0.9):
    """By which classes of a probability from 0.1 on are in the set."""
    level = calibrator.SetLevel(coverage=0.9, thresholds=dict.fromkeys(CLASSES, thresholds))
    return calibrator.Calibration(
        classes=CLASSES,
        temperature=1.0,
        coverage=0.9,
        by_class=False,
        sets=(level,),
        n_images=100,
        images_by_class=dict.fromkeys(CLASSES, 50),
    )


def write(folder, n_test=200):
    """Write the files of a release that scoring reads."""
    folder.mkdir(exist_ok=True)
    (folder / serving.ONNX).write_bytes(onnx_bytes())
    (folder / files.PREPROCESSING).write_text(record().model_dump_json())
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, n_test).astype(np.int32)
    confidence = draw.uniform(0.5, 1, n_test)
    right = draw.random(n_test) < confidence  # as well calibrated as can be
    happy = np.where((truth == 0) == right, confidence, 1 - confidence)
    probabilities = np.column_stack([happy, 1 - happy]).astype(np.float32)
    ids = [f"{number:04d}" for number in range(n_test)]
    predictions.write(folder / predictions.FILE, ids, truth, probabilities, np.ones(n_test, bool), CLASSES)


def committed(workspace, *, calibrated=True):
    """Model, calibration and settings of such a release in the workspace."""

    def produce(out):
        write(out)
        return ModelRef(
            digest="weights",
            model="tiny",
            classes=CLASSES,
            n_parameters=1,
            epochs_run=1,
            best_epoch=1,
            validation_accuracy=0.5,
            train_seconds=1.0,
        )

    def produce_calibration(out):
        (out / calibrator.FILE).write_text(calibration().model_dump_json())
        return CalibrationRef(digest="calibration", temperature=1.0, why_one="", n_images=100, coverage=0.9)

    model = workspace.run("champion", "tiny", ModelRef, produce, resumable=False)
    known = workspace.run("champion calibration", "tiny", CalibrationRef, produce_calibration, resumable=False)
    sha256 = hashlib.sha256(onnx_bytes()).hexdigest()
    config = ScoreConfig(release="tiny@1", model_file=serving.ONNX, model_sha256=sha256, whole=True)
    return model, known if calibrated else None, config
