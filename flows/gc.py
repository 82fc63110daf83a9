"""Remove what nothing needs any more: what `fer gc --yes` does, on a schedule."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from fer.housekeeping.liveness import Policy
from flows import missed_runs, run_options
from tasks import housekeeping
from tasks.runs import outcomes
from tasks.runs.results import Collected


@flow(name="gc", **run_options.OPTIONS)
@outcomes.as_final_state
def gc(
    older_than_days: Annotated[float, Field(ge=0)] = 30,
    keep_last: Annotated[int, Field(ge=0)] = 3,
    max_gb: Annotated[float, Field(ge=0)] | None = None,
    releases_older_than_days: Annotated[float, Field(ge=0)] | None = None,
    grace_hours: Annotated[float, Field(ge=0)] = 24,
    delete: bool = True,
) -> Collected:
    """Remove outputs, fetched models, pages and logs that nothing needs any more, of the store abandoned uploads and
    files of withdrawn releases; prove that what is needed is whole.

    Args:
        older_than_days: Days since its last use after which a thing goes.
        keep_last: Of each stage and model those used last, which stay.
        max_gb: GB that all may take; what was used longest ago goes for the rest. Empty: any number.
        releases_older_than_days: Days after which the files of a release go that nothing needs. Empty: those of
            withdrawn ones alone.
        grace_hours: Hours since its last use in which nothing goes.
        delete: Remove it; else only show it.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    policy = Policy(
        older_than_days=older_than_days,
        keep_last=keep_last,
        max_bytes=None if max_gb is None else int(max_gb * 1e9),
        releases_older_than_days=releases_older_than_days,
        grace_hours=grace_hours,
    )
    return housekeeping.collect(policy, delete)
