"""The events of a run, for listeners in this process: the `fer` command draws them in the terminal."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from prefect.client.schemas.objects import State, TaskRun

from fer import errors
from fer.engine.refs import Ref
from tasks.planning.provenance import Told

CACHED = "Cached"  # the name of the state of a task whose output was there already


@dataclass(frozen=True)
class Started:
    """A stage's body has begun; a cached stage never starts."""

    name: str


@dataclass(frozen=True)
class Planned:
    """What a stage is about to do, before it does it: rows with the same columns, column -> value."""

    name: str
    title: str
    rows: Sequence[Mapping[str, str | int | float]]


@dataclass(frozen=True)
class Progressed:
    """A stage at work has done so much of its total; `note` says what is counted."""

    name: str
    done: int
    total: int
    note: str


@dataclass(frozen=True)
class Noted:
    """A line of a stage at work that is worth keeping."""

    name: str
    text: str


@dataclass(frozen=True)
class Ended:
    """A stage has ended, or its output was there already (`cached`); `summary` is its output's.

    `key` is that of its output; `origin` says which run made a cached one and when, `why` what another ran for; each is
    empty where it is not known.
    """

    name: str
    cached: bool
    failed: bool
    seconds: float
    summary: str
    key: str = ""
    origin: str = ""
    why: str = ""

    @classmethod
    def of(cls, name: str, run: TaskRun, state: State[Any], told: Told) -> Self:
        """From what Prefect gives to a task's hooks."""
        result = state.result(raise_on_failure=False)
        start, end = run.start_time, state.timestamp
        return cls(
            name=name,
            cached=state.name == CACHED,
            failed=not state.is_completed(),
            seconds=(end - start).total_seconds() if start and end else 0.0,
            summary=result.summary() if isinstance(result, Ref) else "",
            key=told.key,
            origin=told.origin,
            why=told.why,
        )


@dataclass(frozen=True)
class Over:
    """Work that is no stage, and has nothing to say at its end, is at its end."""

    name: str


@dataclass(frozen=True)
class Retrying:
    """An attempt failed for a transient reason; the next one follows after about `wait_s` seconds."""

    name: str
    reason: str
    wait_s: float

    @classmethod
    def after(cls, error: errors.FerError, name: str, wait_s: float) -> Self:
        """From the error, without its advice: what is to be done next is done."""
        reason, _, _ = " ".join(str(error).split()).partition(" Next: ")
        return cls(name, reason, wait_s)


Event = Started | Planned | Progressed | Noted | Ended | Over | Retrying
_listeners: list[Callable[[Event], None]] = []


@contextlib.contextmanager
def heard_by(listener: Callable[[Event], None]) -> Iterator[None]:
    """Have `listener` called with each event within the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def publish(event: Event) -> None:
    """Tell every listener."""
    for listener in _listeners:
        listener(event)
