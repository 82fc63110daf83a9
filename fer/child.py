"""A function in a process of its own: for work that takes much memory, needs a hard time limit and must end surely.

A fresh interpreter is started, never a fork: a forked TensorFlow hangs. What crosses is JSON, one message a line, so
that nothing is pickled, and the caller's `__main__` is not imported again as multiprocessing's spawn would do.
"""

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from typing import IO, Any

from fer import errors, parallel
from fer.progress import Progress, silent

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from fer import child; child.main()"
_POLL_S = 0.5  # how soon an exception that another thread raises in the waiting one is seen


def run(
    function: Callable[..., Any],
    arguments: dict[str, Any],
    *,
    what: str,
    timeout_s: float,
    progress: Progress = silent,
) -> Any:
    """Call `function(**arguments, progress=...)` in a new process and return its result.

    `function` must be importable by its name; arguments and result are what JSON can say. `what` names the work in
    errors ("Training"). The child never outlives this call, nor this process, however either ends.
    Raises TrainingError if the child runs out of its time, is killed or fails; a FerError or an OSError that
    `function` raises comes out as it is.
    """
    command = [sys.executable, "-c", _BOOT, json.dumps(sys.path)]
    request = {"module": function.__module__, "function": function.__name__, "arguments": arguments}
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment()
        ) as process,
    ):
        messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        reader = threading.Thread(target=_forward, args=(process.stdout, messages), daemon=True)
        try:
            reader.start()
            _send(process.stdin, request)
            return _result(messages, process, stderr, what, timeout_s, progress)
        finally:
            process.kill()
            process.wait()
            reader.join()


def _result(
    messages: "queue.SimpleQueue[bytes]",
    process: "subprocess.Popen[bytes]",
    stderr: IO[bytes],
    what: str,
    timeout_s: float,
    progress: Progress,
) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise errors.TrainingError(
                f"{what} must end within its time limit.",
                received=f"still at work after {timeout_s:g} s, and stopped",
                todo="raise timeout_s, or give it less to do",
            )
        try:
            line = messages.get(timeout=min(_POLL_S, left_s))
        except queue.Empty:
            continue
        if not line:
            raise _death(process.wait(), stderr, what)
        message = json.loads(line)
        if "result" in message:
            return message["result"]
        if "error" in message:
            raise _error(message["error"], what)
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


def environment() -> dict[str, str]:
    """The child's environment: repeatable arithmetic, all usable cores, no chatter on standard error."""
    threads = str(parallel.usable_cores())
    return {
        "KERAS_BACKEND": "tensorflow",
        "OMP_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **os.environ,
        "PYTHONHASHSEED": "0",
        "TF_DETERMINISTIC_OPS": "1",  # what tf.config.experimental.enable_op_determinism() sets
    }


def _error(record: dict[str, Any], what: str) -> Exception:
    """The exception that the child reported, with the child's traceback as a note."""
    kind = getattr(errors, record["type"], None)
    error: Exception
    if isinstance(kind, type) and issubclass(kind, errors.FerError):
        error = kind(record["message"])
    elif record["errno"] is not None:
        error = OSError(record["errno"], record["strerror"], record["filename"])
    else:
        error = errors.TrainingError(
            f"{what} must end without an error.", received=f"{record['type']}: {record['message']}"
        )
    error.add_note(f"In the child process:\n{record['traceback']}")
    return error


def _death(code: int, stderr: IO[bytes], what: str) -> errors.TrainingError:
    if code == -signal.SIGKILL:
        received, todo = "it was killed, most often because memory ran out", "free some memory or lower batch_size"
    elif code < 0:
        received, todo = f"it was ended by {signal.Signals(-code).name}", "see the last lines that it wrote"
    else:
        received, todo = f"it exited with code {code} and no result", "see the last lines that it wrote"
    error = errors.TrainingError(f"{what} must live until its work is done.", received=received, todo=todo)
    stderr.seek(0)
    last_lines = b"\n".join(stderr.read().splitlines()[-20:]).decode(errors="replace")
    error.add_note(f"The child process's last lines:\n{last_lines}")
    return error


def main() -> None:
    """The child's side: read a request from standard input, write messages to what was standard output."""
    # A Ctrl-C or a cancel goes to the whole process group: it is the parent that decides, and kills this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library's print must not end up among the messages
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()

    def tell(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    def progress(done: int, total: int, note: str = "") -> None:
        tell({"progress": [done, total, note]})

    try:
        function = getattr(importlib.import_module(request["module"]), request["function"])
        tell({"result": function(**request["arguments"], progress=progress)})
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        tell({"error": _record(error)})


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
