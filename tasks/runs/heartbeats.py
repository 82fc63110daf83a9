"""Signs of life of a run, by whose absence the server finds out that its process was killed: see
`flows.operating.silent_runs`.

Prefect sends the same, every `PREFECT_FLOWS_HEARTBEAT_FREQUENCY` seconds. But it waits at the end of a run for a thread
that sleeps for a second at a time, which is long for a command whose stages are all cached.
"""

import contextlib
import contextvars
import threading
from collections.abc import Iterator

from prefect.context import FlowRunContext, SettingsContext, get_settings_context
from prefect.events import emit_event
from prefect.settings import get_current_settings

INTERVAL_S = 30.0
_EVENT = "prefect.flow-run.heartbeat"
_JOIN_TIMEOUT_S = 5.0


@contextlib.contextmanager
def in_place_of_prefects() -> Iterator[None]:
    """Have Prefect send none of the runs in the block, so that `sent` does."""
    current = get_settings_context()
    flows = current.settings.flows.model_copy(update={"heartbeat_frequency": None})  # no environment variable says None
    with SettingsContext(profile=current.profile, settings=current.settings.model_copy(update={"flows": flows})):
        yield


@contextlib.contextmanager
def sent() -> Iterator[None]:
    """Send one now and at intervals, from a thread, as long as the block lasts.

    None is sent outside of a run, nor where Prefect sends them.
    """
    context = FlowRunContext.get()
    sends_itself = get_current_settings().flows.heartbeat_frequency is not None
    if context is None or context.flow_run is None or sends_itself:
        yield
        return
    resource = {
        "prefect.resource.id": f"prefect.flow-run.{context.flow_run.id}",
        "prefect.resource.name": context.flow_run.name,
    }
    is_over = threading.Event()

    def send() -> None:
        emit_event(_EVENT, resource)  # Prefect adds what it is related to, from the context; it raises nothing
        while not is_over.wait(INTERVAL_S):
            emit_event(_EVENT, resource)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(send,), name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(_JOIN_TIMEOUT_S)  # or one might follow the run's end, and the server wait for the next
