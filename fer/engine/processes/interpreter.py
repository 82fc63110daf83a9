"""An interpreter of a child's own, which may be started before there is work for it: Keras takes it some seconds."""

import atexit
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fer.engine.processes import child_process; child_process.main(sys.argv[2])"
)
_PRELOADED = "keras"


@dataclass(frozen=True)
class Interpreter:
    """A process that goes into `child_process.main`, the file that it writes its errors to, and what it began with."""

    process: "subprocess.Popen[bytes]"
    stderr: IO[bytes]
    environment: dict[str, str]
    path: tuple[str, ...]
    folder: Path

    def serves(self, environment: dict[str, str]) -> bool:
        """Whether it lives, and is as one that were started now."""
        own, now = (self.environment, self.path, self.folder), (environment, tuple(sys.path), Path.cwd())
        return own == now and self.process.poll() is None

    def close(self) -> None:
        """End it."""
        self.process.kill()
        with self.stderr, self.process:
            pass


_waiting: list[Interpreter] = []  # at most one
_lock = threading.Lock()


def begin(environment: dict[str, str]) -> None:
    """Start one that `take` will return, and let it import Keras meanwhile; does not wait."""
    with _lock:
        if _waiting and _waiting[0].serves(environment):
            return
        _drop()
        with contextlib.suppress(OSError):  # `take` starts another one, or says why it can't
            _waiting.append(_started(environment, _PRELOADED))


def take(environment: dict[str, str]) -> Interpreter:
    """One with this environment, for the caller to end: the one that has begun, or else a new one. Raises OSError."""
    with _lock:
        if _waiting and _waiting[0].serves(environment):
            return _waiting.pop()
        _drop()
    return _started(environment, "")


def has_begun(environment: dict[str, str]) -> bool:
    """Whether `take` would return one that has begun."""
    with _lock:
        return bool(_waiting) and _waiting[0].serves(environment)


def close() -> None:
    """End the one that has begun and nobody took, if there is one."""
    with _lock:
        _drop()


def _drop() -> None:
    while _waiting:
        _waiting.pop().close()


def _started(environment: dict[str, str], preloaded: str) -> Interpreter:
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the process
    command = [sys.executable, "-c", _BOOT, json.dumps(sys.path), preloaded]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment
        )
    except OSError:
        stderr.close()
        raise
    return Interpreter(process, stderr, environment, tuple(sys.path), Path.cwd())


atexit.register(close)
