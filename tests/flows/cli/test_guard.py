"""What a process has started ends with it, however it ends."""

import io
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from flows.cli import guard

# Of what it starts one stands outside its group, as a server that makes itself a session of its own; each has a child.
_PARENT = """
import subprocess, sys
from flows.cli import guard
guard.start()
for apart in (False, True):
    subprocess.Popen(["sh", "-c", "sleep 61 & exec sleep 62"], start_new_session=apart)
print("ready", flush=True)
if sys.argv[1] == "wait":
    sys.stdin.read()
"""


def _parent(then: str) -> "subprocess.Popen[str]":
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert parent.stdout.readline() == "ready\n"
    return parent


def _end(processes: list[psutil.Process], within_s: float) -> bool:
    _, alive = psutil.wait_procs(processes, within_s)
    for process in alive:
        process.kill()
    return not alive


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda ending: ending.name)
def test_children_and_theirs_end_with_a_process_that_a_signal_ends(ending):
    with _parent("wait") as parent:
        deadline = time.monotonic() + 60
        started: list[psutil.Process] = []  # the guard among them
        while [process.name() for process in started].count("sleep") < 4:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            started = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(ending)
        assert _end(started, within_s=guard._STOP_TIMEOUT_S + guard._KILL_TIMEOUT_S)
        assert parent.wait() == -ending


@pytest.mark.slow
def test_a_process_that_ends_in_order_waits_until_they_are_gone():
    with _parent("end") as parent:
        parent.communicate(timeout=60)
        left = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] in _SLEEPS]
        assert parent.returncode == 0
        assert left == []


@pytest.mark.slow
def test_the_tracker_of_a_process_pool_is_neither_waited_for_nor_killed(monkeypatch):
    monkeypatch.setattr(guard, "_STOP_TIMEOUT_S", 1)
    monkeypatch.setattr(guard.sys, "stdin", io.TextIOWrapper(io.BytesIO()))  # whom it guards has ended
    sleep = subprocess.Popen(["sleep", "63"], env={**os.environ, guard._MARK: "of this test"})
    with subprocess.Popen(
        [sys.executable, "-c", _POOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as pool:
        tracker = psutil.Process(int(pool.stdout.readline()))
        guard.main("of this test")
        assert sleep.wait(60) == -signal.SIGTERM
        assert tracker.status() != psutil.STATUS_ZOMBIE
        pool.communicate()
    assert _end([tracker], within_s=60)


_POOL = """
import os, sys
from multiprocessing import resource_tracker
os.environ["FER_STARTED_BY"] = "of this test"
resource_tracker.ensure_running()
print(resource_tracker._resource_tracker._pid, flush=True)
sys.stdin.read()
"""
_SLEEPS = (["sleep", "61"], ["sleep", "62"])
