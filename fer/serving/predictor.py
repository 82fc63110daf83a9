"""The emotions in a picture, by a release: as a library, for whoever has the picture as an array.

    predictor = Predictor.from_release("demo")
    for face in predictor.predict(cv2.imread("photo.jpg")).faces:
        print(face.label, face.probabilities, face.box)

A model knows faces framed as its training images were, so a picture's faces are looked for, and each is cut out as the
training's images were: by `preprocess.face=crop` or `align` again; for a model that was trained on whole images that
are crops such as FER2013's, framed as those are, and a picture that is such a crop already is taken whole. A model that
was trained on whole photographs is shown whole pictures, and its answer holds for all of one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

import cv2
import numpy as np

from data_contracts import files
from fer import errors
from fer.exports import serving
from fer.images import faces, limits
from fer.images.blazeface import Face
from fer.serving import contents, local_releases, scoring
from fer.serving.results import FaceResult, Result
from fer.shards import preprocessing

Channels = Literal["BGR", "RGB"]


class Shown(NamedTuple):
    """What a model is shown of one face: `pixels` (H, W) uint8, prepared; and all that can be said without it.

    `unlike`: whether they are unlike what the model was trained on; None for a release that can't tell.
    """

    pixels: np.ndarray
    taken: Literal["face", "whole"]
    note: str
    face: Face | None
    unlike: bool | None = None


class Looked(NamedTuple):
    """A picture that was looked at and not yet scored; see Result."""

    width: int
    height: int
    n_found: int | None
    shown: tuple[Shown, ...]


class Predictor:
    """Predicts by one release; may be used by several threads at once. Make one by `from_release` or `from_folder`.

    `name` is NAME@VERSION, or that of the folder; `classes` are in the order of the model's outputs; `withdrawn` is a
    sentence on the version's withdrawal, empty if it was not withdrawn.
    """

    def __init__(self, release: local_releases.LocalRelease, *, threads: int = 0):
        """Load the model of a release whose files are on this machine; it computes in so many threads, 0: one a core.

        Raises IntegrityError for files that are not those of the release, or made for another version of this code.
        """
        self.name = release.label
        self.withdrawn = release.withdrawn
        self.classes, self.config, self.calibration, self.is_of_photographs, self.unlikeness = contents.read(release)
        self._scorer = _scorer(release, self.config, len(self.classes), threads)

    @classmethod
    def from_release(cls, spec: str | None = None) -> Self:
        """A release of the registry: NAME, NAME@ALIAS or NAME@VERSION; None: the champion of the only name there is.

        Its files are fetched if they are not here, and verified. Raises ConfigError, StoreError, IntegrityError.
        """
        return cls(local_releases.local(spec))

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """A release that was exported or fetched to a folder. Raises ConfigError, IntegrityError."""
        return cls(local_releases.in_folder(Path(folder)))

    def predict(self, image: np.ndarray, *, whole: bool = False, channels: Channels = "BGR") -> Result:
        """What the faces of a picture show: grey (H, W) uint8, or colour (H, W, 3) uint8 in the order of `channels`.

        `whole`: take all of the picture for the face, whatever is in it. Raises SourceError for another array.
        """
        (result,) = self.predict_all([image], whole=whole, channels=channels)
        return result

    def predict_all(
        self, images: Sequence[np.ndarray], *, whole: bool = False, channels: Channels = "BGR"
    ) -> list[Result]:
        """The same for several pictures, whose faces are scored together."""
        return self.score([self.look(grey(image, channels), whole=whole) for image in images])

    def look(self, image: np.ndarray, *, whole: bool = False) -> Looked:
        """Find the faces of grey (H, W) uint8 and cut out what the model is to be shown: all but the scoring."""
        height, width = image.shape
        if whole:
            return Looked(width, height, None, (self._shown(image, "whole", "all of it, as asked", None),))
        return self.cut_out(image, faces.find(image))

    def cut_out(self, image: np.ndarray, found: Sequence[Face]) -> Looked:
        """The same for faces that were found before."""
        height, width = image.shape
        if self.is_of_photographs and found:
            note = "all of it, as in training" + (f"; {len(found)} faces" if len(found) > 1 else "")
            return Looked(width, height, len(found), (self._shown(image, "whole", note, found[0]),))
        shown = tuple(self._face(image, found, index) for index in range(len(found)))
        return Looked(width, height, len(found), shown)

    def score(self, pictures: Sequence[Looked]) -> list[Result]:
        """Score the faces of all these pictures together."""
        pixels = [shown.pixels for picture in pictures for shown in picture.shown]
        rows = iter(self.calibrated(self.raw(np.stack(pixels))) if pixels else ())
        return [
            Result(
                picture.width,
                picture.height,
                picture.n_found,
                tuple(self.answer(shown, next(rows)) for shown in picture.shown),
            )
            for picture in pictures
        ]

    def raw(self, pixels: np.ndarray) -> np.ndarray:
        """(N, classes) float32: the model's own probabilities of (N, H, W) uint8 prepared pixels. Raises
        IntegrityError."""
        return self._scorer.probabilities(pixels)

    def calibrated(self, raw: np.ndarray) -> np.ndarray:
        """(N, classes) float32 of the model's own (N, classes) probabilities."""
        return raw if self.calibration is None else self.calibration.probabilities(raw)

    def answer(self, shown: Shown, probabilities: np.ndarray) -> FaceResult:
        """The result by (classes,) calibrated probabilities."""
        inside = coverage = unsure = None
        if self.calibration is not None and self.calibration.sets:
            (chosen,) = self.calibration.sets_of(probabilities[np.newaxis], self.classes)
            order = np.argsort(-probabilities, kind="stable")
            inside = tuple(self.classes[index] for index in order if chosen[index])
            coverage, unsure = self.calibration.coverage, len(inside) > 1
        box = face_score = eyes = None
        if shown.face is not None:
            (x, y), (width, height), left, right = shown.face.points.tolist()
            box = (round(x - width / 2), round(y - height / 2), round(width), round(height))
            face_score, eyes = shown.face.score, ((left[0], left[1]), (right[0], right[1]))
        return FaceResult(
            label=self.classes[int(probabilities.argmax())],
            probabilities={name: float(value) for name, value in zip(self.classes, probabilities, strict=True)},
            taken=shown.taken,
            note=shown.note,
            box=box,
            face_score=face_score,
            eyes=eyes,
            set=inside,
            coverage=coverage,
            unsure=unsure,
            unlike=shown.unlike,
        )

    def _face(self, image: np.ndarray, found: Sequence[Face], index: int) -> Shown:
        face, config = found[index], self.config
        note = f"face {index + 1} of {len(found)}" if len(found) > 1 else "the face"
        if config.face != "whole":
            return self._shown(faces.crop(image, face, config.face, config.face_margin), "face", note, face)
        if len(found) == 1 and faces.is_crop(image, face):
            return self._shown(image, "whole", "all of it: a crop already", face)
        return self._shown(faces.crop(image, face, "crop", 0.0), "face", note, face)

    def _shown(self, part: np.ndarray, taken: Literal["face", "whole"], note: str, face: Face | None) -> Shown:
        pixels = preprocessing.prepare_pixels(part, self.config)
        unlike = None
        if self.unlikeness is not None:
            unlike = bool(self.unlikeness.is_unlike(pixels[np.newaxis], face_found=face is not None)[0])
        return Shown(pixels, taken, note, face, unlike)


def grey(image: np.ndarray, channels: Channels = "BGR") -> np.ndarray:
    """Grey (H, W) uint8 of grey or colour (H, W, 3) uint8, as training's images are made grey.

    Raises SourceError for another array, and for one with a side beyond FER_LIMIT_IMAGE_SIDE_PX.
    """
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
        or not image.size
    ):
        received = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise errors.SourceError(
            "A picture must be an array (H, W) or (H, W, 3) of uint8, 0 to 255.",
            received=received,
            todo="read it with cv2.imread, or convert it: np.asarray(image.convert('RGB')), channels='RGB'",
        )
    most = limits.current().side_px
    if max(image.shape[:2]) > most:
        raise errors.SourceError(
            f"A picture's sides must have at most {most:,} pixels.",
            received=f"{image.shape[1]:,} x {image.shape[0]:,}",
            todo="make it smaller, or set FER_LIMIT_IMAGE_SIDE_PX higher",
        )
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, _TO_GREY[channels])


_TO_GREY = {"BGR": cv2.COLOR_BGR2GRAY, "RGB": cv2.COLOR_RGB2GRAY}


def _scorer(
    release: local_releases.LocalRelease, config: preprocessing.PreprocessConfig, n_classes: int, threads: int
) -> scoring.Scorer:
    """By the export, or by Keras where there is none."""
    if release.has(serving.ONNX):
        shape = (config.height, config.width)
        return scoring.OnnxScorer(release.folder, shape, n_classes, release.sha256(serving.ONNX), threads)
    release.require_whole(files.MODEL)
    return scoring.KerasScorer(release.folder)
