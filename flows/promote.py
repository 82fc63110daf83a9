"""Make a version the champion of its model: what `fer models promote` does, from the Prefect UI or by an automation."""

from typing import Annotated

from prefect import flow
from pydantic import Field

import tasks.registry
from flows import run_options
from tasks import champions
from tasks.runs import outcomes
from tasks.runs.results import ChampionMoved

Version = Annotated[int, Field(ge=1)]


@flow(name="promote", flow_run_name="{name}@{version}", **run_options.OPTIONS)
@outcomes.as_final_state
def promote(name: str, version: Version, reason: str = "", override: str = "") -> ChampionMoved:
    """Make a version champion by name; what was rolled back or withdrawn may be promoted by runs again.

    Args:
        name: The model's name in the registry.
        version: The version that is to be champion.
        reason: Why; it is kept in the model's log.
        override: Why a version becomes champion that the gates refused; kept in the log.
    """
    with tasks.registry.store_in_reach(makes_outputs=False):
        return champions.promote(name, version, reason, override)
