"""An untrained model with shards, an evaluation and a calibration, and its exports."""

import numpy as np
from untrained import CLASSES, SIZE, model_of

from data_contracts import files
from fer.evaluation import predictions
from fer.evaluation.calibration import calibrator
from fer.evaluation.refs import CalibrationRef, EvaluationRef, ExportsRef
from fer.exports import export
from fer.exports.config import ExportConfig
from fer.models import saved_model
from fer.shards import parquet, preprocessing
from fer.shards.refs import ShardsRef

N_TEST, N_TRAIN = 60, 40


def shards_of(workspace) -> ShardsRef:
    """Smooth random images of train and test."""

    def produce(out):
        for split, n in (("train", N_TRAIN), ("test", N_TEST)):
            rng = np.random.default_rng(len(split))
            coarse = rng.integers(0, 256, (n, SIZE // 4, SIZE // 4), np.uint8)
            pixels = coarse.repeat(4, axis=1).repeat(4, axis=2)
            class_indexes = (np.arange(n) % len(CLASSES)).astype(np.int32)
            names = [f"{split}{row:02d}" for row in range(n)]
            parquet.write(out / parquet.name(split, 0), names, class_indexes, pixels, CLASSES)
        return ShardsRef(classes=CLASSES, height=SIZE, width=SIZE, counts={}, mean=128.0, std=70.0)

    return workspace.run("preprocess", "exported", ShardsRef, produce, resumable=False)


def with_preprocessing(workspace, config=None):
    """The untrained model, beside it the record of its preprocessing."""
    config = config or preprocessing.PreprocessConfig(height=SIZE, width=SIZE)
    plain = model_of(workspace)
    record = preprocessing.Preprocessing(
        config=config,
        classes=CLASSES,
        height=config.height,
        width=config.width,
        mean=128.0,
        std=70.0,
        probe=preprocessing.probe(config),
        detector=preprocessing.detector(config),
    )

    def produce(out):
        (out / files.MODEL).write_bytes((workspace.folder(plain) / files.MODEL).read_bytes())
        (out / files.PREPROCESSING).write_text(record.model_dump_json())
        return plain

    return workspace.run("train", "with preprocessing", type(plain), produce, resumable=False)


def evaluated(workspace, model, shards, change=lambda probabilities: probabilities) -> EvaluationRef:
    """What Keras says of the test images, as an evaluation; `change` (N, classes) makes others of it."""
    images = parquet.load_split(workspace.folder(shards), "test")
    keras = saved_model.load(workspace.folder(model))
    answers = change(saved_model.probabilities(keras, images.pixels, 32))

    def produce(out):
        predictions.write(
            out / predictions.FILE,
            images.image_ids,
            images.class_indexes,
            answers,
            np.ones(len(answers), bool),
            images.classes,
        )
        return EvaluationRef(
            split="test", n_images=N_TEST, accuracy=0, accuracy_interval=(0, 1), macro_f1=0, macro_f1_interval=(0, 1)
        )

    return workspace.run("evaluate", str(float(answers[0, 0])), EvaluationRef, produce, resumable=False)


def calibrated(workspace, temperature=1.5) -> CalibrationRef:
    """A calibration of this temperature, with the sets of one coverage."""
    level = calibrator.SetLevel(coverage=0.9, thresholds=dict.fromkeys(CLASSES, 0.8))
    calibration = calibrator.Calibration(
        classes=CLASSES,
        temperature=temperature,
        coverage=0.9,
        by_class=False,
        sets=(level,),
        n_images=100,
        images_by_class=dict.fromkeys(CLASSES, 33),
    )

    def produce(out):
        (out / calibrator.FILE).write_text(calibration.model_dump_json())
        return calibrator.ref(calibration)

    return workspace.run("calibrate", str(temperature), CalibrationRef, produce, resumable=False)


def exported(workspace, config=None, change=None) -> ExportsRef:
    """The exports of the untrained model, told from its own answers, or from what `change` makes of them."""
    model, shards = with_preprocessing(workspace), shards_of(workspace)
    evaluation = evaluated(workspace, model, shards, *([change] if change else []))
    calibration = calibrated(workspace)
    return export.export(model, shards, evaluation, calibration, config or ExportConfig(), workspace=workspace)
