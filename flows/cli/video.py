"""`fer predict` on videos and on a camera."""

import collections
import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.table import Table

from fer import errors
from flows.cli import console

if TYPE_CHECKING:
    from fer.serving.pictures import Source
    from fer.serving.predicting import Prediction
    from fer.serving.predictor import Predictor


def told_apart(sources: "Sequence[Source]") -> "tuple[list[Source], list[Path]]":
    """The sources that are no videos, and the videos: by the files' first bytes. What can't be read is no video."""
    others, videos = [], []
    for source in sources:
        if source.path is not None and _begins_as_a_video(source.path):
            videos.append(source.path)
        else:
            others.append(source)
    return others, videos


def _begins_as_a_video(path: Path) -> bool:
    if not path.is_file():  # a pipe would be waited for
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(12)
        if head:
            from fer.serving import video

            return video.is_video(head)
    return False


def folder(annotated: Path) -> Path:
    """What several annotated pictures or videos are written to. Raises ConfigError for what is meant as a video."""
    if annotated.suffix.lower() == ".mp4":
        raise errors.ConfigError(
            "Only of a single video or a camera can there be one annotated file.",
            received=f"--annotated {annotated}",
            todo="give a folder",
        )
    return annotated


def rows(
    predictor: "Predictor", videos: "Sequence[Path]", camera: int | None, *, whole: bool, annotated: Path | None
) -> "Iterator[Prediction]":
    """The rows of the videos, or of the camera until Ctrl-C."""
    from fer.serving import predicting_video, video

    if camera is None:
        target = folder(annotated) if annotated is not None and len(videos) > 1 else annotated
        yield from predicting_video.of_files(predictor, videos, whole=whole, annotated=target)
        return
    if annotated is not None and annotated.suffix.lower() != ".mp4":
        raise errors.ConfigError(
            "What a camera sees is written to one video.", received=f"--annotated {annotated}", todo="FILE.mp4"
        )
    with _until_interrupted() as stop, video.open_camera(camera) as opened:
        yield from predicting_video.of_video(
            predictor, opened, f"camera {camera}", whole=whole, annotated=annotated, stop=stop
        )


@contextlib.contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that files are finished before the command ends."""
    stop = threading.Event()

    def interrupted(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def show_changes(predictions: "Iterable[Prediction]") -> None:
    """Print a line whenever what a face shows changes."""
    shown: dict[int | None, str | None] = {}
    for prediction in predictions:
        if prediction.error is not None:
            console.err.print(console.plain(prediction.error), highlight=False, soft_wrap=True)
        elif shown.get(prediction.face) != prediction.label:
            shown[prediction.face] = prediction.label
            said = f"{console.plain(str(prediction.label))} {max(prediction.probabilities.values()):.2f}"
            said = f"{prediction.time_s:8.2f} s  face {prediction.face}: {said}"
            said += "  [yellow]unsure[/]" if prediction.unsure else ""
            console.out.print(said, highlight=False, soft_wrap=True)


@dataclasses.dataclass
class _Face:
    """A face of a video: when it was seen first and last, in how many frames, and in how many of them with what."""

    first_s: float
    last_s: float
    labels: collections.Counter[str]
    n_unlike: int = 0


def show(by: str, predictions: "Iterable[Prediction]") -> None:
    """Print a table with a row for each face of each video."""
    faces: dict[tuple[str, int], _Face] = {}
    faults: dict[str, str] = {}
    for prediction in predictions:
        if prediction.error is not None or prediction.face is None or prediction.time_s is None:
            faults[prediction.path] = str(prediction.error)
            continue
        seen = faces.setdefault(
            (prediction.path, prediction.face), _Face(prediction.time_s, prediction.time_s, collections.Counter())
        )
        seen.last_s = prediction.time_s
        seen.labels[str(prediction.label)] += 1
        seen.n_unlike += bool(prediction.unlike)
    table = Table(title=f"by {console.plain(by)}")
    for column in ("video", "face", "seen", "frames", "emotions, in shares of the frames"):
        table.add_column(column, overflow="fold")
    for (path, number), seen in faces.items():
        frames = seen.labels.total()
        said = ", ".join(f"{console.plain(name)} {count / frames:.0%}" for name, count in seen.labels.most_common(3))
        if seen.n_unlike > frames / 2:
            said += "; [yellow]unlike the training[/]"
        table.add_row(console.plain(path), str(number), f"{seen.first_s:.1f}–{seen.last_s:.1f} s", f"{frames:,}", said)
    for path, fault in faults.items():
        table.add_row(console.plain(path), "", "", "", f"[red]{console.plain(fault)}[/]")
    console.out.print(table)
