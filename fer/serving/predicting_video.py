"""Videos and cameras to rows, one per frame and face, and to videos with what was found drawn into them."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer import errors
from fer.serving import drawing, predicting, video
from fer.serving.predicting import Prediction
from fer.serving.predictor import Predictor
from fer.serving.results import finding
from fer.serving.video_predictor import VideoPredictor

NO_FACE = "no face found in any frame; --whole takes all of each for one"


def of_files(
    predictor: Predictor, paths: Sequence[Path], *, whole: bool = False, annotated: Path | None = None
) -> Iterator[Prediction]:
    """The rows of the videos, one after the other. One that can't be read, or not to its end, has a row that says so.

    `annotated`: an MP4 file for a single video, or else a folder in which each gets one of its name. Raises ConfigError
    rather than write over a video that is read or written here; WorkspaceError.
    """
    written: set[Path] = set()
    for path in paths:
        target = None if annotated is None else _target(annotated, path, written)
        try:
            with video.open_file(path) as opened:
                yield from of_video(predictor, opened, str(path), whole=whole, annotated=target)
        except errors.SourceError as error:
            yield Prediction(path=str(path), error=str(error))


def of_video(
    predictor: Predictor,
    opened: video.Video,
    name: str,
    *,
    whole: bool = False,
    annotated: Path | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Prediction]:
    """The rows of an opened video or camera, as its frames come, until it ends or `stop` is set.

    A frame without a face has no row; a video without any has one that says so. What is drawn into the file `annotated`
    is whole also if the video ends early. Raises SourceError after the last row of a damaged video, WorkspaceError.
    """
    watching = VideoPredictor(predictor, whole=whole)
    n_rows = 0
    with video.Writer(annotated, opened.fps) as writer:
        for frame in opened.frames():
            if stop is not None and stop.is_set():
                return
            seen = watching.predict(frame.pixels, frame.time_s)
            found = finding(None if whole else len(seen))
            for one in seen:
                n_rows += 1
                yield predicting.row(
                    name, found, one.number, one.face, frame=frame.number, time_s=round(frame.time_s, 4)
                )
            if annotated is not None:
                faces = [one.face for one in seen]
                writer.write(drawing.annotated(frame.pixels, faces, [f"{one.number}: " for one in seen]))
    if not n_rows:
        yield Prediction(path=name, finding="no face", error=NO_FACE)


def _target(annotated: Path, path: Path, written: set[Path]) -> Path:
    """Where the annotated copy of the video goes; it is added to those `written`."""
    is_file = annotated.suffix.lower() == ".mp4"
    target = annotated if is_file else annotated / f"{path.name.removesuffix('.mp4')}.mp4"
    if target in written or (target.exists() and path.exists() and target.samefile(path)):
        raise errors.ConfigError(
            "Each annotated video must have a place of its own, beside the videos.",
            received=str(target),
            todo="give --annotated a folder, an empty one",
        )
    written.add(target)
    if not is_file:
        target.parent.mkdir(parents=True, exist_ok=True)
    return target
