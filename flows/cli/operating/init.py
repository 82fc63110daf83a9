"""The command `fer init`: a project folder, and what its deployments need on Prefect's server."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console, options


def init(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made if it is not there.")] = Path(),
) -> None:
    """Make a project folder for deployments, and on the server the pool, queue and automations that they need.

    What is there stays as it is, on the server as well. Run it again at any time, as after an upgrade.
    """
    from fer import settings
    from flows.operating import installation, project

    home = settings.Settings.load().home
    for file in project.write(folder, installation.pool(home)):
        remark = {"made": "made", "same": "is there", "other": "is there, and yours: left as it is"}[file.how]
        _say(f"{file.path}: {remark}")
    options.prepare_prefect(verbose=False)

    from flows.operating import own_server

    if not own_server.use(home):
        _say("no Prefect server is there to make anything on. Start one (fer up), which makes it, or name one by")
        _say("PREFECT_API_URL and run fer init again.")
        return
    provide()
    place = "" if folder == Path() else f"cd {folder}; "
    _say(f"next: {place}prefect deploy --all")


def provide() -> None:
    """Make on the server what is missing there, and say so."""
    from prefect import get_client

    from fer import settings
    from flows.operating import installation, provisions

    with get_client(sync_client=True) as client:
        made = provisions.ensure(client, installation.pool(settings.Settings.load().home))
        for what in made:
            _say(f"made on the server: {what}")
        if not made:
            _say(f"on the server {client.api_url.copy_with(userinfo=b'')} everything is there")


def _say(text: str) -> None:
    console.out.print(console.plain(text), highlight=False, soft_wrap=True)
