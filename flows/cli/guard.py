"""A process beside the command that ends what the command has started, however the command ends.

What is started bears a mark in its environment, which its own children inherit. The guard waits for the end of a pipe
that the command alone holds open: the kernel closes it even after a `kill -9`. The embedded store bears no mark, since
several commands share it: its keeper ends it (`fer.engine.store.keeper`).
"""

import atexit
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_MARK = "FER_STARTED_BY"
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from flows.cli import guard; guard.main(sys.argv[2])"
_STOP_TIMEOUT_S = 5.0
_KILL_TIMEOUT_S = 5.0
_POLL_S = 0.05
_TRACKER = "multiprocessing.resource_tracker"

_guards: list["subprocess.Popen[bytes]"] = []  # this process's, once it has one


def start() -> None:
    """From now on, what this process starts ends with it. Once is enough."""
    if _guards:
        return
    mark = secrets.token_hex(8)
    guard = subprocess.Popen(
        [sys.executable, "-c", _BOOT, json.dumps(sys.path), mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what is sent to the command's group or terminal is not for it
    )
    _guards.append(guard)
    os.environ[_MARK] = mark
    atexit.register(finish)


def finish() -> None:
    """End what this process has started, and wait until it is gone."""
    while _guards:
        guard = _guards.pop()
        if guard.stdin is not None:
            guard.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            guard.wait(_STOP_TIMEOUT_S + _KILL_TIMEOUT_S + 1)


def main(mark: str) -> None:
    """The guard's side."""
    import psutil

    sys.stdin.buffer.read()
    for stop, timeout_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, _KILL_TIMEOUT_S)):
        deadline = time.monotonic() + timeout_s
        told: set[int] = set()
        while (left := list(_marked(mark))) and time.monotonic() < deadline:
            for process in left:
                if process.pid not in told:
                    told.add(process.pid)
                    with contextlib.suppress(psutil.Error):
                        process.send_signal(stop)
            time.sleep(_POLL_S)


def _marked(mark: str) -> "Iterator[psutil.Process]":
    """What is to be ended and waited for. A process pool's tracker is not: deaf to SIGTERM, it ends by itself with the
    last process that uses it, and removes what those have left.
    """
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it has ended, or is another user's
            if process.environ().get(_MARK) != mark or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if not any(_TRACKER in argument for argument in process.cmdline()):
                yield process
