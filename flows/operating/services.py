"""The processes of an installation: started, found again, asked whether they work, and ended. Loads no Prefect.

A process counts as a service's only if its number and the time of its start are those that were recorded.
"""

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pydantic
from pydantic import AwareDatetime

from fer import errors, settings
from fer.engine import disk
from fer.engine.records import Record
from flows.operating import asking, installation
from flows.operating.installation import SERVER, Installation

STORE = "store"
_START_TIMEOUT_S = 180.0  # the first server makes its database; under load a worker takes a minute
_PATIENCE_S = 60.0  # with a server that runs: under load it may be late
_STOP_TIMEOUT_S = 40.0  # a worker waits for its runs, which it ends
_KILL_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 5.0
_POLL_S = 0.1
_ROUNDS = 10
_SAME_START_S = 2.0  # the kernel's clock of starts follows corrections of the machine's
_LARGE_LOG = 10_000_000  # bytes; a larger one is put aside at the start
_LAST_LINES = 5


class Service(Record):
    """One service of an installation, as it is now."""

    name: str  # `store`, `server`, `worker-1`, …
    pid: int | None  # None where it does not run
    since: AwareDatetime | None
    address: str | None
    healthy: bool


class _Process(Record):
    """Which process a service is: its number, and the time of its start (seconds since 1970)."""

    pid: int
    created: float
    address: str | None = None


def services(home: Path) -> list[Service]:
    """Every service that the installation in this home is to have, running or not; none before the first `fer up`."""
    asked = installation.load(home)
    if asked is None:
        return []
    found = [_store(home)] if settings.Settings.load().store_endpoint is None else []
    does_answer = is_running(home, SERVER) and answers(asked)
    for name in asked.services:
        process = _live(home, name)
        if process is None:
            found.append(Service(name=name, pid=None, since=None, address=None, healthy=False))
            continue
        healthy = does_answer and (name == SERVER or _is_online(asked, home, name))
        since = datetime.datetime.fromtimestamp(process.created, datetime.UTC)
        found.append(Service(name=name, pid=process.pid, since=since, address=process.address, healthy=healthy))
    return found


def is_running(home: Path, name: str) -> bool:
    """Whether the service's process is there."""
    return _live(home, name) is not None


def record(home: Path, name: str, address: str | None) -> None:
    """Say that this process is the service from now on. Raises OSError."""
    own = psutil.Process()
    process = _Process(pid=own.pid, created=own.create_time(), address=address)
    disk.write(_path(home, name), process.model_dump_json().encode())


def start(home: Path, asked: Installation, name: str, environment: Mapping[str, str]) -> None:
    """Start a service with these variables, unless it runs, and wait until it works. Raises PrefectUnavailable.

    A server that runs and does not answer any more is ended first; a worker that runs may have runs at work.
    """
    if is_running(home, name):
        if name != SERVER or _answers_in_time(asked):
            return
        end(home, name)
    log = installation.log(home, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LARGE_LOG:
        log.replace(log.with_suffix(".log.old"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(name),
            cwd=home,
            env={**environment, "FER_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # it outlives the terminal, and Ctrl-C is not for it
        )
    try:
        _wait(home, asked, name, process)
    except BaseException:
        end(home, name)
        process.kill()
        process.wait()
        raise


def command(name: str) -> list[str]:
    """What starts a service, in the environment of `fer up`; by the process it becomes the service."""
    return [sys.executable, "-P", "-m", "flows.operating.run_service", name]


def end(home: Path, name: str) -> bool:
    """End a service by SIGTERM, and if it does not heed that by SIGKILL; False if it did not run."""
    process = _live(home, name)
    if process is not None:
        _end([psutil.Process(process.pid)])
    _path(home, name).unlink(missing_ok=True)
    return process is not None


def end_workers(home: Path, asked: Installation) -> list[str]:
    """End the workers and all runs, those of killed workers too; the names of the workers that ran."""
    recorded = [path.stem for path in installation.folder(home).glob("worker-*.json")]
    ended = sorted(name for name in recorded if is_running(home, name))
    server = _live(home, SERVER)
    kept = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    kept |= {server.pid} if server is not None else set()
    _end([psutil.Process(process.pid) for name in ended if (process := _live(home, name)) is not None])
    for _ in range(_ROUNDS):  # what is asked to end may be starting something, as a run what it loads ahead
        runs = [process for process in marked(asked.token) if process.pid not in kept]
        if not runs:
            break
        _end(runs)
    for name in recorded:
        _path(home, name).unlink(missing_ok=True)
    return ended


def surplus(home: Path, asked: Installation) -> list[str]:
    """The workers that run, or did, and that the installation is not to have any more."""
    recorded = sorted(path.stem for path in installation.folder(home).glob("worker-*.json"))
    return [name for name in recorded if name not in asked.services]


@contextlib.contextmanager
def client(home: Path, asked: Installation) -> Iterator[httpx.Client]:
    """For requests to the server's API, with the password that it asks for."""
    user, _, password = installation.server_settings(home).get(installation.PASSWORD, "").partition(":")
    auth = (user, password) if password else None
    options = asking.options(asked.url)
    with httpx.Client(base_url=asked.url, trust_env=False, timeout=_ANSWER_TIMEOUT_S, auth=auth, **options) as http:
        yield http


def _live(home: Path, name: str) -> _Process | None:
    try:
        recorded = _Process.model_validate_json(_path(home, name).read_bytes())
        process = psutil.Process(recorded.pid)
        if abs(process.create_time() - recorded.created) > _SAME_START_S:
            return None  # another process has that number now
        return None if process.status() == psutil.STATUS_ZOMBIE else recorded
    except (OSError, pydantic.ValidationError, psutil.Error):
        return None


def _path(home: Path, name: str) -> Path:
    return installation.folder(home) / f"{name}.json"


def _answers_in_time(asked: Installation) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while not answers(asked):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _wait(home: Path, asked: Installation, name: str, process: "subprocess.Popen[bytes]") -> None:
    """Until the service works. Raises PrefectUnavailable."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        code = process.poll()
        if code is not None:
            raise _unavailable(home, name, f"it ended with exit code {code}")
        if is_running(home, name) and (answers(asked) if name == SERVER else _is_online(asked, home, name)):
            return
        time.sleep(_POLL_S)
    raise _unavailable(home, name, f"it does not work after {_START_TIMEOUT_S:.0f} s")


def _unavailable(home: Path, name: str, outcome: str) -> errors.PrefectUnavailable:
    log = installation.log(home, name)
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    last = "".join(f"\n    {line}" for line in [line for line in lines if line.strip()][-_LAST_LINES:])
    return errors.PrefectUnavailable(
        f"The installation's {name} must start.",
        received=f"{outcome}; the end of its log:{last}\n" if last else outcome,
        todo=f"read {log}, and then: fer up",
    )


def answers(asked: Installation) -> bool:
    """Whether the server answers."""
    try:
        with httpx.Client(trust_env=False, timeout=_ANSWER_TIMEOUT_S, **asking.options(asked.url)) as http:
            return http.get(f"{asked.url}/health").is_success
    except httpx.TransportError:
        return False


def _is_online(asked: Installation, home: Path, name: str) -> bool:
    """Whether the server has heard of the worker lately."""
    try:
        with client(home, asked) as http:
            answer = http.post(f"work_pools/{asked.pool}/workers/filter", json={})
            workers = answer.json() if answer.is_success else []
    except (httpx.TransportError, ValueError):
        return False
    return any(worker["name"] == worker_name(name) and worker["status"] == "ONLINE" for worker in workers)


def worker_name(service: str) -> str:
    """The name that a worker has on the server."""
    return f"{os.uname().nodename}-{service}"


def _store(home: Path) -> Service:
    from fer.engine.store import seaweedfs

    server = seaweedfs.status(home)
    if server is None:
        return Service(name=STORE, pid=None, since=None, address=None, healthy=False)
    return Service(name=STORE, pid=server.pid, since=server.started, address=server.endpoint, healthy=True)


def marked(token: str) -> Iterator[psutil.Process]:
    """The processes that an installation's services started: those of runs, whose worker was killed, among them."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it has ended, or is another user's
            if process.environ().get(installation.MARK) == token and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _end(processes: list[psutil.Process]) -> None:
    for sent, timeout_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, _KILL_TIMEOUT_S)):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(sent)
        _, processes = psutil.wait_procs(processes, timeout=timeout_s)
