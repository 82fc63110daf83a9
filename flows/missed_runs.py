"""Of the scheduled runs that no worker was there to start only the newest does its work; manual runs always do."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.states import Completed

# Less is a process's start. Without it a schedule of a few seconds would never come to work: a later run is always due.
_MISSED_AFTER = timedelta(minutes=1)
_NOT_CANCELLED = sorted(set(StateType) - {StateType.CANCELLED, StateType.CANCELLING})


def superseded() -> Any | None:
    """The state in which a flow is to end before any work, by `return`, as a later run of its schedule is due already.

    None for a run that is to go on: in time, or the newest of its schedule; asked for by a person or an event; started
    a second time. Returns Any, since Prefect's own types do not let a flow return a state.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not context.flow_run.auto_scheduled:
        return None
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(context.flow_run.id)  # the context's is from before it ran
        begun = datetime.now(UTC)
        expected = run.expected_start_time or begun
        if run.created_by is None or run.created_by.id is None or run.run_count > 1 or begun - expected < _MISSED_AFTER:
            return None
        due = {
            "created_by": {"id_": [run.created_by.id]},
            "expected_start_time": {"after_": expected, "before_": begun},
            "state": {"type": {"any_": _NOT_CANCELLED}},
        }
        later = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(due), sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1
        )
    if not later or later[0].id == run.id:
        return None
    message = f"It was missed, and the run scheduled for {later[0].expected_start_time:%Y-%m-%d %H:%M:%S %Z} is due."
    return Completed(name="Superseded", message=message)
