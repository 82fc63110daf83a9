"""The beginning of a service's process, as systemd starts it."""

import os
import signal
import subprocess
import time

import psutil
import pytest
import shell

from fer.engine.store import seaweedfs
from flows.operating import installation, run_service, services
from flows.operating.installation import Installation


@pytest.fixture
def start(tmp_path):
    """Start the service of that name in a home of an installation."""
    home = tmp_path / "fer"
    installation.folder(home).mkdir(parents=True)
    installation.save(home, Installation(prefect_home=tmp_path))
    started = []

    def run(name: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            services.command(name), env=shell.bare(tmp_path), cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_the_store_is_served_until_it_is_told_to_end_or_its_server_dies(start, tmp_path):
    home = tmp_path / "fer"

    def served() -> seaweedfs.Server:
        while (server := seaweedfs.status(home)) is None:
            assert process.poll() is None
        return server

    process = start(services.STORE)
    psutil.Process(served().pid).kill()
    assert process.wait(60) == 1  # so that systemd starts it again

    process = start(services.STORE)
    pid = served().pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    deadline = time.monotonic() + 20  # its keeper ends it next
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_servers_never_have_one_database(tmp_path):
    held = run_service.lock_database(tmp_path)
    with pytest.raises(SystemExit, match="Another installation's server"):
        run_service.lock_database(tmp_path)
    os.close(held)
    os.close(run_service.lock_database(tmp_path))


@pytest.mark.slow
def test_a_service_that_was_not_asked_for_is_refused(start):
    process = start("worker-7")
    assert process.wait(60) == 1
    assert "has no service 'worker-7'" in process.stderr.read()
