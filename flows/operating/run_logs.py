"""The log of a run, from Prefect's API."""

import time
from collections.abc import Iterator
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, LogFilter
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.sorting import FlowRunSort, LogSort
from prefect.exceptions import ObjectNotFound

from fer import errors

LATEST = "latest"
_PAGE = 200  # the most that the server gives at once
_POLL_S = 1.0


def find(client: SyncPrefectClient, which: str) -> FlowRun:
    """The run of this ID or name, of several the one that began last; or `latest`. Raises ConfigError."""
    run_id = _as_id(which)
    if run_id is not None:
        try:
            return client.read_flow_run(run_id)
        except ObjectNotFound:
            raise _none_such(which) from None
    wanted: dict[str, object] = {"start_time": {"is_null_": False}}
    if which == LATEST:
        wanted["parent_task_run_id"] = {"is_null_": True}
    else:
        wanted["name"] = {"any_": [which]}
    only = FlowRunFilter.model_validate(wanted)
    runs = client.read_flow_runs(flow_run_filter=only, sort=FlowRunSort.START_TIME_DESC, limit=1)
    if not runs:
        raise _none_such(which)
    return runs[0]


def lines(client: SyncPrefectClient, run: FlowRun, *, follow: bool) -> Iterator[Log]:
    """Its lines in their order; with `follow` those that come too, until the run is over."""
    only, offset = LogFilter.model_validate({"flow_run_id": {"any_": [run.id]}}), 0
    while True:
        # Asked before the lines: what is written after a run's end is not waited for.
        state = client.read_flow_run(run.id).state if follow else None
        while page := client.read_logs(only, limit=_PAGE, offset=offset, sort=LogSort.TIMESTAMP_ASC):
            yield from page
            offset += len(page)
        if state is None or state.is_final():
            return
        time.sleep(_POLL_S)


def _as_id(which: str) -> UUID | None:
    try:
        return UUID(which)
    except ValueError:
        return None


def _none_such(which: str) -> errors.ConfigError:
    return errors.ConfigError(
        "A run that has begun must be named, by its ID or its name.",
        received=which,
        todo=f"fer logs {LATEST}; or see `fer status` for the last runs",
    )
