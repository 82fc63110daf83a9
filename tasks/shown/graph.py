"""The graph of a run in the Prefect UI: phases that unfold to their tasks, and an arrow from each to what needs it.

Prefect itself draws an arrow for each object, however small, that a task returned and another one takes. Equal short
texts are one object, and what a task needs mostly follows from what others need: the chain is not to be seen.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

import prefect
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.utilities.collections import visit_collection
from pydantic import BaseModel

from fer.engine.refs import Ref
from tasks.planning import walks

P = ParamSpec("P")
R = TypeVar("R")
_Key = str | int  # of a Ref its path, of another record its identity


class Level:
    """Tasks that ran one after the other, in a flow or a phase of it: which one made what."""

    def __init__(self) -> None:
        self._states: list[State[Any]] = []
        self._before: list[frozenset[int]] = []  # of each task all that had to end before it
        self._maker: dict[_Key, int] = {}

    def direct(self, given: Any) -> list[int]:
        """The tasks that made what is `given` to the next one, without those that others of them imply."""
        makers = {self._maker[key] for key in _keys(given) if key in self._maker}
        implied = frozenset[int]().union(*(self._before[maker] for maker in makers))
        return sorted(makers - implied)

    def states(self, tasks: list[int]) -> list[State[Any]]:
        """How these tasks ended."""
        return [self._states[task] for task in tasks]

    def add(self, state: State[Any], result: Any, direct: list[int]) -> None:
        """Note a task that ended; what it only passes on remains its maker's."""
        task = len(self._states)
        self._states.append(state)
        self._before.append(frozenset(direct).union(*(self._before[before] for before in direct)))
        for place, key in enumerate(_keys(result)):
            if place == 0 or key not in self._maker:
                self._maker[key] = task


_levels: ContextVar[dict[UUID | None, Level] | None] = ContextVar("_levels", default=None)


@contextlib.contextmanager
def drawn() -> Iterator[None]:
    """Draw the arrows among the tasks of the flow run that goes on within the block."""
    token = _levels.set({})
    try:
        yield
    finally:
        _levels.reset(token)


class Task(prefect.Task[P, R]):
    """A task that bears its own name in the graph, with arrows from those that made what it takes.

    It may end in a state of its own, as *Cached*; a caller is spared that, and gets the output. In a walk (see
    `tasks.planning.walks`) `planned` is called in its place.
    """

    planned: Callable[..., Any]

    def __call__(self, *arguments: Any, return_state: bool = False, **named: Any) -> Any:  # type: ignore[override] # Prefect overloads it
        """Run the task; the output, or with `return_state` the state that it ended in."""
        if walks.current() is not None:
            return self.planned(*arguments, **named)
        level, direct = _current(), list[int]()
        if level is not None:
            direct = level.direct((arguments, named))
            named["wait_for"] = level.states(direct)
        state: State[Any] = super().__call__(*arguments, return_state=True, **named)
        if level is not None and state.is_completed():
            level.add(state, state.result(), direct)
        return state if return_state else state.result()


def _current() -> Level | None:
    """The level of the task that is called next; None where no flow is drawn."""
    levels, flow_run, outer = _levels.get(), FlowRunContext.get(), TaskRunContext.get()
    if levels is None or flow_run is None:
        return None
    flow_run.run_results.clear()  # by which Prefect would draw its own
    return levels.setdefault(None if outer is None else outer.task_run.id, Level())


def task(
    name: str, *, planned: Callable[..., Any] | None = None, **options: Any
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a task of a function, with these of Prefect's options.

    `planned` takes its place in a walk, which without it leaves the task out.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        made = Task(function, name=name, task_run_name=lambda: name, **options)
        made.planned = planned or _left_out
        return made

    return decorate


def _left_out(*_: Any, **__: Any) -> None:
    return


def phase(name: str, function: Callable[P, R]) -> Callable[P, R]:
    """A function that calls tasks, as one node of the graph, which unfolds to them.

    It is a task for its looks: the function is not to do work of its own, nor to try again.
    """
    node: Any = task(name, planned=function, cache_policy=NO_CACHE, persist_result=False, retries=0)(function)
    return cast(Callable[P, R], node)


def _keys(part: Any) -> list[_Key]:
    """Of the records in `part`, the outermost first."""
    keys: dict[_Key, None] = {}

    def note(found: Any) -> None:
        if isinstance(found, Ref) and found.path:
            keys[found.path] = None
        elif isinstance(found, BaseModel) or (dataclasses.is_dataclass(found) and not isinstance(found, type)):
            keys[id(found)] = None

    visit_collection(part, visit_fn=note, return_data=False)
    return list(keys)
