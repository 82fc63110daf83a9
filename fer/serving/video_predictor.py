"""The emotions of the faces of a video, frame after frame: followed, numbered, and averaged over a moment.

    watching = VideoPredictor(Predictor.from_release("demo"))
    with video.open_file(Path("film.mp4")) as film:
        for frame in film.frames():
            for seen in watching.predict(frame.pixels, frame.time_s):
                print(frame.time_s, seen.number, seen.face.label)

All of a frame is searched a few times a second and whenever a face was lost; in between faces are looked for where they
were, which takes a tenth of the time. So a new face is seen within `SEARCH_EVERY_S`.
"""

import dataclasses

import numpy as np

from fer.images import faces
from fer.images.blazeface import Face
from fer.serving import predictor as predictors
from fer.serving.predictor import Channels, Looked, Predictor, Shown
from fer.serving.results import Box, FaceResult
from fer.serving.smoothing import TIME_CONSTANT_S, Smoother
from fer.serving.tracking import Tracker

SEARCH_EVERY_S = 0.5
_SEARCH_AGAIN_S = 0.2  # after a face was lost


@dataclasses.dataclass(frozen=True, slots=True)
class SeenFace:
    """A face in a frame. `number`, from 1, is the same in all frames that show the face without a longer break; `face`
    is what it shows by the frames up to this one."""

    number: int
    face: FaceResult


class FaceFollower:
    """Finds the faces in one frame after another of the same video."""

    def __init__(self) -> None:
        self._known: list[Face] = []
        self._searched_s: float | None = None

    def find(self, image: np.ndarray, time_s: float) -> list[Face]:
        """The faces in grey (H, W) uint8 at `time_s`, the largest first."""
        found = faces.follow(image, self._known)
        since_s = np.inf if self._searched_s is None else time_s - self._searched_s
        if since_s >= SEARCH_EVERY_S or (len(found) < len(self._known) and since_s >= _SEARCH_AGAIN_S):
            found = faces.find(image)
            self._searched_s = time_s
        self._known = found
        return found


class VideoPredictor:
    """Predicts the frames of one video, in order, by the Predictor of a release; for another video make another one."""

    def __init__(self, predictor: Predictor, *, time_constant_s: float = TIME_CONSTANT_S, whole: bool = False) -> None:
        """`time_constant_s`: over how long answers are averaged; 0: each frame by itself. `whole`: take all of each
        frame for the face."""
        self._predictor, self._whole = predictor, whole
        self._follower, self._tracker, self._smoother = FaceFollower(), Tracker(), Smoother(time_constant_s)

    def predict(self, image: np.ndarray, time_s: float, *, channels: Channels = "BGR") -> list[SeenFace]:
        """The faces of a frame, grey (H, W) or colour (H, W, 3) uint8, the largest first.

        `time_s`: when it is shown or was taken, never before the frame of the last call. Raises SourceError for another
        array.
        """
        grey = predictors.grey(image, channels)
        if self._whole:
            looked = self._predictor.look(grey, whole=True)
        else:
            looked = self._predictor.cut_out(grey, self._follower.find(grey, time_s))
        numbers = self._tracker.update([_place(shown, looked) for shown in looked.shown], time_s)
        self._smoother.keep(self._tracker.numbers)
        if not looked.shown:
            return []
        rows = self._predictor.calibrated(self._predictor.raw(np.stack([shown.pixels for shown in looked.shown])))
        return [
            SeenFace(number, self._predictor.answer(shown, self._smoother.smoothed(number, row, time_s)))
            for number, shown, row in zip(numbers, looked.shown, rows, strict=True)
        ]


def _place(shown: Shown, looked: Looked) -> Box:
    """Where a face is, for the tracker; what is taken whole without a face is everywhere."""
    if shown.face is None:
        return (0, 0, looked.width, looked.height)
    (x, y), (width, height) = shown.face.points[:2].tolist()
    return (round(x - width / 2), round(y - height / 2), round(width), round(height))
