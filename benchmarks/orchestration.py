"""What Prefect costs a run: a whole flow beside the same stages as plain functions, and a command that is all cached.

The flow runs once with nothing cached and once with everything. A clock that both share tells the time within the
tasks' functions, which is what the stages would take as plain functions, from all that is around it: states, artifacts,
the graph, the calls to the server. Two runs of minutes on a busy machine would differ by more than that.
"""

import contextlib
import functools
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import Row

_RECIPE = Path(__file__).parent / "campaigns" / "quick_demo.toml"
_AT_MOST, _AT_MOST_S = 1.03, 5.0  # whichever is more
_CACHED_S = {"a server that runs": 5.0, "the temporary server": 12.0}  # of wall time, the interpreter's start included
_ROUNDS = 3
_WORK, _AROUND = "work", "around"
_COMMAND = [sys.executable, "-c", "from flows.cli.app import process; process()", "retrain", "--recipe", str(_RECIPE)]


class _Clock:
    """Seconds of the main thread, by what it was last found to be at."""

    def __init__(self) -> None:
        self.seconds = {_WORK: 0.0, _AROUND: 0.0}
        self._at = [_AROUND]
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def at(self, what: str) -> Iterator[None]:
        self._turn()
        self._at.append(what)
        try:
            yield
        finally:
            self._turn()
            self._at.pop()

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._at[-1]] += now - self._since
        self._since = now

    def timed(self, function: Callable[..., Any], what: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return function(*arguments, **named)
            with self.at(what):
                return function(*arguments, **named)

        return run


def run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        homes = {"FER_HOME": f"{folder}/fer", "PREFECT_HOME": f"{folder}/prefect"}
        with mock.patch.dict(os.environ, homes):
            os.environ.pop("PREFECT_API_URL", None)
            yield from _rows(folder)


def _rows(folder: str) -> Iterator[Row]:
    from fer import settings
    from fer.engine.store import seaweedfs
    from flows.cli import options, temporary_server

    options.quiet_prefect(verbose=False)
    server = temporary_server.start()
    with seaweedfs.running(settings.Settings.load().home):
        for name in ("nothing cached", "all cached"):
            spent = _spent()
            work, whole = spent[_WORK], sum(spent.values())
            at_most = max(_AT_MOST, 1 + _AT_MOST_S / work)
            yield Row(f"retrain, {name}; reference: its tasks' functions alone", whole, "s", work, at_most=at_most)
        yield from _of_command("a server that runs", folder)
        if server is not None:
            server.stop()
        yield from _of_command("the temporary server", folder)


def _spent() -> dict[str, float]:
    """Seconds of one run of the flow within its tasks' functions, and around them."""
    from prefect import artifacts, task_engine

    from flows import retrain
    from tasks.shown import graph

    clock = _Clock()
    shown = [name for name in dir(artifacts) if name.startswith(("create_", "update_")) and name.endswith("_artifact")]
    with contextlib.ExitStack() as patches:
        for place, name, what in (
            (task_engine.SyncTaskRunEngine, "call_task_fn", _WORK),
            (graph.Task, "__call__", _AROUND),
            *((artifacts, name, _AROUND) for name in shown),
        ):
            patches.enter_context(mock.patch.object(place, name, clock.timed(getattr(place, name), what)))
        with clock.at(_AROUND):
            retrain.retrain(["demo"], recipe=str(_RECIPE))
    return clock.seconds


def _of_command(server: str, folder: str) -> Iterator[Row]:
    """The quickest of some runs of the command: seconds of wall time beside the bar, and of CPU."""
    took = []
    for _ in range(_ROUNDS):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(_COMMAND, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    wall, cpu = min(took)
    yield Row(f"fer retrain, all cached, by {server}; reference: the bar", wall, "s", _CACHED_S[server], at_most=1)
    yield Row("the same, CPU of its processes but the store's; reference: its wall time", cpu, "s", wall)
