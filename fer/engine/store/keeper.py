"""What stands between the embedded store's server and its users: `process` runs this file as a script.

It starts the server, writes its PID to standard output, and ends it once its last user is gone, however that one ended:
the kernel frees the locks of killed processes. Killed itself, it takes the server along.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

_LOOK_EVERY_S = 1.0
_STOP_TIMEOUT_S = 6.0
_GRPC_SOCKET = "/tmp/seaweedfs-{}-grpc-{}.sock"  # noqa: S108 - where SeaweedFS puts them
_GRPC_PORT = ".port.grpc"
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def main(folder: Path, command: list[str]) -> int:
    """Run the server until it ends; its exit code, or 128 and the number of the signal that ended it."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    keeper = os.getpid()

    def die_with_keeper() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:  # it died before
            os._exit(1)

    # In a group of its own, by which `process` ends it. The threads that could make preexec_fn unsafe start later.
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, process_group=0, preexec_fn=die_with_keeper
    )
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    print(server.pid, flush=True)  # noqa: T201 - its parent reads it from the pipe
    is_ended_here = threading.Event()
    threading.Thread(target=_end_when_unused, args=(folder, server, is_ended_here), daemon=True).start()
    code = server.wait()
    if is_ended_here.is_set():  # nobody starts another one meanwhile
        remove_sockets(folder)
    return code if code >= 0 else 128 - code


def remove_sockets(folder: Path) -> None:
    """Remove what a server that was killed leaves of the sockets that it listened at."""
    leftovers = [folder / "s3.sock", folder / "filer.sock"]
    with contextlib.suppress(OSError, ValueError):
        ports = json.loads((folder / "ports.json").read_bytes())
        names = [name.removesuffix(_GRPC_PORT) for name in ports if name.endswith(_GRPC_PORT)]
        leftovers += [Path(_GRPC_SOCKET.format(name, ports[f"{name}{_GRPC_PORT}"])) for name in names]
    for leftover in leftovers:
        with contextlib.suppress(OSError):
            leftover.unlink()


def _end_when_unused(folder: Path, server: "subprocess.Popen[bytes]", is_ended_here: threading.Event) -> None:
    """End the server once nobody uses it, or its folder is gone."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as locks:
        users = locks.enter_context((folder / "users.lock").open("ab"))
        start = locks.enter_context((folder / "start.lock").open("ab"))
        while True:
            while (folder / "stay").exists():
                time.sleep(_LOOK_EVERY_S)
            fcntl.flock(users, fcntl.LOCK_EX)  # waits for the last one to leave
            fcntl.flock(users, fcntl.LOCK_UN)
            fcntl.flock(start, fcntl.LOCK_EX)  # who holds it may be about to use the server
            if not (folder / "stay").exists() and _is_unused(users):
                break
            fcntl.flock(start, fcntl.LOCK_UN)
        is_ended_here.set()
        _end(server)
        return
    _end(server)


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_STOP_TIMEOUT_S)
    server.kill()


def _is_unused(users: IO[bytes]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    os._exit(main(Path(sys.argv[1]), sys.argv[2:]))  # at once, with the locks that its thread holds
