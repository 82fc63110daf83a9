"""How a task runs its stage: cached by the stage's key, in the workspace, with a bar in the UI and the terminal."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, ParamSpec, TypeVar

from prefect.tasks import Task

from fer import errors
from fer.engine.refs import Ref
from fer.engine.stage import Found, Stage
from tasks import caching
from tasks.shown import artifacts

P = ParamSpec("P")
RefT = TypeVar("RefT", bound=Ref)

NAMES: set[str] = set()  # of all tasks that run a stage


def task(
    stage: Stage[RefT],
    name: str | None = None,
    *,
    retries: int = 3,
    on_cached: caching.OnCached | None = None,
    presumed: caching.Presumed | None = None,
) -> Callable[[Callable[P, RefT]], Task[P, RefT]]:
    """Make a Prefect task of a function that runs `stage`; `name` is the task's, where it is not the stage's.

    `on_cached`, `presumed`: see `caching.task`.

    Raises TypeError unless the function has a parameter of the name of each of the stage's inputs.
    """

    def decorate(function: Callable[P, RefT]) -> Task[P, RefT]:
        missing = set(stage.inputs) - set(inspect.signature(function).parameters)
        if missing:
            raise TypeError(f"The task {function.__name__} must have the stage's inputs. Received: none of {missing}.")

        def find(parameters: Mapping[str, Any]) -> Found | None:
            return stage.found(*(parameters[given] for given in stage.inputs), workspace=caching.workspace())

        options: dict[str, Any] = {"retries": retries, "on_cached": on_cached, "presumed": presumed}
        NAMES.add(name or stage.name)
        return caching.task(name or stage.name, find, stage=stage, **options)(function)

    return decorate


def checked(names: Collection[str]) -> list[str]:
    """The names of tasks that run a stage, as they are; a dash is a blank. Raises ConfigError for others."""
    given = [name if name in NAMES else name.replace("-", " ") for name in names]
    unknown = sorted(set(given) - NAMES)
    if unknown:
        raise errors.ConfigError(
            "What --again names must be stages.",
            received=", ".join(unknown),
            todo=f"name some of {', '.join(sorted(NAMES))}",
        )
    return given


def run(stage: Stage[RefT], *inputs: Any, name: str | None = None, **options: Any) -> RefT:
    """The stage's output for these inputs; `name` is the task's, where it is not the stage's."""
    again = caching.is_forced(name or stage.name)
    with artifacts.progress_bar(name or stage.name) as progress:
        return stage(*inputs, workspace=caching.workspace(), progress=progress, again=again, **options)
