"""Keep what can't be made again: what `fer backup` does, on a schedule, to a place with the last backups."""

import os
from typing import Annotated

from prefect import flow
from pydantic import Field

from fer import settings
from flows import missed_runs, run_options
from flows.operating import database
from tasks import housekeeping
from tasks.runs import outcomes
from tasks.runs.results import BackedUp


@flow(name="backup", **run_options.OPTIONS)
@outcomes.as_final_state
def backup(to: str, keep: Annotated[int, Field(ge=1)] = 7) -> BackedUp:
    """Keep the registry with the releases in need, the accepted data, and Prefect's database if it is SQLite here.

    Args:
        to: A folder, or `s3://BUCKET/PREFIX` of the store; each backup is below it, named by its time.
        keep: How many backups stay there.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    return housekeeping.back_up(to, database.sqlite_file(settings.Settings.load().home, os.environ), keep)
