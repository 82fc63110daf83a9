"""The release that answers in this process, opened once: by its export on one thread, or by Keras where it has none."""

import functools
from pathlib import Path

from fer.evaluation.calibration import calibrator
from fer.serving import local_releases
from fer.serving.predictor import Predictor


@functools.lru_cache(maxsize=1)
def opened(folder: Path, release: str, model_file: str, sha256: str, calibration: Path | None) -> Predictor:
    """A release in a folder as the stage `champion` brings it; `calibration` is the folder of its `calibration.json`.

    Raises IntegrityError for a release that can't be used, or whose `model_file` is not the one of this SHA-256.
    """
    predictor = Predictor(local_releases.LocalRelease(release, folder, {model_file: sha256}), threads=1)
    predictor.calibration = None if calibration is None else calibrator.load(calibration)
    return predictor
