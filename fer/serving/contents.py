"""What a release says of itself, as far as predicting needs it."""

from typing import NamedTuple

from data_contracts import files
from fer import errors
from fer.evaluation.calibration import calibrator
from fer.evaluation.unlikeness import Unlikeness
from fer.exports import serving
from fer.images import faces
from fer.serving.local_releases import LocalRelease
from fer.shards import preprocessing


class Contents(NamedTuple):
    """The classes in the order of the model's outputs; how its input is prepared; its calibration, if it has one;
    whether it was trained on whole photographs, of which it must be shown the whole; and what tells a picture that is
    unlike its training's, if anything does.
    """

    classes: tuple[str, ...]
    config: preprocessing.PreprocessConfig
    calibration: calibrator.Calibration | None
    is_of_photographs: bool
    unlikeness: Unlikeness | None


def read(release: LocalRelease) -> Contents:
    """By `preprocessing.json` and `calibration.json`, or by `serving.json` alone where only exports are in the folder.

    Raises IntegrityError for files that are not those of the release, or that this code does not prepare images as.
    """
    said_in = (serving.FILE, files.PREPROCESSING, calibrator.FILE)
    release.require_whole(*(name for name in said_in if (release.folder / name).is_file()))
    served = serving.load(release.folder)
    is_of_photographs = served is not None and served.face.whole_shows == "photographs"
    unlikeness = None if served is None else served.unlikeness
    if served is not None and not (release.folder / files.PREPROCESSING).is_file():
        return Contents(served.classes, _config(served), _calibration(served), is_of_photographs, unlikeness)
    record = preprocessing.load_record(release.folder)
    record.require_kept()
    return Contents(record.classes, record.config, calibrator.load(release.folder), is_of_photographs, unlikeness)


def _config(served: serving.Serving) -> preprocessing.PreprocessConfig:
    pixels = served.preprocessing
    if served.face.mode != "whole" and served.face.detector != faces.DETECTOR:
        raise errors.IntegrityError(
            "Faces must be found for a model by the detector that they were found by for its training.",
            received=f"a model for {served.face.detector}, this code has {faces.DETECTOR}",
            todo="use the version of this project that trained the model, or retrain",
        )
    return preprocessing.PreprocessConfig(
        height=pixels.height,
        width=pixels.width,
        blur_kernel=pixels.blur_kernel,
        blur_sigma=pixels.blur_sigma,
        contrast=pixels.contrast,
        face=served.face.mode,
        face_margin=served.face.margin,
    )


def _calibration(served: serving.Serving) -> calibrator.Calibration:
    return calibrator.Calibration(
        classes=served.classes,
        temperature=served.temperature,
        coverage=served.coverage or max((level.coverage for level in served.sets), default=0.9),
        by_class=False,
        sets=served.sets,
        n_images=0,
        images_by_class={},
    )
