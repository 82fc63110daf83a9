"""Shard-sized work items over a pool of spawned processes.

Spawn only: a forked child inherits the locks of TensorFlow's, OpenCV's and Arrow's threads, and hangs on them.
"""

import concurrent.futures
import itertools
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import psutil

from fer import errors
from fer.engine.processes import cgroups
from fer.progress import Progress, silent

T = TypeVar("T")
R = TypeVar("R")

_WORKER_BYTES = 250_000_000  # what one was seen to take, libraries for the most part
_PENDING_PER_WORKER = 3  # items: one at work, one on its way, one ready


def usable_cores() -> int:
    """How many cores this process may use: a container's quota or `taskset` can give fewer than the machine has.

    A part of a core counts as one, so that all of a quota can be used.
    """
    # macOS has no affinity
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(n_cores, cgroups.cpus()))


def usable_workers() -> int:
    """How many processes to work in: one for each usable core, as far as there is memory for them."""
    free = [psutil.virtual_memory().available, *(memory.left for memory in cgroups.memory())]
    return max(1, min(usable_cores(), min(free) // _WORKER_BYTES))


def map_ordered(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int | None = None,
    total: int | None = None,
    weigh: Callable[[T], int] = lambda item: 1,
    progress: Progress = silent,
    text: str = "",
    alone_s: float | None = None,
) -> list[R]:
    """Call `function`, which a spawned process must be able to import, on each item; results in the items' order.

    Items are taken as they are needed, a few before the workers need them: their generator can hold one at a time in
    memory.
    `workers`: processes at most, by default `usable_workers()`; with one worker or one item, or where the system gives
    processes nothing to wait for each other with, all happens in this process. `progress` reports the sum of what the
    finished items `weigh`, of `total` (by default their number: then all are taken at once).
    With `alone_s` this process is one of the workers, and starts the others once it would be at work for more seconds
    than that; without, all are others, and what kills one leaves this process alive.
    An item that fails does not stop the others: the first failing item's error is raised once all have ended, so that
    shards which `function` has finished are kept for the next attempt.
    Raises WorkspaceError if a worker is killed (as the kernel does when memory runs out).
    """
    if total is None:
        items = list(items)
        total = len(items)
    rest = iter(items)
    first = list(itertools.islice(rest, 2))
    n_workers = workers or usable_workers()
    waiting = itertools.chain(first, rest)
    began = time.monotonic()
    done = 0

    def on_done(item: T) -> None:
        nonlocal done
        done += weigh(item)
        progress(done, total, text)

    if n_workers > 1 and len(first) > 1 and (fault := _fault()) is not None:
        progress.note(f"in one process, since several can't work together here: {fault}")
        n_workers = 1
    if n_workers <= 1 or len(first) <= 1:
        return _in_this_process(function, waiting, on_done)
    pools: list[concurrent.futures.ProcessPoolExecutor] = []
    n_others = n_workers if alone_s is None else n_workers - 1

    def max_pending() -> int:
        if alone_s and not pools:
            left_s = (time.monotonic() - began) * (total - done) / done if done else 0
            if left_s <= alone_s:
                return 0
        return _PENDING_PER_WORKER * n_others

    def submit(item: T) -> "concurrent.futures.Future[R]":
        if not pools:
            context = multiprocessing.get_context("spawn")
            pools.append(
                concurrent.futures.ProcessPoolExecutor(n_others, mp_context=context, initializer=_prepare_worker)
            )
        return pools[0].submit(function, item)

    try:
        return bounded(submit, waiting, max_pending, on_done, None if alone_s is None else function)
    except BrokenProcessPool as error:
        raise errors.WorkspaceError(
            "Every worker process must live until its work is done.",
            received=f"one was killed during '{text or getattr(function, '__name__', 'a stage')}', "
            "most often because memory ran out",
            todo="free some memory, then run the same command again; finished shards are kept",
        ) from error
    finally:
        # After an interrupt what has not begun is dropped; what has begun ends, so that no worker outlives the call.
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)


def _fault() -> str | None:
    """Why processes can't share a semaphore, as where /dev/shm is read-only or missing; None if they can."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except (OSError, ImportError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"{reason} (/dev/shm must be writable)"
    return None


def bounded(
    submit: Callable[[T], "concurrent.futures.Future[R]"],
    items: Iterator[T],
    max_pending: Callable[[], int],
    on_done: Callable[[T], None],
    here: Callable[[T], R] | None = None,
) -> list[R]:
    """Submit the items, at most `max_pending()` of them not yet done at a time; results in the items' order.

    Meanwhile `here`, if given, is called in this process with items that no worker has begun. `on_done` is called with
    each item that ended. Raises the first failing item's error once all have ended.
    """
    futures: list[concurrent.futures.Future[R]] = []
    pending: dict[concurrent.futures.Future[R], tuple[int, T]] = {}
    while True:
        for item in itertools.islice(items, max(0, max_pending() - len(pending))):
            future = submit(item)
            pending[future] = (len(futures), item)
            futures.append(future)
        next_here = None if here is None else _not_begun(items, futures, pending)
        if next_here is None and not pending:
            return [future.result() for future in futures]
        if here is not None and next_here is not None:
            position, item = next_here
            futures[position] = _done(here, item)
            on_done(item)
        wait_s = 0 if next_here is not None else None
        ended, _ = concurrent.futures.wait(pending, wait_s, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in ended:
            on_done(pending.pop(future)[1])


def _not_begun(
    items: Iterator[T],
    futures: "list[concurrent.futures.Future[R]]",
    pending: "dict[concurrent.futures.Future[R], tuple[int, T]]",
) -> tuple[int, T] | None:
    """The next item and its position in the results; if none is left, a submitted one that still waits, if any."""
    for item in items:
        futures.append(concurrent.futures.Future())
        return len(futures) - 1, item
    for future in reversed(pending):
        if future.cancel():
            return pending.pop(future)
    return None


def _done(function: Callable[[T], R], item: T) -> "concurrent.futures.Future[R]":
    future: concurrent.futures.Future[R] = concurrent.futures.Future()
    try:
        future.set_result(function(item))
    except Exception as error:  # noqa: BLE001 - raised when the result is asked for
        future.set_exception(error)
    return future


def _in_this_process(function: Callable[[T], R], items: Iterable[T], on_done: Callable[[T], None]) -> list[R]:
    results: list[R] = []
    first_error: Exception | None = None
    for item in items:
        try:
            results.append(function(item))
        except Exception as error:  # noqa: BLE001 - raised below, once the other items have had their turn
            first_error = first_error or error
        on_done(item)
    if first_error is not None:
        raise first_error
    return results


def _prepare_worker() -> None:
    """Leave Ctrl-C and a closed terminal to the parent, and end when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _end_with_parent() -> None:
    # Killed with SIGKILL the parent closes nothing in order, and a worker would wait for ever on the pool's queue,
    # whose writing end it holds itself. The sentinel is a pipe that only the parent holds open.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
