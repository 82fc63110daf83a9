"""The artifacts that one run of a flow has shown; other processes of the tests run flows on the same server."""

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact


def shown_in(run_id: UUID) -> dict[str, Artifact]:
    """The run's artifacts by their keys."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(flow_run_filter=of_run, limit=100)
    return {artifact.key: artifact for artifact in artifacts if artifact.key is not None}
