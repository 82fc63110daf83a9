"""The commands `fer up` and `fer down`: all services of an installation on one machine."""

import os
from typing import Annotated, Any

import typer

from flows.cli import console, options

_LOCK = "up.lock"


def up(
    workers: Annotated[int | None, typer.Option(help="How many workers.", show_default="1")] = None,
    runs_at_once: Annotated[int | None, typer.Option(help="Runs at once, of each worker.", show_default="2")] = None,
    pool: Annotated[str | None, typer.Option(help="The work pool that they work for.", show_default="fer")] = None,
    port: Annotated[int | None, typer.Option(help="The server's port.", show_default="4200")] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="The address it listens on; beyond loopback it must ask for a password.", show_default="127.0.0.1"
        ),
    ] = None,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Start nothing: write systemd's user units, which start it at boot.")
    ] = False,
) -> None:
    """Start an installation on this machine: Prefect's server, workers, the embedded store. They stay until `fer down`.

    Where some run already the others are started; options not given stay as they were. Prefect's own
    PREFECT_SERVER_… variables are heeded and kept, as PREFECT_SERVER_DATABASE_CONNECTION_URL for PostgreSQL.
    """
    import filelock

    from fer import settings
    from flows.cli.operating import bringing_up
    from flows.operating import installation

    configured = settings.Settings.load()
    options.find_prefect_home()
    environment = dict(os.environ)
    options.quiet_prefect(verbose=False)  # here, not in what is started
    given: dict[str, Any] = {"host": host, "port": port, "pool": pool, "workers": workers, "runs_at_once": runs_at_once}
    chosen = {name: value for name, value in given.items() if value is not None}
    installation.folder(configured.home).mkdir(mode=0o700, parents=True, exist_ok=True)
    with filelock.FileLock(installation.folder(configured.home) / _LOCK):
        if systemd:
            bringing_up.write_units(configured, chosen, environment)
        else:
            bringing_up.bring_up(configured, chosen, environment)


def down() -> None:
    """End what `fer up` started, runs that are at work among it. Run them again and they go on where they were."""
    import filelock

    from fer import settings
    from flows.cli.operating import bringing_up
    from flows.operating import installation

    configured = settings.Settings.load()
    if installation.load(configured.home) is None:
        console.out.print("nothing to end: there is no installation in", str(configured.home), highlight=False)
        return
    with filelock.FileLock(installation.folder(configured.home) / _LOCK):
        bringing_up.bring_down(configured)
