"""An untrained model with shards, an evaluation and a calibration, and its exports."""

from pathlib import Path

import cv2
import numpy as np
from untrained import CLASSES, SIZE, model_of

from data_contracts import files
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation import predictions
from fer.evaluation.calibration import calibrator
from fer.evaluation.refs import CalibrationRef, EvaluationRef, ExportsRef
from fer.exports import export
from fer.exports.config import ExportConfig
from fer.models import saved_model
from fer.shards import parquet, preprocessing
from fer.shards.refs import ShardsRef

N_TEST, N_TRAIN, N_VALIDATION = 60, 40, 20
CONSUMER = Path(__file__).parents[2] / "docs" / "how-to" / "consumer.py"


def shards_of(workspace) -> ShardsRef:
    """Smooth random images of each split."""

    def produce(out):
        for split, n in (("train", N_TRAIN), ("validation", N_VALIDATION), ("test", N_TEST)):
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


def with_pictures(tmp_path: Path) -> tuple[Path, list[Path], list[np.ndarray]]:
    """A folder of exported files, pictures of several sizes, and what the pipeline makes of each: (classes,)
    probabilities, prepared by it, by Keras, calibrated."""
    workspace = LocalWorkspace(tmp_path / "workspace")
    folder = workspace.folder(exported(workspace, ExportConfig(formats=("onnx",), int8=False)))
    model = workspace.folder(with_preprocessing(workspace))
    config, calibration = (
        preprocessing.load_record(model).config,
        calibrator.load(workspace.folder(calibrated(workspace))),
    )
    keras = saved_model.load(model)
    pictures, expected = [], []
    for number, (height, width) in enumerate(((40, 33), (16, 16), (200, 301), (11, 50))):
        noise = np.random.default_rng(number).integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), np.uint8)
        pictures.append(tmp_path / f"{number}.{('png', 'jpg')[number % 2]}")
        cv2.imwrite(str(pictures[-1]), cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))
        prepared = preprocessing.prepare_encoded(pictures[-1].read_bytes(), config)
        raw = saved_model.probabilities(keras, prepared[np.newaxis, ..., np.newaxis], 1)
        expected.append(calibration.probabilities(raw)[0])
    return folder, pictures, expected


def require_said(printed: str, expected: list[np.ndarray]) -> None:
    """Fail unless the consumer's lines say so, in its four decimals."""
    lines = printed.splitlines()
    assert len(lines) == len(expected)
    for line, probabilities in zip(lines, expected, strict=True):
        _, label, *named = line.split()
        assert label == CLASSES[probabilities.argmax()]
        assert [one.split("=")[0] for one in named] == list(CLASSES)
        assert np.allclose([float(one.split("=")[1]) for one in named], probabilities, atol=6e-5)
