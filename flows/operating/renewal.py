"""The overview in Prefect's UI: one artifact, renewed after each run."""

from typing import Any

from prefect import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import ArtifactSort
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger
from prefect.states import State

from fer import settings
from fer.reports.overview import page, words
from fer.reports.overview.document import Overview
from flows.operating import overview

KEY = "installation-overview"


def renew(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
    """Show how the installation stands after this run. What goes wrong with that is a warning in the run's log."""
    try:
        show(overview.after_a_run(settings.Settings.load()))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the overview, the run is over
        flow_run_logger(run, flow).warning("The overview can't be renewed (%s).", type(error).__name__)


AFTER_EACH_RUN: dict[str, Any] = {"on_completion": [renew], "on_failure": [renew], "on_crashed": [renew]}


def show(found: Overview) -> None:
    """Put it in the place of the artifact that is there, so that the database does not grow with each run."""
    values: dict[str, Any] = {"data": page.markdown(found), "description": words.headline(found)}
    only = ArtifactFilter.model_validate({"key": {"any_": [KEY]}})
    with get_client(sync_client=True) as client:
        there = client.read_artifacts(artifact_filter=only, sort=ArtifactSort.CREATED_DESC, limit=1)
        if there:
            client.update_artifact(there[0].id, ArtifactUpdate(**values))
        else:
            client.create_artifact(ArtifactCreate(key=KEY, type="markdown", **values))
