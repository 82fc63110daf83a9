"""The command `fer predict`."""

import glob
import json
import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fer import errors
from flows.cli import console

if TYPE_CHECKING:
    from fer.evaluation.predict import Prediction


def predict(
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders of them, or patterns as 'album/*.jpg'.", metavar="IMAGE…")
    ],
    model: Annotated[
        str | None, typer.Option(help="NAME@champion or NAME@VERSION; needless while there is one name.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Take all of each image for the face, whatever is in it.")
    ] = False,
    as_json: console.AsJson = False,
) -> None:
    """Predict the emotion of each face in images by a released model.

    Faces are looked for and cut out as the model's training images were; an image that is such a crop already is taken
    whole. Exit code 3: an image could not be read, or shows no face; the others are predicted.
    """
    from fer import settings

    settings.Settings.load().require_home()
    files = _files(images)
    from fer.evaluation import predict as predict_module
    from fer.registry import releases

    with releases.local_copy(model) as (manifest, folder):
        withdrawn = releases.withdrawal(manifest)
        predictions = predict_module.predict(folder, files, whole=whole)
    if withdrawn:
        console.err.print(f"[yellow]![/] {console.plain(withdrawn)}", highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([prediction.model_dump(mode="json") for prediction in predictions], indent=1))
    else:
        common = _common_folder(files)
        table = Table(title=f"by {manifest.name}@{manifest.version}")
        coverage = next((prediction.coverage for prediction in predictions if prediction.coverage), None)
        in_sets = () if coverage is None else (f"at {coverage:.0%} coverage",)
        for column in ("image", "emotion", "next", *in_sets, "taken"):
            table.add_column(column, overflow="fold")
        for prediction in predictions:
            path = prediction.path if common is None else prediction.path.relative_to(common)
            name = console.plain(str(path))
            if prediction.error is not None:
                table.add_row(name, f"[red]{console.plain(prediction.error)}[/]")
                continue
            by_probability = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
            ranked = [f"{emotion} {probability:.2f}" for emotion, probability in by_probability]
            inside = () if coverage is None else (_set(prediction),)
            table.add_row(name, ranked[0], ", ".join(ranked[1:3]), *inside, prediction.note)
        console.out.print(table)
        if common is not None:
            console.out.print(f"images in {console.plain(str(common))}", highlight=False, soft_wrap=True)
    if any(prediction.error is not None for prediction in predictions):
        raise typer.Exit(errors.SourceError.exit_code)


def _set(prediction: "Prediction") -> str:
    """The classes that the stated coverage takes."""
    names = ", ".join(console.plain(name) for name in prediction.set or ())
    return f"[yellow]unsure[/]: {names}" if prediction.unsure else names


def _files(names: list[str]) -> list[Path]:
    """The files that are named, each once: those of a folder with all below it, and those that fit a pattern.

    Raises SourceError unless each name stands for a file, before anything is loaded that takes seconds.
    """
    files: dict[Path, None] = {}
    for name in names:
        found = _named(name)
        if not found:
            raise errors.SourceError(
                "Each image must be a file, or a folder or a pattern of some.",
                received=f"no file {name}" if not Path(name).is_dir() else f"no image in the folder {name}",
                todo="download it, and give the file" if "://" in name else "correct the name; nothing was predicted",
            )
        files |= dict.fromkeys(found)
    return list(files)


def _named(name: str) -> list[Path]:
    """The files that one argument stands for, sorted. Hidden files of a folder, and those that are no images, do not
    count."""
    path = Path(name)
    if path.is_file():
        return [path]
    if path.is_dir():
        inside = [file for file in path.rglob("*") if file.is_file()]
        return sorted(file for file in inside if _is_image(file.relative_to(path)))
    matches = glob.glob(name, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(Path(match) for match in matches if Path(match).is_file())


def _is_image(path: PurePath) -> bool:
    from fer.ingest import leftovers
    from fer.ingest.layouts import class_folders

    return class_folders.suffix(path.name) in class_folders.IMAGE_SUFFIXES and not leftovers.within(path.as_posix())


def _common_folder(paths: list[Path]) -> Path | None:
    """The folder below which all of several paths lie, so that their names can be shortened, if there is one."""
    if len(paths) < 2 or len({path.is_absolute() for path in paths}) > 1:
        return None
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return common if common.parts else None
