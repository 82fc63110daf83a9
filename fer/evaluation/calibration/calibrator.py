"""A model's calibration as it stands beside the model: `calibration.json`, and how it is applied."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
import pydantic
from pydantic import Field, ValidationError

from fer import errors
from fer.engine.records import Record
from fer.evaluation.calibration import conformal, temperature

if TYPE_CHECKING:
    from fer.evaluation.refs import CalibrationRef

FILE = "calibration.json"

Share = Annotated[float, Field(ge=0, le=1)]


class SetLevel(Record):
    """The sets of one coverage: a class is in them whose probability is at least 1 minus its threshold.

    A class without a threshold (null) is in every set: there are too few images to tell more.
    """

    coverage: float = Field(gt=0, lt=1)
    thresholds: dict[str, Share | None]


class Calibration(Record):
    """Probabilities p become softmax(log p / temperature); sets are told by these.

    `why_one` says why the temperature is 1 if none was found. `coverage` is the level that predictions state, one of
    `sets`, which are empty where there were too few images.
    """

    format_version: Literal[1] = 1
    classes: tuple[str, ...] = Field(min_length=1)
    temperature: float = Field(ge=temperature.LOWEST, le=temperature.HIGHEST)
    why_one: str = ""
    coverage: float = Field(gt=0, lt=1)
    by_class: bool
    sets: tuple[SetLevel, ...] = ()
    n_images: int = Field(ge=0, description="of the de-duplicated validation split, that it was fitted on")
    images_by_class: dict[str, int]

    @pydantic.model_validator(mode="after")
    def _is_of_its_classes(self) -> Self:
        if any(set(level.thresholds) != set(self.classes) for level in self.sets):
            raise ValueError("each level must have a threshold, or null, for each of the classes")
        if self.sets and self.coverage not in [level.coverage for level in self.sets]:
            raise ValueError("the stated coverage must be that of a level")
        return self

    def probabilities(self, raw: np.ndarray) -> np.ndarray:
        """(N, classes) float32 of a model's (N, classes) own ones, in whatever order of the classes."""
        return temperature.scaled(raw, self.temperature)

    def sets_of(self, probabilities: np.ndarray, classes: tuple[str, ...], coverage: float | None = None) -> np.ndarray:
        """(N, classes) bool: the sets of calibrated (N, classes) probabilities in the order of `classes`.

        `coverage` must be that of a level; None is the stated one.
        """
        wanted = self.coverage if coverage is None else coverage
        level = next(level for level in self.sets if level.coverage == wanted)
        highest = [level.thresholds[name] for name in classes]
        return conformal.sets(probabilities, np.array([np.inf if one is None else one for one in highest]))


def ref(calibration: Calibration) -> "CalibrationRef":
    """What a stage says of the calibration that it wrote."""
    from fer.evaluation.refs import CalibrationRef  # a tenth of a second, which predicting can do without

    return CalibrationRef(
        temperature=calibration.temperature,
        why_one=calibration.why_one,
        n_images=calibration.n_images,
        coverage=calibration.coverage if calibration.sets else None,
    )


def load(folder: Path) -> Calibration | None:
    """The calibration in a folder; None if it has none, as models from before there were any.

    Raises IntegrityError for one that can't be read.
    """
    path = folder / FILE
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        raise errors.IntegrityError(
            f"{FILE} must be a model's calibration, such as this version of the project writes.",
            received=f"{' '.join(map(str, first['loc']))}: {first['msg']}, in {path}".removeprefix(": "),
            todo="fetch or train the model again",
        ) from error
