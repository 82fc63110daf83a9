"""The commands `fer backup` and `fer restore`."""

import os
from typing import Annotated

import typer

from fer import errors
from flows.cli import console

_Place = Annotated[str, typer.Argument(metavar="FOLDER|s3://BUCKET/PREFIX")]


def backup(
    place: _Place,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Keep what can't be made again: Prefect's database, the accepted data, the registry with the releases in need.

    To a folder, or to a prefix of another bucket of the store, where all of it is read again once it was sent. The
    server may run. A database of PostgreSQL is not in it: the command that keeps it is said.
    """
    from fer import settings
    from fer.housekeeping import backup as backups
    from fer.housekeeping import backup_bucket
    from fer.registry import releases
    from flows.operating import database

    configured = settings.Settings.load()
    configured.require_home()
    file = database.sqlite_file(configured.home, os.environ)
    with releases.open_registry(unsigned=True) as models:
        made, where = backup_bucket.write(place, configured, models, file, force=force)
    _say(f"{len(made.files):,} files, {made.size_bytes / 1e6:,.1f} MB in {where}")
    if file is None:
        _say(
            "Prefect's database is none of SQLite's; keep it too:  pg_dump --format=custom --file=prefect.dump DATABASE"
        )
    elif backups.DATABASE not in made.files:
        _say(f"There is no database of Prefect's at {file}: on the server's machine its backup has one.")


def restore(
    place: _Place,
    force: Annotated[
        bool, typer.Option("--force", help="Replace accepted data that differs, and put another database beside.")
    ] = False,
) -> None:
    """Put back what `fer backup` kept, once all of it was found whole; Prefect's server must not run.

    Of the registry and the workspace what is missing comes back, and nothing is replaced.
    """
    from fer import settings
    from fer.housekeeping import backup as backups
    from fer.housekeeping import backup_bucket
    from fer.registry import releases
    from flows.operating import database

    configured = settings.Settings.load()
    file = database.sqlite_file(configured.home, os.environ)
    with backup_bucket.here(place) as folder:
        listed = backups.read(folder)
        if file is not None and backups.DATABASE in listed.files and (users := database.users(file)):
            raise errors.WorkspaceError(
                "Prefect's database can be restored while no server uses it.",
                received=f"{', '.join(users)}, with {file}",
                todo="end it (fer down), then run the same command again",
            )
        with releases.open_registry(unsigned=True) as models:
            for line in backups.restore(folder, configured, models, file, force=force):
                _say(line)
    if file is None:
        _say("Prefect's database is none of SQLite's:  pg_restore --clean --dbname=DATABASE prefect.dump")


def _say(text: str) -> None:
    console.out.print(console.plain(text), highlight=False, soft_wrap=True)
