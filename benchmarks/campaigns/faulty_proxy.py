"""A TCP proxy on loopback that spoils what goes through it, for as long as it is told to, or so many times."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Literal

Fault = Literal["reset", "silence", "503", "truncated"]
FAULTS: tuple[Fault, ...] = ("reset", "silence", "503", "truncated")
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CHUNK_BYTES = 65_536
_CONNECT_TIMEOUT_S = 10
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: closing sends RST


class FaultyProxy:
    """Passes on to the address that `target` returns, asked anew for each connection.

    Under a fault a connection, new or open, that sends something is met by it: `reset`; `silence` until the fault is
    over, then closed; `503`, HTTP's answer of a busy server; `truncated`, of whose answer half the body is passed on.
    """

    def __init__(self, target: Callable[[], tuple[str, int]]) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._times = 0
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.met = 0  # how many requests a fault has met

    def spoil(self, fault: Fault, times: int | None = None) -> None:
        """Let this happen to the next requests, `times` of them or until `heal`."""
        with self._lock:
            self._fault, self._times = fault, -1 if times is None else times
            self._over.clear()

    def heal(self) -> None:
        """Pass on everything again."""
        with self._lock:
            self._fault = None
            self._over.set()

    def serve(self) -> None:
        """Take connections until `close`."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self.heal()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _taken(self) -> Fault | None:
        with self._lock:
            fault = self._fault if self._times else None
            if fault is not None:
                self._times -= 1
                self.met += 1
            return fault

    def _connection(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            server: socket.socket | None = None
            cut = threading.Event()
            while request := client.recv(_CHUNK_BYTES):
                fault = self._taken()
                if fault == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                    return
                if fault == "silence":
                    self._over.wait()
                    return
                if fault == "503":
                    client.sendall(_BUSY)
                    return
                if fault == "truncated":
                    cut.set()
                if server is None:
                    server = socket.create_connection(self._target(), _CONNECT_TIMEOUT_S)
                    server.settimeout(None)
                    threading.Thread(target=_answer, args=(server, client, cut), daemon=True).start()
                server.sendall(request)
            if server is not None:
                server.shutdown(socket.SHUT_WR)


def _answer(server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
    with server, contextlib.suppress(OSError):
        while data := server.recv(_CHUNK_BYTES):
            if cut.is_set():
                head, mark, body = data.partition(b"\r\n\r\n")
                if not mark or len(body) > 1:  # a head without a body can't be cut: what follows it is
                    client.sendall(head + mark + body[: len(body) // 2] if mark else data[: len(data) // 2])
                    break
            client.sendall(data)
        client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serving(target: Callable[[], tuple[str, int]]) -> Iterator[FaultyProxy]:
    """A proxy for the length of the block."""
    proxy = FaultyProxy(target)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
