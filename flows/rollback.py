"""Go back to an earlier champion: what `fer models rollback` does, from the Prefect UI or by an automation."""

from typing import Annotated

from prefect import flow
from pydantic import Field

import tasks.registry
from flows import run_options
from tasks import champions
from tasks.runs import outcomes
from tasks.runs.results import ChampionMoved


@flow(name="rollback", flow_run_name="{name}", **run_options.OPTIONS)
@outcomes.as_final_state
def rollback(name: str, to: Annotated[int, Field(ge=1)] | None = None, reason: str = "") -> ChampionMoved:
    """Go back to an earlier champion; no run promotes the version left until `promote` names it.

    Args:
        name: The model's name in the registry.
        to: The version to go back to; without it the champion before.
        reason: Why; it is kept in the model's log.
    """
    with tasks.registry.store_in_reach(makes_outputs=False):
        return champions.rollback(name, to, reason)
