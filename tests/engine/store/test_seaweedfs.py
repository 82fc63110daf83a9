import contextlib
import importlib.metadata
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from fer import errors
from fer.engine import connect
from fer.engine.store import boto, credentials, keeper, ports, process, seaweedfs
from fer.settings import Settings

_USER = """
import sys, time
from pathlib import Path
from fer.engine.store import seaweedfs
with seaweedfs.running(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path):
    yield tmp_path / "home"
    seaweedfs.down(tmp_path / "home")


@contextlib.contextmanager
def _other_user(home: Path):
    """Another process that uses the store; it leaves when its input ends."""
    other = subprocess.Popen([sys.executable, "-c", _USER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        other.pid_of_server = int(other.stdout.readline())
        yield other
    finally:
        other.kill()
        other.wait()
        other.stdin.close()
        other.stdout.close()


@pytest.fixture
def short_stops(monkeypatch):
    """Servers are killed soon after they were asked to end: a clean end takes 2.2 s."""
    monkeypatch.setattr(process, "_STOP_TIMEOUT_S", 0.1)


def _settings(home: Path, **more: str) -> Settings:
    return Settings(home=home, store_endpoint=None, **more)


def test_every_port_is_on_loopback_and_strangers_cannot_read_its_files(store_home):
    server = seaweedfs.status(store_home)
    assert server is not None
    listening: list[str] = []
    while len(listening) < 10:  # its last ones open after it is ready
        time.sleep(0.05)
        connections = psutil.Process(server.pid).net_connections("inet")
        listening = [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]
    assert set(listening) == {"127.0.0.1"}
    assert {connection.raddr.ip for connection in connections if connection.raddr} <= {"127.0.0.1"}
    assert "-master.telemetry=false" in psutil.Process(server.pid).cmdline()
    assert os.getpgid(server.pid) == server.pid
    assert stat.S_IMODE((store_home / "store").stat().st_mode) == 0o700
    assert stat.S_IMODE((store_home / "store" / "credentials.json").stat().st_mode) == 0o600


def test_its_secret_is_neither_in_its_log_nor_on_its_command_line(store_home):
    secret = credentials.read(store_home / "store").secret_access_key.get_secret_value()
    server = seaweedfs.status(store_home)
    assert secret not in (store_home / "store" / "log").read_text()
    assert secret not in " ".join(psutil.Process(server.pid).cmdline())
    assert secret not in repr(server)


@pytest.mark.slow
def test_many_users_share_one_server_which_ends_after_the_last_without_being_waited_for(home):
    everyone_in = threading.Barrier(5)

    def use(_):
        with seaweedfs.running(home) as server:
            everyone_in.wait(60)
            return server

    with ThreadPoolExecutor(4) as users:
        used = users.map(use, range(4))
        with seaweedfs.running(home) as mine:
            everyone_in.wait(60)
            assert list(used) == [mine] * 4
            assert seaweedfs.status(home) == mine
            assert not seaweedfs.down(home)
            server = psutil.Process(mine.pid)
            sockets = [Path(connection.laddr) for connection in server.net_connections("unix") if connection.laddr]
            assert any(path.exists() for path in sockets if path.is_absolute())
    assert seaweedfs.status(home) is None
    assert server.is_running()
    server.wait(60)
    deadline = time.monotonic() + 20  # its keeper does it next
    while any(path.exists() for path in sockets if path.is_absolute()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_up_takes_another_port_for_a_taken_one_outlives_its_users_and_ends_by_down(home, monkeypatch, short_stops):
    offered = ports.choose({})
    with socket.create_server(("127.0.0.1", offered["filer.port"])):
        monkeypatch.setattr(ports, "choose", lambda recorded: offered)  # as if it had been free a moment before
        server = seaweedfs.up(home)
    assert server.endpoint == f"http://127.0.0.1:{offered['s3.port']}"
    assert seaweedfs.up(home) == server
    with seaweedfs.running(home) as same:
        assert same == server
    assert seaweedfs.status(home) == server
    assert seaweedfs.down(home)
    assert seaweedfs.status(home) is None
    assert seaweedfs.down(home)


@pytest.mark.slow
def test_a_killed_server_comes_back_on_the_same_ports_with_its_data(home, short_stops):
    with connect.store(_settings(home)) as store:
        store.put("k", b"kept" * 500_000)
        killed = seaweedfs.status(home)
        os.killpg(killed.pid, signal.SIGKILL)
        while seaweedfs.status(home) is not None:
            time.sleep(0.01)
        with seaweedfs.running(home) as back:
            assert back.pid != killed.pid
            assert back.endpoint == killed.endpoint
            assert store.get("k").data == b"kept" * 500_000


def test_a_master_leads_before_its_volumes_can_report_to_it(home, short_stops):
    with connect.store(_settings(home)) as store:
        store.put("k", b"kept")
    seaweedfs.down(home)
    with seaweedfs.running(home):
        said = (home / "store" / "log").read_text()
    assert "Resumed as leader" not in said
    assert said.index("I am the leader!") < said.index("Start Seaweed Master", said.index("RaftServer"))


@pytest.mark.slow
def test_a_busy_port_costs_that_port_alone_and_the_store_stays_at_its_address_with_its_data(home, short_stops):
    with connect.store(_settings(home)) as store:
        store.put("k", b"kept")
        before = seaweedfs.status(home)
    seaweedfs.down(home)
    recorded = json.loads((home / "store" / "ports.json").read_text())
    with socket.create_server(("127.0.0.1", recorded["volume.port"])), connect.store(_settings(home)) as store:
        assert seaweedfs.status(home).endpoint == before.endpoint
        assert store.get("k").data == b"kept"
    now = json.loads((home / "store" / "ports.json").read_text())
    assert [name for name in recorded if now[name] != recorded[name]] == ["volume.port"]


def _ends(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while process.is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not process.is_alive(pid)


@pytest.mark.slow
def test_a_server_outlives_the_killed_user_that_started_it_for_the_others_and_ends_after_the_last(home):
    with _other_user(home) as first, _other_user(home) as second:
        server = seaweedfs.status(home)
        assert {first.pid_of_server, second.pid_of_server} == {server.pid}
        first.kill()
        first.wait()
        with seaweedfs.running(home) as same:
            assert same == server
            assert not seaweedfs.down(home)
        assert seaweedfs.status(home) == server
        second.kill()
        second.wait()
        assert _ends(server.pid)
    with seaweedfs.running(home) as next_server:
        assert next_server.endpoint == server.endpoint


@pytest.mark.slow
def test_a_server_that_was_asked_to_stay_outlives_killed_users_until_it_is_let_go(home, short_stops):
    server = seaweedfs.up(home)
    with _other_user(home) as other:
        other.kill()
        other.wait()
    time.sleep(keeper._LOOK_EVERY_S + 0.2)
    assert seaweedfs.status(home) == server
    assert seaweedfs.down(home)


@pytest.mark.slow
def test_a_server_whose_keeper_is_killed_ends_with_it(home):
    with _other_user(home):
        server = seaweedfs.status(home)
        psutil.Process(server.pid).parent().kill()
        assert _ends(server.pid)


@contextlib.contextmanager
def _stopped(server: seaweedfs.Server, monkeypatch):
    """The server's process is alive, and does not answer."""
    monkeypatch.setattr(boto, "_READ_TIMEOUT_S", 0.2)
    os.killpg(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_server_that_others_use_is_not_stopped_for_not_answering(home, short_stops, monkeypatch):
    monkeypatch.setattr(seaweedfs, "_ANSWER_TIMEOUT_S", 0.5)
    with _other_user(home) as other:
        server = seaweedfs.status(home)
        with _stopped(server, monkeypatch):
            for use in (seaweedfs.running, lambda home: contextlib.nullcontext(seaweedfs.up(home))):
                with pytest.raises(errors.StoreUnavailable, match=f"{server.pid}, which other runs use"), use(home):
                    pass
        assert other.poll() is None
        assert seaweedfs.status(home) == server


@pytest.mark.slow
def test_a_server_that_answers_late_is_waited_for(home, short_stops, monkeypatch):
    with _other_user(home):
        server = seaweedfs.status(home)
        with _stopped(server, monkeypatch), ThreadPoolExecutor(1) as waiting:
            server_by_then = waiting.submit(seaweedfs.up, home)
            time.sleep(0.5)
            os.killpg(server.pid, signal.SIGCONT)
            assert server_by_then.result(20) == server


@pytest.mark.slow
def test_a_server_that_nobody_uses_is_replaced_if_it_does_not_answer(home, short_stops, monkeypatch):
    server = seaweedfs.up(home)
    monkeypatch.setattr(seaweedfs, "_ANSWER_TIMEOUT_S", 0.5)
    with _stopped(server, monkeypatch), seaweedfs.running(home) as other:
        assert other.pid != server.pid
    assert not process.is_alive(server.pid)


def _say_that_the_disk_is_full(home: Path) -> None:
    words = b"persisting /buckets : write data/filerldb2/03/000001.log: no space left on device\n"
    with (home / "store" / "log").open("ab") as log:
        log.write(words * 1_000)  # the server writes to it as well, at a place of its own


@pytest.mark.slow
def test_a_server_that_a_full_disk_left_stuck_is_replaced_once_there_is_room_and_nobody_uses_it(
    home, short_stops, monkeypatch
):
    monkeypatch.setattr(seaweedfs, "_ANSWERED_S", 0)
    server = seaweedfs.up(home)
    _say_that_the_disk_is_full(home)
    with monkeypatch.context() as full:
        full.setattr(process, "_ROOM_BYTES", 2**62)
        assert seaweedfs.up(home) == server
    with seaweedfs.running(home) as other:
        assert other.pid != server.pid
        _say_that_the_disk_is_full(home)
        with seaweedfs.running(home) as same:
            assert same == other


def test_a_recorded_pid_that_is_another_process_by_now_is_not_touched(home):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        folder = home / "store"
        folder.mkdir(parents=True)
        (folder / "server.json").write_text(
            f'{{"pid": {bystander.pid}, "endpoint": "http://127.0.0.1:9", "started": "2026-01-01T00:00:00Z"}}'
        )
        assert seaweedfs.status(home) is None
        assert seaweedfs.down(home)
        assert bystander.poll() is None
        bystander.communicate(b"\n")


def test_a_server_that_ends_at_once_is_reported_with_what_it_said(home, monkeypatch, tmp_path):
    weed = tmp_path / "weed"
    weed.write_text("#!/bin/sh\necho no space left on device\nexit 3\n")
    weed.chmod(0o755)
    monkeypatch.setattr(process, "_binary", lambda: weed)
    with (
        pytest.raises(errors.StoreUnavailable, match=r"exit code 3; the end of its log:\s+no space left") as caught,
        seaweedfs.running(home),
    ):
        pass
    assert str(home / "store" / "log") in str(caught.value)
    assert seaweedfs.status(home) is None


def test_a_server_that_never_answers_is_given_up_and_ended(home, monkeypatch, tmp_path):
    weed = tmp_path / "weed"
    weed.write_text("#!/bin/sh\nexec sleep 60\n")
    weed.chmod(0o755)
    monkeypatch.setattr(process, "_binary", lambda: weed)
    monkeypatch.setattr(process, "_READY_TIMEOUT_S", 0.3)
    with pytest.raises(errors.StoreUnavailable, match="no answer"):
        seaweedfs.up(home)
    assert "sleep" not in [child.name() for child in psutil.Process().children(recursive=True)]


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "home").write_text("a file")
    with (
        pytest.raises(errors.WorkspaceError, match="FER_HOME"),
        connect.store(_settings(tmp_path / "home")),
    ):
        pass


def test_without_the_wheel_the_setting_to_use_is_named(home, monkeypatch):
    def absent(_):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(errors.ConfigError, match="FER_STORE_ENDPOINT"):
        seaweedfs.up(home)
