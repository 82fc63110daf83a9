"""The command `fer models export`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console


def export(
    spec: Annotated[str, typer.Argument(metavar="NAME@champion|NAME@VERSION")],
    to: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; without it NAME-VERSION here.")] = None,
    as_json: console.AsJson = False,
) -> None:
    """Copy a release's ONNX and LiteRT models, with what whoever serves them needs, into a folder; all is verified.

    What is there under their names must be the same. Neither TensorFlow nor fer is needed to use them.
    """
    from fer import settings
    from fer.registry import exported

    settings.Settings.load().require_home()
    found = exported.copy(spec, to)
    names = (*found.serving.files, "serving.json")
    if as_json:
        document = {
            "name": found.manifest.name,
            "version": found.manifest.version,
            "folder": str(found.folder),
            "files": {name: found.manifest.files[name].sha256 for name in names},
            "not_released": found.serving.not_released,
        }
        typer.echo(json.dumps(document, indent=1))
        return
    console.out.print(
        f"{found.manifest.name}@{found.manifest.version} in {found.folder}:", highlight=False, markup=False
    )
    agreement = {one.file: one.words() for one in found.serving.fidelity}
    for name in names:
        console.out.print(
            f"  {name:<17}  {agreement.get(name, '').removeprefix(f'{name}: ')}".rstrip(), highlight=False, markup=False
        )
    for name, why in found.serving.not_released.items():
        console.out.print(f"  {name:<17}  not released: {why.removeprefix(f'{name}: ')}", highlight=False, markup=False)
