"""Prefect's temporary server, where none is configured: started once for a command, within a bound."""

import atexit
import os
import signal
import subprocess
import tempfile
import time
from typing import Any

import httpx
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from fer import errors, settings
from flows.cli import guard, prefect_ui
from flows.operating import own_server

_POLL_S = 0.1
_ANSWER_TIMEOUT_S = 5.0
_START_ATTEMPTS = 4
_PORT_TAKEN = "address already in use"
_STARTUP_FAILED = "ERROR:    Application startup failed"  # what uvicorn says after the reason
_OF_A_TERMINAL = {signal.SIGINT, signal.SIGHUP}
_WORDS = 400  # characters of what it said last


def start() -> "Server | None":
    """Start it, unless another server is configured, or that of the installation here runs.

    Raises ConfigError where none is to be had, and PrefectUnavailable if it does not start.
    """
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
    server = Server()
    server.start()
    return server


class Server(SubprocessASGIServer):
    """Prefect's own, which says why it did not start. Prefect takes the one that runs for its clients."""

    def start(self, timeout: int | None = None) -> None:
        """Start it, unless it runs. Raises PrefectUnavailable if it ends, or does not answer in `timeout` seconds."""
        if self.running:
            return
        guard.start()
        timeout_s = timeout or get_current_settings().server.ephemeral.startup_timeout_seconds
        deadline = time.monotonic() + timeout_s
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the server writes to it
        self.running = True
        atexit.register(self.stop)
        try:
            for attempt in range(1, _START_ATTEMPTS + 1):
                self.port = self.find_available_port()
                process = self.server_process = self._run_uvicorn_command()
                if self._is_ready(process, deadline):
                    return
                if attempt == _START_ATTEMPTS or _PORT_TAKEN not in self._said():
                    raise self._unavailable(process.poll(), timeout_s)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self, process: "subprocess.Popen[Any]", deadline: float) -> bool:
        """Wait until it answers; False once it has ended, or at the deadline."""
        with httpx.Client(timeout=_ANSWER_TIMEOUT_S) as client:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    if client.get(f"{self.api_url}/health").is_success:
                        return True
                except httpx.TransportError:  # not ready yet
                    pass
                time.sleep(_POLL_S)
        return False

    def _run_uvicorn_command(self) -> "subprocess.Popen[Any]":
        """The process, its messages in a file, and deaf to Ctrl-C and to the closing of a terminal.

        A terminal sends these to every process of the run. Were the server gone before the run, Prefect would try for
        minutes to tell it that the run has ended. At exit Prefect stops it by SIGTERM.
        """
        terminal = os.dup(2)
        os.dup2(self._log.fileno(), 2)
        signal.pthread_sigmask(signal.SIG_BLOCK, _OF_A_TERMINAL)  # the new process inherits both
        try:
            return super()._run_uvicorn_command()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_A_TERMINAL)
            os.dup2(terminal, 2)
            os.close(terminal)

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()

    def _unavailable(self, code: int | None, timeout_s: float) -> errors.PrefectUnavailable:
        outcome = f"no answer in {timeout_s:.0f} s" if code is None else f"it ended with exit code {code}"
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
