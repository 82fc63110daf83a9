"""Processes of an installation: none but its own are taken for them, or ended."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from flows.operating import installation, services
from flows.operating.installation import Installation


@pytest.fixture
def sleeper():
    """A process of someone else."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def recorded(home, name: str, pid: int, created: float) -> None:
    folder = installation.folder(home)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"pid": pid, "created": created}))


def test_a_process_is_a_service_s_by_its_number_and_its_start(tmp_path, sleeper):
    recorded(tmp_path, "worker-1", sleeper.pid, sleeper.create_time())
    assert services.is_running(tmp_path, "worker-1")
    assert services.end(tmp_path, "worker-1")
    assert not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE
    assert not services.is_running(tmp_path, "worker-1")


def test_a_process_that_got_the_number_later_is_left_alone(tmp_path, sleeper):
    recorded(tmp_path, "worker-1", sleeper.pid, sleeper.create_time() - 3600)
    assert not services.is_running(tmp_path, "worker-1")
    assert not services.end(tmp_path, "worker-1")
    assert services.end_workers(tmp_path, Installation(prefect_home=tmp_path)) == []
    assert sleeper.status() != psutil.STATUS_ZOMBIE


_STARTS_ANOTHER = """
import signal, subprocess, sys, time
def stop(*_):
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(62)"])
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(61)
"""


@pytest.mark.slow
def test_what_a_run_starts_while_it_is_ended_is_ended_too(tmp_path):
    asked = Installation(prefect_home=tmp_path)
    environment = {**os.environ, installation.MARK: asked.token}
    run = [sys.executable, "-S", "-c", _STARTS_ANOTHER]
    with subprocess.Popen(run, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        services.end_workers(tmp_path, asked)
        left = list(services.marked(asked.token))
        for one in left:
            one.kill()
        assert left == []


def test_a_damaged_record_is_no_process(tmp_path):
    recorded(tmp_path, "server", 1, 0)
    (installation.folder(tmp_path) / "server.json").write_text('{"pid": ')
    assert not services.is_running(tmp_path, "server")


def test_every_service_is_listed_running_or_not(tmp_path, sleeper, monkeypatch):
    monkeypatch.setenv("FER_STORE_ENDPOINT", "http://127.0.0.1:9")
    assert services.services(tmp_path) == []
    recorded(tmp_path, "server", sleeper.pid, sleeper.create_time())
    installation.save(tmp_path, Installation(prefect_home=tmp_path, port=9))
    server, worker = services.services(tmp_path)
    assert (server.name, server.pid, server.healthy) == ("server", sleeper.pid, False)
    assert server.since.timestamp() == pytest.approx(sleeper.create_time())
    assert (worker.name, worker.pid, worker.healthy) == ("worker-1", None, False)


def test_workers_beyond_those_asked_for_are_surplus(tmp_path):
    recorded(tmp_path, "worker-1", 1, 0)
    recorded(tmp_path, "worker-2", 1, 0)
    assert services.surplus(tmp_path, Installation(prefect_home=tmp_path, workers=1)) == ["worker-2"]
