"""The command `fer models pull`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console


def pull(
    spec: Annotated[str, typer.Argument(metavar="NAME|NAME@VERSION")],
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    as_json: console.AsJson = False,
) -> None:
    """Bring a release to a folder, for what knows no registry: all of it verified, or nothing of it there.

    Beside its files lie manifest.json, its signatures, and its bill of materials; `fer models verify FOLDER` verifies
    it again.
    """
    from fer import settings
    from fer.registry import names, releases
    from fer.registry.trust import copies

    settings.Settings.load().require_home()
    wanted = names.parse_spec(spec)
    with releases.open_registry() as models:
        manifest = models.get(*wanted)
        files = copies.pull(models, manifest, folder.expanduser())
    place = folder.expanduser().absolute()
    name, size = f"{manifest.name}@{manifest.version}", sum(file.stat().st_size for file in files)
    if as_json:
        document = {
            "release": name,
            "folder": str(place),
            "files": [file.relative_to(place).as_posix() for file in files],
            "size_bytes": size,
        }
        typer.echo(json.dumps(document, indent=1))
        return
    text = f"{name} is at {place}: {len(files):,} files, {size / 1e6:,.2f} MB, each verified."
    console.out.print(console.plain(text), highlight=False, soft_wrap=True)
