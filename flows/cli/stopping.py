"""How a command ends before its work is done: by a signal, with the exit code that a shell gives it, or at once."""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from flows.cli import console, guard

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, a supervisor's, a closed terminal's
_TIMEOUT_S = 20.0  # from the signal to the end; what waits for a thread or for Prefect must not wait for ever

_received: list[int] = []
_announced = threading.Event()


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Each of the signals ends the `with` block by a KeyboardInterrupt; a second one ends the process at once.

    A block that has not ended some time after the first one is not waited for. A signal that whoever started this
    process had it ignore, as nohup does, stays ignored.
    """
    _received.clear()
    _announced.clear()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _stop)
    # The interpreter tells of each signal that has a handler. In a flow SIGTERM has Prefect's, which passes it on only
    # when all tasks have ended.
    seen, told = os.pipe()
    os.set_blocking(told, False)
    told_before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_leave_in_time, args=(seen,), name="leave-in-time", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(told_before)
        os.close(told)
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code() -> int | None:
    """128 and the number of the signal that was received; None without one."""
    return 128 + _received[0] if _received else None


def announce() -> None:
    """Say once that the command was stopped, and how to go on."""
    if _announced.is_set():
        return
    _announced.set()
    with contextlib.suppress(OSError, SystemExit):  # the terminal is gone; the latter is rich's for a closed pipe
        console.err.print("stopped. Run the same command again to go on; finished stages are kept.", soft_wrap=True)
    _flush()


def leave(code: int) -> NoReturn:
    """End this process and all that it has started, from any thread, without unwinding."""
    guard.finish()
    _flush()
    os._exit(code)


def end(code: int) -> NoReturn:
    """End this process as the interpreter does, threads and functions for its exit included, but for what it does last:
    to take apart whatever was imported, which is a sixth of the time of a run whose stages are cached.
    """

    def leave_it_whole() -> None:
        atexit.unregister(leave_it_whole)
        atexit._run_exitfuncs()  # those that are registered by now
        _flush()
        os._exit(code)

    atexit.register(leave_it_whole)  # the interpreter calls it once the threads have ended
    sys.exit(code)


def _flush() -> None:
    """Where the terminal is gone, what is still to be written goes nowhere: else Python would exit with code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def _stop(number: int, frame: FrameType | None) -> None:
    if _received:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    _received.append(number)
    if number == signal.SIGHUP:  # both the terminal and the shell may send it
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _leave_in_time(seen: int) -> None:
    """Leave some time after the first of the signals is seen; what is read are their numbers, up to the block's end."""
    with open(seen, "rb", buffering=0) as signals:
        while number := signals.read(1):
            if number[0] in _SIGNALS:
                break
        else:
            return
        time.sleep(_TIMEOUT_S)
        announce()
        leave(128 + number[0])
