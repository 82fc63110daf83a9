"""The ports of the embedded store, on loopback. They stay the same from start to start where they are free.

So clients of a server that died find the next one, links to its objects stay right, and its master finds its state,
which it keeps by its port's number.
"""

import random
import socket
import time
from collections.abc import Collection, Mapping

SERVICES = ("master", "volume", "filer", "s3", "admin")
NAMES = tuple(f"{service}.port{kind}" for service in SERVICES for kind in ("", ".grpc"))
S3 = "s3.port"  # in the addresses of objects
_RANGE = range(15_000, 32_000)  # below what Linux (32768) and macOS (49152) give to outgoing connections
_MAX_PORT = 65_535
_FREE_TIMEOUT_S = 1  # a killed process's ports stay taken for a moment
_POLL_S = 0.05


def choose(recorded: Mapping[str, object]) -> dict[str, int]:
    """A free port for each of NAMES: the recorded one where there is one that is free, or soon will be."""
    ports: dict[str, int] = {}
    for name in sorted(NAMES, key=lambda name: name != S3):
        port = recorded.get(name)
        if isinstance(port, int) and 0 < port <= _MAX_PORT and port not in ports.values():
            ports[name] = port
    deadline = time.monotonic() + _FREE_TIMEOUT_S
    while not all(is_free(port) for port in ports.values()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return _completed({name: port for name, port in ports.items() if is_free(port)})


def others(ports: Mapping[str, int], attempt: int) -> dict[str, int]:
    """Ports to try after `attempt` (from 1) with `ports`, of which a server could not have one.

    Those that are busy are replaced; where none is, all except S3's, and after a second attempt that one too.
    """
    free = {name: port for name, port in ports.items() if is_free(port)}
    if len(free) < len(ports):
        return _completed(free)
    return _completed({S3: ports[S3]} if attempt == 1 else {}, tried=ports.values())


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: TIME_WAIT is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _completed(ports: Mapping[str, int], tried: Collection[int] = ()) -> dict[str, int]:
    taken = {*ports.values(), *tried}
    candidates = (port for port in random.sample(_RANGE, len(_RANGE)) if port not in taken and is_free(port))
    return {name: ports[name] if name in ports else next(candidates) for name in NAMES}
