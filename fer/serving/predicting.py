"""Many pictures, one after the other: read, decoded and looked at by several threads, their faces scored together."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from fer.engine.processes import process_pool
from fer.images import decode
from fer.serving.pictures import Picture
from fer.serving.predictor import Looked, Predictor
from fer.serving.results import Box, FaceResult, Finding, Point, Result, finding

NO_FACE = "no face found; --whole takes all of the picture for one"
_AT_ONCE, _BYTES_AT_ONCE = 1_024, 64 * 2**20  # pictures or faces, and what these take


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What became of one picture: its result, or in `error` why there is none."""

    picture: Picture
    result: Result | None
    error: str = ""

    @property
    def rows(self) -> "list[Prediction]":
        """One per face; one with an error for a picture that can't be read or shows no face."""
        if self.result is None:
            return [Prediction(path=self.picture.name, error=self.error)]
        if not self.result.faces:
            return [Prediction(path=self.picture.name, finding=self.result.finding, error=NO_FACE)]
        faces = enumerate(self.result.faces, 1)
        return [row(self.picture.name, finding(self.result.n_found), number, face) for number, face in faces]


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """One face of a picture, as it is written to files; see FaceResult. `face` counts from 1, the largest first.

    Of a video: one face of the frame with the number `frame`, from 0, that is shown at `time_s`; `face` is the number
    of the same face in all frames.
    """

    path: str
    finding: Finding | None = None
    face: int | None = None
    label: str | None = None
    frame: int | None = None
    time_s: float | None = None
    probabilities: dict[str, float] = dataclasses.field(default_factory=dict)
    error: str | None = None
    taken: Literal["face", "whole"] | None = None
    box: Box | None = None
    face_score: float | None = None
    eyes: tuple[Point, Point] | None = None
    note: str | None = None
    set: tuple[str, ...] | None = None
    coverage: float | None = None
    unsure: bool | None = None
    unlike: bool | None = None

    @property
    def confidence(self) -> float | None:
        """The probability of `label`."""
        return None if self.label is None else self.probabilities[self.label]

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {**dataclasses.asdict(self), "confidence": self.confidence}


def answers(predictor: Predictor, pictures: Iterable[Picture], *, whole: bool = False) -> Iterator[Answer]:
    """The answers to the pictures, in their order, as soon as they are there. Raises what reading `pictures` raises.

    A picture that can't be decoded gets an error. Some are held at a time, however many there are.
    """
    workers = process_pool.usable_cores()
    waiting: collections.deque[tuple[Picture, concurrent.futures.Future[Looked]]] = collections.deque()
    looked: list[tuple[Picture, Looked | str]] = []
    with concurrent.futures.ThreadPoolExecutor(workers) as threads:
        for picture in pictures:
            waiting.append((picture, threads.submit(_looked, predictor, picture, whole)))
            if len(waiting) > 2 * workers:
                looked.append(_outcome(*waiting.popleft()))
            if _are_many(looked):
                yield from _scored(predictor, looked)
                looked = []
        looked += [_outcome(*one) for one in waiting]
    yield from _scored(predictor, looked)


def _looked(predictor: Predictor, picture: Picture, whole: bool) -> Looked:
    if picture.error:
        raise decode.UndecodableImage(picture.error)
    return predictor.look(decode.decode(picture.data), whole=whole)


def _outcome(picture: Picture, future: "concurrent.futures.Future[Looked]") -> tuple[Picture, Looked | str]:
    try:
        return picture, future.result()
    except decode.UndecodableImage as error:
        return picture, str(error)


def _are_many(looked: list[tuple[Picture, Looked | str]]) -> bool:
    shown = [face.pixels for _, one in looked if isinstance(one, Looked) for face in one.shown]
    n_bytes = sum(len(picture.data) for picture, _ in looked) + sum(pixels.nbytes for pixels in shown)
    return max(len(looked), len(shown)) >= _AT_ONCE or n_bytes >= _BYTES_AT_ONCE


def _scored(predictor: Predictor, looked: list[tuple[Picture, Looked | str]]) -> Iterator[Answer]:
    results = iter(predictor.score([one for _, one in looked if isinstance(one, Looked)]))
    for picture, one in looked:
        yield Answer(picture, None, one) if isinstance(one, str) else Answer(picture, next(results))


def row(
    path: str, found: Finding, number: int, face: FaceResult, *, frame: int | None = None, time_s: float | None = None
) -> Prediction:
    """What is written of one face."""
    fields = {field.name: getattr(face, field.name) for field in dataclasses.fields(face)}
    return Prediction(path=path, finding=found, face=number, frame=frame, time_s=time_s, **fields)
