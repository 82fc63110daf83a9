"""What a release says of a picture: its faces, and the emotion of each."""

import dataclasses
from typing import Literal

Point = tuple[float, float]
Box = tuple[int, int, int, int]
Finding = Literal["no face", "one face", "several faces", "not looked for"]


@dataclasses.dataclass(frozen=True, slots=True)
class FaceResult:
    """One face: where it is, and what it shows.

    `box` is left, upper, width and height in pixels of the picture and may reach beyond its edge; `face_score` (0-1) is
    the detector's confidence, `eyes` are the ones on the picture's left and right. All three are None for a picture
    that was taken whole without looking for a face.
    `probabilities` are calibrated, `label` is the most probable class. `set`: classes among which the true one is in a
    share of `coverage` of such faces as the model was validated on, the most probable first; with more than one the
    model is `unsure`. All three are None for a release that has no sets.
    `taken`: whether the model was shown the cut-out face or the whole picture; `note` says so in words.
    `unlike`: whether what the model was shown is unlike what it was trained on, so that the answer means little; None
    for a release that can't tell.
    """

    label: str
    probabilities: dict[str, float]
    taken: Literal["face", "whole"]
    note: str
    box: Box | None = None
    face_score: float | None = None
    eyes: tuple[Point, Point] | None = None
    set: tuple[str, ...] | None = None
    coverage: float | None = None
    unsure: bool | None = None
    unlike: bool | None = None

    @property
    def confidence(self) -> float:
        """The probability of `label`."""
        return self.probabilities[self.label]

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Classes with their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What was found in one picture of `width` times `height` pixels.

    `faces` are the largest first. `n_found` faces were found, None if none were looked for; a release of whole
    photographs gives one answer for all of a picture, however many faces that shows.
    """

    width: int
    height: int
    n_found: int | None
    faces: tuple[FaceResult, ...]

    @property
    def finding(self) -> Finding:
        """How many faces there are."""
        return finding(self.n_found)


def finding(n_found: int | None) -> Finding:
    """How many faces were found, in words; None: none were looked for, as the picture was to be taken whole."""
    if n_found is None:
        return "not looked for"
    return ("no face", "one face", "several faces")[min(n_found, 2)]
