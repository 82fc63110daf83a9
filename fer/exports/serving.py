"""`serving.json`: all that whoever serves a release must know beside the models' files, as data."""

from pathlib import Path
from typing import Literal, Self

import pydantic
from pydantic import Field, ValidationError

from fer import errors
from fer.engine.records import Record
from fer.evaluation.calibration.calibrator import Calibration, SetLevel
from fer.evaluation.unlikeness import Unlikeness
from fer.images import faces
from fer.shards.preprocessing import Preprocessing

FILE = "serving.json"
PREPROCESS = "preprocess.py"
ONNX, ONNX_INT8 = "model.onnx", "model.int8.onnx"
LITERT, LITERT_INT8 = "model.tflite", "model.int8.tflite"
OF_ONNX = (ONNX, ONNX_INT8)
MODELS = (*OF_ONNX, LITERT, LITERT_INT8)
FILES = (*MODELS, PREPROCESS, FILE)
WholeShows = Literal["crops", "photographs"]
_OUTDATED = "use a version of this project that knows its format, or retrain"


class Pixels(Record):
    """How grey pixels become the models' input: resized to height x width, contrast evened out, blurred.

    The input is float32 from 0 to 255; the models themselves subtract `mean` and divide by `std`.
    """

    height: int
    width: int
    blur_kernel: int
    blur_sigma: float
    contrast: Literal["none", "equalise", "clahe"]
    mean: float
    std: float


class Framing(Record):
    """What part of a picture the models were shown: all of it ("whole"), a face ("crop"), a face turned ("align").

    A face's square has `frame_side` times the longer side of the detector's box, its middle lies `frame_raised` sides
    above the box's, and it is `margin` of its own side wider on each side. Models of whole images know such as their
    training's: `whole_shows` says whether most of these are crops framed like this, with a margin of 0, or photographs
    in which faces are smaller; null where faces were cut out.
    """

    mode: Literal["whole", "crop", "align"]
    margin: float
    frame_side: float
    frame_raised: float
    detector: str = Field(description="the detector that such boxes are of")
    whole_shows: WholeShows | None = None


class Fidelity(Record):
    """A file's answers beside Keras' own on the `n_images` of the evaluation's `split`.

    `agreement` is the share with the same most probable class, `largest_difference` that of a probability,
    `accuracy_difference` the file's accuracy minus Keras' with its paired interval at 95 % (Newcombe's).
    """

    file: str
    split: str
    n_images: int
    agreement: float
    largest_difference: float
    accuracy: float
    accuracy_difference: float
    accuracy_interval: tuple[float, float]

    def words(self) -> str:
        """The file, and how far its answers agree, in a line."""
        return (
            f"{self.file}: {self.agreement:.2%} of {self.n_images:,} {self.split} images get the class that Keras "
            f"gives, probabilities are at most {self.largest_difference:.2g} apart"
        )


class Serving(Record):
    """What `serving.json` holds.

    The models take `pixels`, (N, height, width, 1) float32 as `preprocess.py` makes them, and give (N, classes) float32
    probabilities in the order of `classes`, which become calibrated by `temperature`: softmax(log p / temperature).
    A set holds the classes of which 1 - p is at most their threshold (null: always), and the most probable one.
    """

    format_version: Literal[1] = 1
    classes: tuple[str, ...]
    preprocessing: Pixels
    face: Framing
    temperature: float
    coverage: float | None = Field(description="the stated one of `sets`; null where there are none")
    sets: tuple[SetLevel, ...]
    fidelity: tuple[Fidelity, ...]
    not_released: dict[str, str] = Field(default={}, description="file -> why it is not there")
    unlikeness: Unlikeness | None = Field(
        default=None, description="what tells a picture that is unlike the training's; null without validation images"
    )
    files: dict[str, str] = Field(description="name -> SHA-256 of each file beside this one")

    @pydantic.model_validator(mode="after")
    def _has_its_level(self) -> Self:
        if self.sets and self.coverage not in [level.coverage for level in self.sets]:
            raise ValueError("the stated coverage must be that of a level")
        return self


def of(
    preprocessing: Preprocessing,
    calibration: Calibration | None,
    fidelity: tuple[Fidelity, ...],
    not_released: dict[str, str],
    files: dict[str, str],
    whole_shows: WholeShows | None,
    unlikeness: Unlikeness | None,
) -> Serving:
    """The content for a model whose input was made by `preprocessing`; `files`: name -> SHA-256."""
    config = preprocessing.config
    sets = () if calibration is None else calibration.sets
    return Serving(
        classes=preprocessing.classes,
        preprocessing=Pixels(
            height=preprocessing.height,
            width=preprocessing.width,
            blur_kernel=config.blur_kernel,
            blur_sigma=config.blur_sigma,
            contrast=config.contrast,
            mean=preprocessing.mean,
            std=preprocessing.std,
        ),
        face=Framing(
            mode=config.face,
            margin=0.0 if config.face == "whole" else config.face_margin,
            frame_side=faces.FRAME_SIDE,
            frame_raised=faces.FRAME_RAISED,
            detector=faces.DETECTOR,
            whole_shows=whole_shows,
        ),
        temperature=1.0 if calibration is None else calibration.temperature,
        coverage=calibration.coverage if calibration is not None and sets else None,
        sets=sets,
        fidelity=fidelity,
        not_released=not_released,
        unlikeness=unlikeness,
        files=files,
    )


def load(folder: Path) -> Serving | None:
    """The `serving.json` of a release's folder; None if it has none, as releases from before there were exports.

    Raises IntegrityError for one that can't be read. What it does not know of a later version's fields it leaves.
    """
    path = folder / FILE
    try:
        return Serving.model_validate_json(path.read_bytes(), extra="ignore")
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        raise errors.IntegrityError(
            f"A release's {FILE} must be such as this version of the project can read.",
            received=f"{' '.join(map(str, (path, *first['loc'])))}: {first['msg']}",
            todo=_OUTDATED,
        ) from error
