"""Shard-sized pieces of work over a pool of spawned processes.

Spawn only: a forked child inherits the locks of TensorFlow's, OpenCV's and Arrow's threads, and hangs on them.
"""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from fer import errors
from fer.progress import Progress, silent

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """How many cores this process may use: a container or `taskset` can give fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


def map_ordered(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    workers: int | None = None,
    progress: Progress = silent,
    note: str = "",
) -> list[R]:
    """Call `function`, which a spawned process must be able to import, on each item; results in the items' order.

    `workers`: processes at most, by default one for each usable core; with one worker or one item all happens in
    this process. An item that fails does not stop the others: the first failing item's error is raised once all
    have ended, so that shards which `function` has finished are kept for the next attempt.
    Raises WorkspaceError if a worker is killed (as the kernel does when memory runs out).
    """
    n_workers = min(workers or usable_cores(), len(items))
    if n_workers <= 1:
        return _in_this_process(function, items, progress, note)
    pool = concurrent.futures.ProcessPoolExecutor(
        n_workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker
    )
    try:
        futures = [pool.submit(function, item) for item in items]
        for done, _ in enumerate(concurrent.futures.as_completed(futures), start=1):
            progress(done, len(items), note)
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise errors.WorkspaceError(
            "Every worker process must live until its work is done.",
            received=f"one was killed during '{note or getattr(function, '__name__', 'a stage')}', "
            "most often because memory ran out",
            todo="free some memory, then run the same command again; finished pieces are kept",
        ) from error
    finally:
        # After an interrupt what has not begun is dropped; what has begun ends, so that no worker outlives the call.
        pool.shutdown(wait=True, cancel_futures=True)


def _in_this_process(function: Callable[[T], R], items: Sequence[T], progress: Progress, note: str) -> list[R]:
    results: list[R] = []
    first_error: Exception | None = None
    for done, item in enumerate(items, start=1):
        try:
            results.append(function(item))
        except Exception as error:  # noqa: BLE001 - raised below, once the other items have had their turn
            first_error = first_error or error
        progress(done, len(items), note)
    if first_error is not None:
        raise first_error
    return results


def _prepare_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _end_with_parent() -> None:
    # Killed with SIGKILL the parent closes nothing in order, and a worker would wait for ever on the pool's queue,
    # whose writing end it holds itself. The sentinel is a pipe that only the parent holds open.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
