"""The verified workspace is the one cache: a task whose output is committed ends as *Cached*. Prefect keeps no results.

Nor does it read any: a result that it keeps names its own serializer, pickle among them, and Prefect obeys.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

from prefect import get_run_logger, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.states import Completed
from prefect.tasks import Task, exponential_backoff

from fer import errors, plain_text, settings
from fer.engine import connect
from fer.engine.stage import Found
from fer.engine.workspace import Workspace
from tasks import artifacts, events, graph, logs

logs.tidy()

P = ParamSpec("P")
R = TypeVar("R")
OnCached = Callable[[Any, dict[str, Any]], None]  # of a Ref and the task's parameters
Find = Callable[[Mapping[str, Any]], Found | None]  # of the task's parameters: its output, if it is there

_MAX_NAME_LENGTH = 200  # characters; many sources make a long one
NOT_PERSISTED: dict[str, Any] = {"persist_result": False}  # whatever Prefect's settings or its server say
UNCACHED: dict[str, Any] = {"cache_policy": NO_CACHE, **NOT_PERSISTED}


def run_label() -> str:
    """This flow run, as records name it; empty outside of one."""
    if runtime.flow_run.id is None:
        return ""
    return f"run {str(runtime.flow_run.name)[:_MAX_NAME_LENGTH]} ({runtime.flow_run.id})"


def workspace() -> Workspace:
    """The workspace that the settings name; one in the store needs this in reach (see `tasks.registry`)."""
    return connect.running_workspace(settings.Settings.load(), made_by=run_label(), say=say)


def say(text: str) -> None:
    """Tell the run's log and the terminal something of the workspace, as what was set aside."""
    events.publish(events.Noted("workspace", text))
    try:
        get_run_logger().warning("%s", plain_text.visible(text))
    except MissingContextError:  # in a thread of a task's own
        return


def task(
    name: str, find: Find, *, retries: int = 3, on_cached: OnCached | None = None
) -> Callable[[Callable[P, R]], graph.Task[P, R]]:
    """Make a task that ends as *Cached* where `find` finds its output, and says who made that and when.

    A second attempt begins with what the first one finished: it may only have to bring it to the store. `on_cached`
    shows in the UI what the body shows, where an earlier run did it.
    """

    def decorate(function: Callable[P, R]) -> graph.Task[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def find_or_run(*arguments: P.args, **named: P.kwargs) -> R:
            bound = signature.bind(*arguments, **named)
            bound.apply_defaults()
            found = find(bound.arguments)
            if found is None:
                return function(*arguments, **named)
            if TaskRunContext.get() is None:  # called without Prefect, there is no state to end in
                return cast(R, found.ref)
            message = plain_text.visible(found.record.provenance()) or None
            return cast(R, Completed(name=events.CACHED, message=message, data=found.ref))

        options = {**UNCACHED, **announced(name, on_cached), **retried(retries)}
        return graph.task(name, **options)(find_or_run)

    return decorate


def uncached(name: str, *, retries: int = 3) -> Callable[[Callable[P, R]], graph.Task[P, R]]:
    """Make a task that is no stage, and runs whenever it is called."""
    return graph.task(name, **UNCACHED, **retried(retries))


def announced(name: str, on_cached: OnCached | None = None) -> dict[str, Any]:
    """The options that tell the log and the listeners in `tasks.events` how a task ended; `on_cached`: see `task`."""

    def ended(task: Task[..., Any], run: TaskRun, state: State[Any]) -> None:
        event = events.Ended.of(name, run, state)
        events.publish(event)
        if event.summary:
            cached = " (cached)" if event.cached else ""
            get_run_logger().info("%s%s: %s", name, cached, plain_text.visible(event.summary))
        context = TaskRunContext.get()
        if on_cached is not None and event.cached and context is not None:
            with artifacts.harmless(f"The page of the cached {name}"):
                on_cached(state.result(), context.parameters)

    return {"on_completion": [ended], "on_failure": [ended]}


def retried(times: int) -> dict[str, Any]:
    """The options of a task that waits and tries again after a transient error, and only then."""
    return {
        "retries": times,
        "retry_delay_seconds": exponential_backoff(backoff_factor=2),
        "retry_jitter_factor": 0.5,
        "retry_condition_fn": _is_transient,
    }


def _is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether to try again; Prefect asks while tries are left. Says so, since the wait is silent otherwise."""
    error = state.result(raise_on_failure=False)
    if not isinstance(error, errors.FerError) or not error.transient:
        return False
    if isinstance(error, errors.KaggleUnavailable) and error.wait_s is not None:
        return False  # the task has waited for as long as it may
    events.publish(events.Retrying.after(error, task.name, _wait_s(task, run)))
    return True


def _wait_s(task: Task[..., Any], run: TaskRun) -> float:
    """How long Prefect waits after this attempt, without its jitter."""
    waits = task.retry_delay_seconds
    if not isinstance(waits, list):
        return float(waits or 0)
    return waits[min(max(run.run_count, 1), len(waits)) - 1]
