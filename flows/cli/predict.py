"""The command `fer predict`."""

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fer import errors
from flows.cli import console, video

if TYPE_CHECKING:
    from fer.serving.predicting import Answer, Prediction
    from fer.serving.predictor import Predictor


def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Image files, folders of them, patterns as 'album/*.jpg', zip archives, or - for one of them by "
            "standard input; video files.",
            metavar="IMAGE…",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="NAME@champion or NAME@VERSION; needless while there is one name.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Take all of each image for the face, whatever is in it.")
    ] = False,
    as_json: console.AsJson = False,
    form: Annotated[
        str | None, typer.Option("--format", help="table, json, jsonl (a line for each face), csv or parquet.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, in the format that its suffix tells.")
    ] = None,
    annotated: Annotated[
        Path | None,
        typer.Option(
            help="Write each picture or video with its faces and emotions drawn to this folder; of a single video or "
            "a camera to this FILE.mp4."
        ),
    ] = None,
    camera: Annotated[
        int | None, typer.Option(min=0, help="Predict what this camera sees until Ctrl-C; 0 is the first one.")
    ] = None,
) -> None:
    """Predict the emotion of each face in images and videos by a released model.

    Faces are looked for and cut out as the model's training images were; an image that is such a crop already is taken
    whole. In a video a face keeps its number, and its answers are averaged over a moment. Exit code 3: an image could
    not be read, or shows no face; the others are predicted.
    """
    from fer import settings
    from fer.serving import pictures, writing

    settings.Settings.load().require_home()
    wanted = writing.format_of(output, "json" if as_json else form)
    if wanted == "table" and output is not None:
        raise errors.ConfigError("A table is for the terminal.", received=f"--output {output}", todo="--format csv")
    if bool(images) == (camera is not None):
        raise errors.ConfigError(
            "There must be pictures to predict, or a camera.",
            received="both" if images else "neither",
            todo="fer predict photo.jpg, or fer predict --camera 0",
        )
    sources, videos = video.told_apart(pictures.named(images or []))
    from fer.serving import predicting
    from fer.serving.predictor import Predictor

    predictor = Predictor.from_release(model)
    if predictor.withdrawn:
        console.err.print(f"[yellow]![/] {console.plain(predictor.withdrawn)}", highlight=False, soft_wrap=True)
    common = _common_folder([source.path for source in sources if source.path is not None])
    answers: Iterable[Answer] = predicting.answers(predictor, pictures.read(sources), whole=whole)
    if annotated is not None and sources:
        answers = writing.annotate(answers, video.folder(annotated), common)
    faults: list[str] = []
    of_pictures = _noting_faults((row for answer in answers for row in answer.rows), faults)
    of_videos = _noting_faults(video.rows(predictor, videos, camera, whole=whole, annotated=annotated), faults)
    if wanted != "table":
        count = writing.write(itertools.chain(of_pictures, of_videos), wanted, predictor.classes, output)
        if output is not None:
            said = f"{count:,} rows by {predictor.name} in {console.plain(str(output))}"
            console.err.print(said, highlight=False, soft_wrap=True)
    else:
        if sources:
            _show(predictor, list(of_pictures), common)
        if camera is not None:
            video.show_changes(of_videos)
        elif videos:
            video.show(predictor.name, of_videos)
    if faults:
        raise typer.Exit(errors.SourceError.exit_code)


def _noting_faults(rows: "Iterable[Prediction]", faults: list[str]) -> "Iterator[Prediction]":
    """The same rows; the errors among them are added to `faults`."""
    for row in rows:
        faults += [] if row.error is None else [row.error]
        yield row


def _show(predictor: "Predictor", predictions: "list[Prediction]", common: Path | None) -> None:
    table = Table(title=f"by {console.plain(predictor.name)}")
    coverage = next((prediction.coverage for prediction in predictions if prediction.coverage), None)
    in_sets = () if coverage is None else (f"at {coverage:.0%} coverage",)
    for column in ("image", "emotion", "next", *in_sets, "taken"):
        table.add_column(column, overflow="fold")
    for prediction in predictions:
        path = Path(prediction.path)
        name = console.plain(
            str(path if common is None or not path.is_relative_to(common) else path.relative_to(common))
        )
        if prediction.error is not None:
            table.add_row(name, f"[red]{console.plain(prediction.error)}[/]")
            continue
        by_probability = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
        ranked = [f"{console.plain(emotion)} {probability:.2f}" for emotion, probability in by_probability]
        inside = () if coverage is None else (_set(prediction),)
        taken = f"{prediction.note}; [yellow]unlike the training[/]" if prediction.unlike else prediction.note
        table.add_row(name, ranked[0], ", ".join(ranked[1:3]), *inside, taken)
    console.out.print(table)
    if common is not None:
        console.out.print(f"images in {console.plain(str(common))}", highlight=False, soft_wrap=True)


def _set(prediction: "Prediction") -> str:
    """The classes that the stated coverage takes."""
    names = ", ".join(console.plain(name) for name in prediction.set or ())
    return f"[yellow]unsure[/]: {names}" if prediction.unsure else names


def _common_folder(paths: list[Path]) -> Path | None:
    """The folder below which all of several paths lie, so that their names can be shortened, if there is one."""
    if len(paths) < 2 or len({path.is_absolute() for path in paths}) > 1:
        return None
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return common if common.parts else None
