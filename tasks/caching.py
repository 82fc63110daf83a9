"""The verified workspace is the one cache: a task whose output is committed ends as *Cached*. Prefect keeps no results.

Nor does it read any: a result that it keeps names its own serializer, pickle among them, and Prefect obeys.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
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
from fer.engine.refs import Ref
from fer.engine.stage import Found, Stage
from fer.engine.workspace import Workspace
from tasks.planning import provenance, walks
from tasks.runs import events, logs
from tasks.shown import artifacts, graph

logs.tidy()

P = ParamSpec("P")
R = TypeVar("R")
OnCached = Callable[[Any, dict[str, Any]], None]  # of a Ref and the task's parameters
Find = Callable[[Mapping[str, Any]], Found | None]  # of the task's parameters: its output, if it is there
Through = Callable[[walks.Walk, Mapping[str, Any]], Ref]  # of the task's parameters: the last stage's output
Presumed = Callable[[Mapping[str, Any]], dict[str, Any]]  # of the task's parameters: fields of its output

_again: ContextVar[frozenset[str]] = ContextVar("_again", default=frozenset())
_MAX_NAME_LENGTH = 200  # characters; many sources make a long one
NOT_PERSISTED: dict[str, Any] = {"persist_result": False}  # whatever Prefect's settings or its server say
_STORE_RETRIES = 5  # 62 s of waiting
UNCACHED: dict[str, Any] = {"cache_policy": NO_CACHE, **NOT_PERSISTED}


def run_label() -> str:
    """This flow run, as records name it; empty outside of one."""
    if runtime.flow_run.id is None:
        return ""
    return f"run {str(runtime.flow_run.name)[:_MAX_NAME_LENGTH]} ({runtime.flow_run.id})"


def workspace() -> Workspace:
    """The workspace that the settings name; one in the store needs this in reach (see `tasks.registry`)."""
    if (walk := walks.current()) is not None:
        return walk.workspace
    return connect.running_workspace(settings.Settings.load(), made_by=run_label(), say=say)


def say(text: str) -> None:
    """Tell the run's log and the terminal something of the workspace, as what was set aside."""
    events.publish(events.Noted("workspace", text))
    try:
        get_run_logger().warning("%s", plain_text.visible(text))
    except MissingContextError:  # in a thread of a task's own
        return


@contextlib.contextmanager
def again(names: Collection[str]) -> Iterator[None]:
    """Have the tasks of these names run within the block although their outputs are there."""
    token = _again.set(frozenset(names))
    try:
        yield
    finally:
        _again.reset(token)


def is_forced(name: str) -> bool:
    """Whether the task of this name, or the stage within a task, is to run although its output is there."""
    return name in _again.get()


def task(
    name: str,
    find: Find,
    *,
    stage: Stage[Any] | None = None,
    presumed: Presumed | None = None,
    through: Through | None = None,
    retries: int = 3,
    on_cached: OnCached | None = None,
    model_of: Callable[[Mapping[str, Any]], str] = lambda _: "",
) -> Callable[[Callable[P, R]], graph.Task[P, R]]:
    """Make a task that ends as *Cached* where `find` finds its output, and says who made that and when.

    A second attempt begins with what the first one finished: it may only have to bring it to the store. `on_cached`
    shows in the UI what the body shows, where an earlier run did it. `stage` is what the task runs, if that is one;
    what it ran for is said. `presumed`: what a plan takes for granted of an output that is not made yet; `through`: how
    a plan walks through a task of several stages; `model_of`: the name of the model that a task of no stage is about.
    """

    def decorate(function: Callable[P, R]) -> graph.Task[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def find_or_run(*arguments: P.args, **named: P.kwargs) -> R:
            bound = signature.bind(*arguments, **named)
            bound.apply_defaults()
            found = None if is_forced(name) else find(bound.arguments)
            context = TaskRunContext.get()
            if context is None:  # called without Prefect, there is no state to end in
                return function(*arguments, **named) if found is None else cast(R, found.ref)
            if found is not None:
                told = provenance.of_cached(found.record)
                provenance.tell(context.task_run.id, told)
                return cast(R, Completed(name=events.CACHED, message=told.sentence() or None, data=found.ref))
            told = provenance.Told()
            if stage is not None:
                with artifacts.harmless(f"What {name} runs for"):
                    told = provenance.of_run(stage, bound.arguments, workspace(), is_forced(name))
            provenance.tell(context.task_run.id, told)
            if told.why:
                get_run_logger().info("%s runs: %s", name, told.sentence())
            if told.is_of_its_own:
                events.publish(events.Noted(name, f"runs: {told.why}"))
            made = function(*arguments, **named)
            return cast(R, Completed(message=told.sentence() or None, data=made))

        def look(*arguments: P.args, **named: P.kwargs) -> Any:
            bound = signature.bind(*arguments, **named)
            bound.apply_defaults()
            walk = walks.current()
            if walk is None:
                raise ValueError(f"{name} must be looked up within a walk.")
            ref_type = walks.result_of(function) if stage is None else stage.ref_type
            known = {} if presumed is None else presumed(bound.arguments)
            model = model_of(bound.arguments)
            return walk.output(walks.Task(name, ref_type, find, stage, known, through, model), bound.arguments)

        options = {**UNCACHED, **announced(name, on_cached), **retried(retries)}
        return graph.task(name, planned=look, **options)(find_or_run)

    return decorate


def uncached(
    name: str, *, planned: Callable[..., Any] | None = None, only_looks: bool = False, retries: int = 3
) -> Callable[[Callable[P, R]], graph.Task[P, R]]:
    """Make a task that is no stage, and runs whenever it is called.

    A walk calls `planned` in its place, or the function itself if it `only_looks`; else the walk leaves it out.
    """
    return lambda function: graph.task(
        name, planned=function if only_looks else planned, **UNCACHED, **retried(retries)
    )(function)


def announced(name: str, on_cached: OnCached | None = None) -> dict[str, Any]:
    """The options by which a task tells the log and the listeners in `tasks.runs.events` how it ended; see `task`."""

    def ended(task: Task[..., Any], run: TaskRun, state: State[Any]) -> None:
        told = provenance.told(run.id)
        event = events.Ended.of(name, run, state, told)
        events.publish(event)
        if event.summary:
            cached = f" (cached: {told.sentence()})" if event.cached else ""
            get_run_logger().info("%s%s: %s", name, cached, plain_text.visible(event.summary))
        context = TaskRunContext.get()
        if on_cached is not None and event.cached and context is not None:
            with artifacts.harmless(f"The page of the cached {name}"):
                on_cached(state.result(), context.parameters)

    return {"on_completion": [ended], "on_failure": [ended]}


def retried(times: int) -> dict[str, Any]:
    """The options of a task that waits and tries again after a transient error, and only then.

    A store that does not answer, as one that is started anew, is waited for a minute: more often than `times`, unless
    that is 0.
    """
    return {
        "retries": max(times, _STORE_RETRIES) if times else 0,
        "retry_delay_seconds": exponential_backoff(backoff_factor=2),
        "retry_jitter_factor": 0.5,
        "retry_condition_fn": functools.partial(_is_transient, times),
    }


def _is_transient(times: int, task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether to try again; Prefect asks while tries are left. Says so, since the wait is silent otherwise."""
    error = state.result(raise_on_failure=False)
    if not isinstance(error, errors.FerError) or not error.transient:
        return False
    if run.run_count > times and not isinstance(error, errors.StoreUnavailable):
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
