"""Child processes forked from one that has imported Keras, which would take each of them some four seconds of a core.

A process that has used TensorFlow can't be forked: its threads' locks stay locked. One that has only imported it can,
since it has no thread yet; it looks before each fork, and where it finds one, or on a system without these calls, the
caller starts an interpreter. The environment reaches the forked process before it does anything, and what is read
at import (`_NOT_READ_AT_IMPORT` names what isn't) decides which server serves it: results are the same to the bit.
"""

import atexit
import contextlib
import functools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from fer.engine.processes import fork_server; "
    "fork_server.main(int(sys.argv[2]))"
)
_PRELOADED = "keras"
_READY = b"ready"
_GPU_DRIVER = Path("/dev/nvidiactl")
_HARMLESS_THREADS = {"jemalloc_bg_thd"}  # Arrow's allocator has one, which it starts again in a forked process
_CLOSE_TIMEOUT_S = 2.0
_MESSAGE_BYTES = 1 << 20
# Beginnings of the names of variables that are for this project and its services, that TensorFlow reads at its first
# use, or that are for runtimes of OpenMP, of which it has none: scikit-learn sets some when it is imported. A server
# whose environment differs in these alone serves all the same.
_NOT_READ_AT_IMPORT = (
    "AWS_",
    "COLUMNS",
    "FER_LIMIT_",
    "FER_HOME",
    "FER_STORE_",
    "HOME",
    "KAGGLE_",
    "KMP_",
    "MKL_NUM_THREADS",
    "NPROC",
    "OMP_NUM_THREADS",
    "PREFECT_",
    "PWD",
    "PYTEST_",
    "TF_DETERMINISTIC_OPS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TMPDIR",
)


@dataclass
class ForkedProcess:
    """A forked child, with the part of `subprocess.Popen` that `child_process` needs."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    _pidfd: int
    _status: socket.socket
    _code: int | None = field(default=None)

    def kill(self) -> None:
        """Kill it, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)  # a number could be another's by now

    def wait(self) -> int:
        """Its exit code, less than 0 for a signal; that of SIGKILL if the server died with what it knew."""
        if self._code is None:
            said = self._status.recv(16)
            self._code = int(said) if said else -signal.SIGKILL
        return self._code

    def __enter__(self) -> "ForkedProcess":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self.wait()
        self._status.close()
        os.close(self._pidfd)


class _Server:
    """This process's side of a server."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._identity = _identity(environment)
        self._is_ready = False
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
            )

    def serves(self, environment: dict[str, str]) -> bool:
        """Whether it lives, and has imported what a process with `environment` would."""
        return self._process.poll() is None and self._identity == _identity(environment)

    def is_ready(self) -> bool:
        """Whether it has imported Keras, as it says once."""
        if not self._is_ready:
            with contextlib.suppress(OSError):
                self._is_ready = bool(self.control.recv(len(_READY), socket.MSG_DONTWAIT))
        return self._is_ready

    def close(self) -> None:
        """Let the server end; a child that still works is not hurt by it. A server that still imports is killed."""
        if not self.is_ready():
            self._process.kill()
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSE_TIMEOUT_S)


_servers: list[_Server] = []  # at most one
_lock = threading.Lock()
_pid = os.getpid()


def start(environment: dict[str, str], stderr: IO[bytes], timeout_s: float) -> ForkedProcess | None:
    """A child with `environment` that goes into `child_process.main`, from a server that this process keeps.

    None where an interpreter has to be started instead: not on Linux, with a GPU's driver, which must not be forked,
    or if the server can't. Raises TimeoutError if there is no answer in time.
    """
    if not is_possible():
        return None
    status, their_status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    server = _server(environment)
    request = {
        "environment": environment,
        "path": sys.path,
        "folder": str(Path.cwd()),
        "cores": sorted(os.sched_getaffinity(0)),
    }
    pidfds: list[int] = []
    try:
        theirs = [stdin_read, stdout_write, stderr.fileno(), their_status.fileno()]
        socket.send_fds(server.control, [json.dumps(request).encode()], theirs)
        their_status.close()
        status.settimeout(timeout_s)
        _, pidfds, _, _ = socket.recv_fds(status, 16, 1)
        status.settimeout(None)
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
    finally:
        their_status.close()
        os.close(stdin_read)
        os.close(stdout_write)
        if not pidfds:
            os.close(stdin_write)
            os.close(stdout_read)
            status.close()
    if not pidfds:
        close()
        return None
    return ForkedProcess(os.fdopen(stdin_write, "wb"), os.fdopen(stdout_read, "rb"), pidfds[0], status)


def prepare(environment: dict[str, str]) -> None:
    """Let the server for processes with `environment` begin its import, where this machine forks; does not wait."""
    if is_possible():
        with contextlib.suppress(OSError):  # whoever needs the server will say so
            _server(environment)


def is_warm(environment: dict[str, str]) -> bool:
    """Whether a process with `environment` need not wait until Keras is imported."""
    with _lock:
        return _pid == os.getpid() and any(server.serves(environment) and server.is_ready() for server in _servers)


def close() -> None:
    """End this process's server, if it has one."""
    with _lock:
        while _servers:
            _servers.pop().close()


@functools.cache
def is_possible() -> bool:
    """Whether this machine forks at all: a Linux with these calls, without a GPU's driver, which a fork must not share.

    Some sandboxes lack the calls that the interpreter has.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open") or _GPU_DRIVER.exists():
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _identity(environment: dict[str, str]) -> dict[str, str]:
    relevant = {name: value for name, value in environment.items() if not name.startswith(_NOT_READ_AT_IMPORT)}
    return relevant | {"": sys.executable}


def _server(environment: dict[str, str]) -> _Server:
    global _pid
    with _lock:
        if _pid != os.getpid():  # this process is a fork itself: the server is its parent's
            _servers.clear()
            _pid = os.getpid()
        if _servers and not _servers[0].serves(environment):
            _servers.pop().close()
        if not _servers:
            _servers.append(_Server(environment))
        return _servers[0]


atexit.register(close)


def main(control_fd: int) -> None:
    """The server's side: import Keras, then fork for each request, and tell how the children ended, until its end."""
    # Ctrl-C and a closed terminal go to the whole process group: it is the parent that decides.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    __import__(_PRELOADED)
    with contextlib.suppress(OSError):  # the next receive tells that nobody is there
        control.send(_READY)
    children: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> PID, where to say how it ended
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            if not selector.get_map():
                os._exit(0)  # no more requests, and all children have ended; to take TensorFlow down would take seconds
            for key, _ in selector.select():
                if key.fileobj is control:
                    message, fds, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 4)
                    if not message or _others():
                        for fd in fds:
                            os.close(fd)
                        selector.unregister(control)
                        control.close()
                        continue
                    status = socket.socket(fileno=fds[3])
                    pid = os.fork()
                    if pid == 0:
                        _become(json.loads(message), fds[:3], [control, status, *(s for _, s in children.values())])
                    pidfd = os.pidfd_open(pid)
                    with contextlib.suppress(OSError):
                        socket.send_fds(status, [b"forked"], [pidfd])
                    for fd in fds[:3]:
                        os.close(fd)
                    children[pidfd] = (pid, status)
                    selector.register(pidfd, selectors.EVENT_READ)
                else:
                    pidfd = key.fd
                    selector.unregister(pidfd)
                    pid, status = children.pop(pidfd)
                    with contextlib.suppress(OSError), status:
                        status.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
                    os.close(pidfd)


def _others() -> set[str]:
    """The names of this process's threads that a forked process would miss."""
    own = os.getpid()
    tasks = [task for task in Path("/proc/self/task").iterdir() if int(task.name) != own]
    return {(task / "comm").read_text().strip() for task in tasks} - _HARMLESS_THREADS


def _become(request: dict[str, Any], fds: list[int], sockets: list[socket.socket]) -> None:
    """In the forked process: be as if just started with the request's environment, and do the work."""
    code = 1
    try:
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
            os.close(fd)
        for connection in sockets:
            connection.close()
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        os.sched_setaffinity(0, request["cores"])
        sys.path[:] = request["path"]
        from fer.engine.processes import child_process

        child_process.main()
        code = 0
    except BaseException:  # noqa: BLE001 - it ends here, and must not go on as the server
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
