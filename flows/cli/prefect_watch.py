"""Whether Prefect's server still answers while a run lasts: Prefect would try for a quarter of an hour to tell it."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import httpx

from fer import errors
from flows.cli import console, prefect_ui, stopping

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_LOOK_EVERY_S = 2.0
_ANSWER_TIMEOUT_S = 5.0
_GO_ON = "run the same command again, it goes on where this one stopped"
_PATIENCE_S = 40.0  # a server that is restarted, or a network that is gone for a moment, costs no run


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Should Prefect's server die or fall silent while the `with` block lasts, say so and end this process.

    The exit code is that of PrefectUnavailable. Nothing is unwound, as each step would ask the server again: what the
    process has started ends with it, and the workspace is whole whenever a run is killed.
    """
    is_over = threading.Event()
    threading.Thread(target=_watch, args=(is_over,), name="watch-prefect", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _watch(is_over: threading.Event) -> None:
    from flows.cli import temporary_server
    from flows.operating import asking

    with asking.once(_ANSWER_TIMEOUT_S) as client:
        temporary = temporary_server.process()  # None where a server is configured
        answered = time.monotonic()
        while not is_over.wait(_LOOK_EVERY_S):
            if temporary is not None and temporary.poll() is not None:
                _leave(is_over, f"its process has ended, with exit code {temporary.returncode}", _GO_ON)
            began = time.monotonic()
            if _answers(client):
                answered = began
            elif began - answered > _PATIENCE_S:
                server = client.api_url.copy_with(userinfo=b"")  # no password in a terminal
                todo = _GO_ON if temporary is not None else f"{prefect_ui.remedy()}; then {_GO_ON}"
                _leave(is_over, f"no answer from {server} for {began - answered:.0f} s", todo)


def _answers(client: "SyncPrefectClient") -> bool:
    match client.api_healthcheck():
        case None:
            return True
        case httpx.HTTPStatusError(response=response):
            return not response.is_server_error
    return False


def _leave(is_over: threading.Event, received: str, todo: str) -> NoReturn:
    if is_over.is_set():
        raise SystemExit  # of this thread
    with contextlib.suppress(OSError):  # the terminal is gone
        console.out.show_cursor()
    code = stopping.exit_code()
    if code is not None:  # the signal reached the server as well
        stopping.announce()
        stopping.leave(code)
    error = errors.PrefectUnavailable(
        "Prefect's server must answer for as long as a run lasts.", received=received, todo=todo
    )
    try:
        console.show_error(str(error))
    finally:
        stopping.leave(error.exit_code)
