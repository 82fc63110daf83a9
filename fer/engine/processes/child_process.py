"""A function in a process of its own: for work that takes much memory, needs a hard time limit and must end surely.

It is forked from a process that has imported Keras and nothing else (`fork_server`), or else an interpreter is started;
never is this process forked: a TensorFlow in use would hang. What crosses is JSON, one message a line, so that nothing
is pickled, and the caller's `__main__` is not imported again as multiprocessing's spawn would do.
"""

import contextlib
import importlib
import json
import os
import queue
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fer import errors
from fer.engine import arithmetic
from fer.engine.processes import fork_server, interpreter, process_pool
from fer.progress import Progress, Reporter, silent

_BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
_POLL_S = 0.5  # how soon an exception that another thread raises in the waiting one is seen
_LAST_LINES = 20  # of what the child wrote: in the error's note
_SHOWN_LINES = 3  # of these, in its message, unless they are longer than this
_SHOWN_CHARACTERS = 400
_CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)  # of the work itself
_KERNEL_COUNTERS = Path("/proc/vmstat")
_NO_MEMORY = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")  # Python's, TensorFlow's, PyTorch's


@dataclass(frozen=True)
class Job:
    """What a child process is started for: its name in errors ("Training"), its time limit, and its environment.

    `if_too_slow` and `if_out_of_memory` say what the user can do then. `threads`, `xla`: see
    `arithmetic.child_environment`. `in_fresh_interpreter`: what XLA and a proof that a model loads by itself need.
    `memory_bytes`: what it may allocate beyond what its process begins with, on Linux; None: what there is.
    """

    name: str
    timeout_s: float
    if_too_slow: str = "run it again when this machine has less to do"
    if_out_of_memory: str = "free some memory, then run the same command again"
    threads: int | None = None
    xla: bool = False
    in_fresh_interpreter: bool = False
    memory_bytes: int | None = None


def run(function: Callable[..., Any], arguments: dict[str, Any], job: Job, *, progress: Progress = silent) -> Any:
    """Call `function(**arguments, progress=...)` in a new process and return its result.

    `function` must be importable by its name; arguments and result are what JSON can say. The child never outlives
    this call, nor this process, however either ends.
    Raises OutOfTime if the child runs out of its time, OutOfMemory if it runs out of memory, Interrupted if it is
    killed, TrainingError if it fails or crashes; a FerError or an OSError that `function` raises is raised as it is.
    """
    deadline = time.monotonic() + job.timeout_s
    kills = _out_of_memory_kills()
    request = {
        "module": function.__module__,
        "function": function.__name__,
        "arguments": arguments,
        "memory_bytes": job.memory_bytes,
    }
    with _started(job, deadline, progress) as (process, stderr):
        messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        reader = threading.Thread(target=_forward, args=(process.stdout, messages), daemon=True)
        try:
            reader.start()
            _send(process.stdin, request)
            answer = _result(messages, job, deadline, progress)
            if answer is None:
                code = process.wait()
                for_memory = None if kills is None else _out_of_memory_kills() != kills
                raise _death(code, stderr, job, for_memory)
            return answer["result"]
        finally:
            process.kill()
            process.wait()
            reader.join()


def load_ahead(*, fresh: Job | None = None) -> None:
    """Begin to load Keras for the calls of `run` that will come, in the background, where a core is left for that.

    `fresh`: for the next call with this job, which wants an interpreter of its own.
    """
    if process_pool.usable_cores() == 1:
        return
    if fresh is not None:
        interpreter.begin(_environment(fresh))
    elif arithmetic.backend() == "tensorflow":
        fork_server.prepare(arithmetic.child_environment())


def _environment(job: Job) -> dict[str, str]:
    return arithmetic.child_environment(threads=job.threads, xla=job.xla)


@contextlib.contextmanager
def _started(
    job: Job, deadline: float, progress: Progress
) -> "Iterator[tuple[subprocess.Popen[bytes] | fork_server.ForkedProcess, IO[bytes]]]":
    """The child, and the file that it writes its errors to."""
    environment = _environment(job)
    backend = arithmetic.backend()
    may_fork = not (job.xla or job.in_fresh_interpreter) and backend == "tensorflow"
    is_loaded = fork_server.is_warm(environment) if may_fork else interpreter.has_begun(environment)
    if not is_loaded:
        progress.note(f"loading {_BACKENDS.get(backend, backend)}")  # some seconds without anything to count
    if may_fork:
        with tempfile.TemporaryFile() as stderr:
            try:
                forked = fork_server.start(environment, stderr, max(0.1, deadline - time.monotonic()))
            except TimeoutError:
                raise _too_slow(job) from None
            if forked is not None:
                with forked:
                    yield forked, stderr
                return
    own = interpreter.take(environment)
    with own.stderr, own.process:
        yield own.process, own.stderr


def _too_slow(job: Job) -> errors.OutOfTime:
    return errors.OutOfTime(
        f"{job.name} must end within its time limit.",
        received=f"still at work after {job.timeout_s:g} s, and stopped",
        todo=job.if_too_slow,
    )


def _result(
    messages: "queue.SimpleQueue[bytes]", job: Job, deadline: float, progress: Progress
) -> dict[str, Any] | None:
    """The message with the result; None if the child ended without one."""
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise _too_slow(job)
        try:
            line = messages.get(timeout=min(_POLL_S, left_s))
        except queue.Empty:
            continue
        if not line:
            return None
        message = json.loads(line)
        if "result" in message:
            return dict(message)
        if "error" in message:
            raise _error(message["error"], job)
        if "note" in message:
            progress.note(message["note"])
        else:
            progress(*message["progress"])


def _send(stdin: IO[bytes] | None, request: dict[str, Any]) -> None:
    """Write the request. The pipe stays open: its end tells the child that its parent is gone."""
    if stdin is None:
        raise ValueError("The child's standard input must be a pipe.")
    try:
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
    except BrokenPipeError:  # it died at once; its exit code says more
        with contextlib.suppress(BrokenPipeError):
            stdin.close()  # what is still in the buffer would raise again later


def _forward(stdout: IO[bytes], messages: "queue.SimpleQueue[bytes]") -> None:
    for line in stdout:
        if line.endswith(b"\n"):  # a child that is killed can leave half a message
            messages.put(line)
    messages.put(b"")


def _out_of_memory_kills() -> str | None:
    """How many processes the kernel has killed because memory ran out, its own or a container's; None: it can't say."""
    try:
        counters = dict(line.split() for line in _KERNEL_COUNTERS.read_text().splitlines())
    except OSError:
        return None
    return counters.get("oom_kill")


def _error(record: dict[str, Any], job: Job) -> Exception:
    """The exception that the child reported, with the child's traceback as a note."""
    kind = getattr(errors, record["type"], None)
    error: Exception
    if isinstance(kind, type) and issubclass(kind, errors.FerError):
        error = kind(record["message"])
    elif record["errno"] is not None:
        error = OSError(record["errno"], record["strerror"], record["filename"])
    elif record["type"] in _NO_MEMORY or "RESOURCE_EXHAUSTED" in record["message"]:
        error = errors.OutOfMemory(
            f"{job.name} must have the memory it needs.",
            received=f"{record['type']} from its process",
            todo=job.if_out_of_memory,
        )
    else:
        error = errors.TrainingError(
            f"{job.name} must end without an error.",
            received=f"{record['type']}: {record['message']}",
            todo="run the same command with fer --debug for the traceback",
        )
    error.add_note(f"In the child process:\n{record['traceback']}")
    return error


def _death(code: int, stderr: IO[bytes], job: Job, for_memory: bool | None) -> errors.TrainingError:
    """The error of a child that ended without a message; `for_memory`: whether the kernel killed for it, if known."""
    kind = errors.TrainingError
    todo = f"run the same command with fer --debug for the last {_LAST_LINES} lines that it wrote"
    if code == -signal.SIGKILL and for_memory:
        kind, received, todo = errors.OutOfMemory, "it was killed because memory ran out", job.if_out_of_memory
    elif code == -signal.SIGKILL and for_memory is None:
        kind, received = errors.Interrupted, "it was killed, most often because memory ran out"
        todo = job.if_out_of_memory
    elif code == -signal.SIGKILL:
        kind, received, todo = errors.Interrupted, "it was killed from outside", "run the same command again"
    elif -code in _CRASHES:
        received = f"it crashed by {signal.Signals(-code).name}"
    elif code < 0:
        kind, received = errors.Interrupted, f"it was ended by {signal.Signals(-code).name}"
    else:
        received = f"it exited with code {code} and no result"
    stderr.seek(0)
    output = stderr.read()
    lines = output.decode(errors="replace").split("\n")
    last_lines = [line.strip() for line in lines if line.strip()][-_LAST_LINES:]
    shown = " | ".join(last_lines[-_SHOWN_LINES:])
    if shown and len(shown) <= _SHOWN_CHARACTERS:
        received += f"; its last output: {shown}"
    if b"std::bad_alloc" in output or b"OOM when allocating" in output:
        kind, received, todo = (
            errors.OutOfMemory,
            "it could not allocate the memory that it needs",
            job.if_out_of_memory,
        )
    error = kind(f"{job.name} must live until its work is done.", received=received, todo=todo)
    error.add_note("\n".join(["The child process's last lines:", *last_lines]))
    return error


def main(preloaded: str = "") -> None:
    """The child's side: read a request from standard input, write messages to what was standard output.

    `preloaded` names a module to import before there is a request.
    """
    # A Ctrl-C, a cancel or a closed terminal goes to the whole process group: it is the parent that decides, and kills
    # this process.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library's print must not end up among the messages
    if preloaded:
        importlib.import_module(preloaded)
    line = sys.stdin.buffer.readline()
    if not line:
        return  # the parent ended, or had no use for this process
    request = json.loads(line)
    if request["memory_bytes"] is not None:
        _limit_memory(request["memory_bytes"])
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()

    def tell(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    progress = Reporter(
        lambda done, total, text: tell({"progress": [done, total, text]}), lambda text: tell({"note": text})
    )
    try:
        function = getattr(importlib.import_module(request["module"]), request["function"])
        tell({"result": function(**request["arguments"], progress=progress)})
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        tell({"error": _record(error)})


def _limit_memory(n_bytes: int) -> None:
    """Let this process allocate no more than `n_bytes` from now on; without effect where there is no /proc."""
    with contextlib.suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        has = int(next(line for line in status if line.startswith("VmData:")).split()[1]) * 1_024
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = has + n_bytes if hard == resource.RLIM_INFINITY else min(has + n_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _record(error: Exception) -> dict[str, Any]:
    os_error = error if isinstance(error, OSError) else None
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
        "errno": os_error and os_error.errno,
        "strerror": os_error and os_error.strerror,
        "filename": os_error and os_error.filename and str(os_error.filename),
    }


def _end_with_parent() -> None:
    """End this process when the parent does, even by SIGKILL: the kernel closes its end of the pipe."""
    sys.stdin.buffer.read()
    os._exit(1)
