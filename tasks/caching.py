"""One key for the workspace and for Prefect's cache, and one rule for what is worth another try."""

from collections.abc import Callable
from typing import Any

from prefect import get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from fer import errors, plain_text, settings
from fer.engine import connect
from fer.engine.stage import Stage
from fer.engine.workspace import Workspace
from tasks import artifacts, events, logs

logs.tidy()

OnCached = Callable[[Any, dict[str, Any]], None]  # of a Ref and the task's parameters


def workspace() -> Workspace:
    """The workspace that the settings name; one in the store needs this in reach (see `tasks.registry`)."""
    return connect.running_workspace(settings.Settings.load())


def cached(
    stage: Stage[Any], name: str | None = None, *, retries: int = 3, on_cached: OnCached | None = None
) -> dict[str, Any]:
    """The options of a task that runs `stage`, whose parameters bear the names of the stage's inputs.

    `name` is the task's, where it is not the stage's. A second attempt begins with what the first one finished: it may
    only have to bring it to the store. `on_cached` shows in the UI what the body shows, where an earlier run did it.
    """

    def state(parameters: dict[str, Any]) -> tuple[str, bool]:
        inputs = [parameters[name] for name in stage.inputs]
        return stage.key(*inputs), stage.committed(*inputs, workspace=workspace()) is not None

    return keyed(name or stage.name, state, on_cached) | retried(retries)


def keyed(
    name: str, state: Callable[[dict[str, Any]], tuple[str, bool]], on_cached: OnCached | None = None
) -> dict[str, Any]:
    """The options of a task whose output has a key of its own; `state` gives it, and whether the output is there.

    Prefect's key holds the workspace's name of the attempt too, which changes when the output is gone, so that
    Prefect can't answer with a Ref to nothing.
    """

    def key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
        own_key, committed = state(parameters)
        return f"{name}-{own_key}-{workspace().attempt(name, own_key, committed=committed)}"

    return {"name": name, "cache_key_fn": key, "persist_result": True, **JSON_RESULTS, **announced(name, on_cached)}


# Prefect pickles results by default; nothing is unpickled here.
JSON_RESULTS: dict[str, Any] = {"result_serializer": "json"}
# For what must be asked anew in each run, or must not be written down: a resolved source holds credentials.
UNCACHED: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False, **JSON_RESULTS}


def announced(name: str, on_cached: OnCached | None = None) -> dict[str, Any]:
    """The options that tell the log and the listeners in `tasks.events` how a task ended; `on_cached`: see `cached`."""

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
