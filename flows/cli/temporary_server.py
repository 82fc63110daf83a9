"""Prefect's temporary server, where none is configured: started once for a command, within a bound.

Prefect would start one by itself, but import all of its server into the command's process for that: seconds.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import IO

import httpx
from prefect import context
from prefect.settings import get_current_settings

from fer import errors, settings
from flows.cli import guard, prefect_ui
from flows.operating import asking, own_server

_POLL_S = 0.05
_ANSWER_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 5.0
_START_ATTEMPTS = 4
_PORT_TAKEN = "address already in use"
_STARTUP_FAILED = "ERROR:    Application startup failed"  # what uvicorn says after the reason
_OF_A_TERMINAL = {signal.SIGINT, signal.SIGHUP}
_WORDS = 400  # characters of what it said last
_OF_SERVER = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}

_running: list["Server"] = []  # at most one


def start() -> "Server | None":
    """Start it and wait until it answers, unless another is to be asked; raises as `begin` and `Server.wait`."""
    server = begin()
    if server is not None:
        server.wait()
    return server


def begin() -> "Server | None":
    """Begin to start it, unless another server is configured, or that of the installation here runs.

    Raises ConfigError where none is to be had, and PrefectUnavailable if the installation's does not answer.
    """
    if _running:
        return _running[0]
    if own_server.use(settings.Settings.load().home):
        return None
    configured = get_current_settings()
    if not configured.server.ephemeral.enabled:
        forbidden = prefect_ui.origin(prefect_ui.ALLOWS_TEMPORARY)
        raise errors.ConfigError(
            "A Prefect server must be configured, or a temporary one allowed.",
            received=f"no PREFECT_API_URL, and no {forbidden.name}=true: {forbidden.place}",
            todo=f"start a server ({prefect_ui.start_command()}) and set PREFECT_API_URL to its address, or "
            f"{forbidden.undo} to use a temporary one",
        )
    return Server()


def process() -> "subprocess.Popen[bytes] | None":
    """The process of the one that this command has started; None without one."""
    return _running[0].process if _running else None


class Server:
    """A server of this command's own, at work in a process beside it; made, it begins to start."""

    def __init__(self) -> None:
        configured = get_current_settings()
        self._timeout_s = configured.server.ephemeral.startup_timeout_seconds
        self._deadline = time.monotonic() + self._timeout_s
        guard.start()  # first: what ends with the command bears a mark in its environment
        self._environment = os.environ | _OF_SERVER | configured.to_environment_variables(exclude_unset=True)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the server writes to it
        self._attempts = 0
        self._launch()
        _running.append(self)
        atexit.register(self.stop)

    def wait(self) -> None:
        """Wait until it answers, and have Prefect ask it from then on.

        Raises PrefectUnavailable if it ends, or does not answer in time.
        """
        try:
            while not self._is_ready():
                if self._attempts == _START_ATTEMPTS or _PORT_TAKEN not in self._said():
                    raise self._unavailable(self.process.poll())
                self._launch()
        except BaseException:
            self.stop()
            raise
        # It serves no UI: nothing is to link to one.
        os.environ.update(PREFECT_API_URL=f"{self._address}/api", PREFECT_UI_URL="")
        context.refresh_global_settings_context()

    def stop(self) -> None:
        """End it, if it runs."""
        if self not in _running:
            return
        _running.remove(self)
        if os.environ.get("PREFECT_API_URL") == f"{self._address}/api":
            del os.environ["PREFECT_API_URL"], os.environ["PREFECT_UI_URL"]
            context.refresh_global_settings_context()
        self.process.terminate()
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _launch(self) -> None:
        """Start its process at a free port.

        It is deaf to Ctrl-C and to the closing of a terminal, which sends these to every process of the run. Were the
        server gone before the run, Prefect would try for minutes to tell it that the run has ended.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._attempts += 1
        self._address = f"http://127.0.0.1:{port}"
        signal.pthread_sigmask(signal.SIG_BLOCK, _OF_A_TERMINAL)  # the new process inherits this
        try:
            self.process = _run_uvicorn(port, self._environment, self._log)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_A_TERMINAL)

    def _is_ready(self) -> bool:
        """Wait until it answers; False once it has ended, or at the deadline."""
        options = asking.options(self._address)
        with httpx.Client(timeout=_ANSWER_TIMEOUT_S, trust_env=False, **options) as client:
            while self.process.poll() is None and time.monotonic() < self._deadline:
                try:
                    if client.get(f"{self._address}/api/health").is_success:
                        return True
                except httpx.TransportError:  # not ready yet
                    pass
                time.sleep(_POLL_S)
        return False

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()

    def _unavailable(self, code: int | None) -> errors.PrefectUnavailable:
        outcome = f"no answer in {self._timeout_s:.0f} s" if code is None else f"it ended with exit code {code}"
        lines = [line.strip() for line in self._said().splitlines() if line.strip()]
        reasons = [line for line in lines if not line.startswith(_STARTUP_FAILED)]
        last = reasons[-1] if reasons else ""
        home = get_current_settings().home
        return errors.PrefectUnavailable(
            "Prefect's temporary server must start.",
            received=f"{outcome}; it said: {last[:_WORDS]}" if last else outcome,
            todo=f"see that {home} can be written, or set PREFECT_HOME to another folder; or start a server "
            f"({prefect_ui.start_command()}) and set PREFECT_API_URL to its address",
        )


def _run_uvicorn(port: int, environment: dict[str, str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    application = ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on", "--log-level", "error"]
    command = [sys.executable, "-m", "uvicorn", *application, "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
