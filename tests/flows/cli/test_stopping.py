"""A command that a signal stops: its exit code, what it says, and that nothing of it is left."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from subprocess import PIPE

import psutil
import pytest
import quick_demo
from shell import FER, bare, give_prefect_database, heed_signals, of_home

from flows.cli import stopping

QUICK = [word for setting in quick_demo.SETTINGS for word in ("--set", setting)]
STOPPED = "stopped. Run the same command again to go on; finished stages are kept.\n"
_COMMAND = """
import signal, sys, time
from flows.cli import stopping
stopping._TIMEOUT_S = float(sys.argv[1])
with stopping.heeded():
    if len(sys.argv) > 2:  # as Prefect does in a flow
        signal.signal(signal.SIGTERM, lambda *_: None)
    words = ["ready"]
    while True:
        try:
            while words:
                print(words.pop(), flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            words.append(stopping.exit_code())
"""


def _command(*more: str, preexec_fn=heed_signals, timeout_s: float = 0.5) -> "subprocess.Popen[str]":
    command = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, str(timeout_s), *more],
        stdout=PIPE,
        stderr=PIPE,
        text=True,
        preexec_fn=preexec_fn,
    )
    assert command.stdout.readline() == "ready\n"
    return command


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_each_signal_interrupts_and_what_does_not_end_then_is_ended(number):
    with _command() as command:
        command.send_signal(number)
        said, error = command.communicate(timeout=60)
    assert (said, error) == (f"{128 + number}\n", STOPPED)
    assert command.returncode == 128 + number


@pytest.mark.slow
def test_it_ends_in_time_where_nobody_reads_what_it_says():
    with _command() as command:
        command.stderr.close()
        command.send_signal(signal.SIGTERM)
        assert command.wait(60) == 128 + signal.SIGTERM


@pytest.mark.slow
def test_it_ends_in_time_where_something_else_handles_the_signal():
    with _command("handle") as command:
        command.send_signal(signal.SIGTERM)
        assert command.communicate(timeout=60) == ("", STOPPED)
    assert command.returncode == 128 + signal.SIGTERM


@pytest.mark.slow
def test_a_second_signal_ends_at_once():
    with _command(timeout_s=60) as command:
        command.send_signal(signal.SIGTERM)
        assert command.stdout.readline() == f"{128 + signal.SIGTERM}\n"
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == -signal.SIGINT


@pytest.mark.slow
def test_what_was_ignored_at_the_start_as_under_nohup_stays_ignored():
    with _command(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as command:
        command.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        command.send_signal(signal.SIGTERM)
        assert command.communicate(timeout=60)[0] == f"{128 + signal.SIGTERM}\n"


_WRITES = """
import sys, time
from flows.cli import app
def work():
    print("ready", flush=True)
    while True:
        print("more" * 9, end="")
        time.sleep(0.01)
app.app = work
app.main()
"""


@pytest.mark.slow
def test_a_closed_terminal_does_not_change_the_exit_code(tmp_path):
    terminal, inside = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-c", _WRITES],
        env=bare(tmp_path),
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=lambda: (heed_signals(), fcntl.ioctl(1, termios.TIOCSCTTY, 0)),
    )
    os.close(inside)
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)
    assert command.wait(60) == 128 + signal.SIGHUP


def test_signals_are_heeded_within_the_block_alone():
    before = [signal.getsignal(number) for number in stopping._SIGNALS]
    with stopping.heeded():
        assert stopping.exit_code() is None
    assert [signal.getsignal(number) for number in stopping._SIGNALS] == before


def _has_server(home) -> bool:
    return any("prefect.server.api.server:create_app" in process.cmdline() for process in of_home(home))


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("number", "to_group", "stage", "code"),
    [
        (signal.SIGHUP, True, "server", 128 + signal.SIGHUP),
        (signal.SIGINT, True, "download", 128 + signal.SIGINT),
        (signal.SIGTERM, False, "download", 128 + signal.SIGTERM),
        (signal.SIGKILL, True, "download", -signal.SIGKILL),
    ],
    ids=["closed-terminal-as-the-server-starts", "ctrl-c", "sigterm", "kill-9-of-the-group"],
)
def test_a_signal_ends_a_run_and_all_that_it_has_started(tmp_path, number, to_group, stage, code):
    give_prefect_database(tmp_path)
    run = subprocess.Popen(
        [*FER, "retrain", *QUICK],
        env=bare(tmp_path),
        cwd=tmp_path,
        stdout=PIPE,
        stderr=PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    )
    try:
        assert any({"server": "retraining", "download": "download"}[stage] in line for line in run.stdout)
        while not _has_server(tmp_path):
            assert run.poll() is None
            time.sleep(0.05)
        started = of_home(tmp_path)
        if to_group:
            os.killpg(run.pid, number)
        else:
            run.send_signal(number)
        _, error = run.communicate(timeout=60)
        _, left = psutil.wait_procs(started, 20)
        left += of_home(tmp_path)
    finally:
        for process in of_home(tmp_path):
            process.kill()
    assert run.returncode == code
    assert error == ("" if number == signal.SIGKILL else STOPPED)
    assert left == []


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 7])
def test_what_is_to_be_done_at_the_end_is_done_and_the_modules_are_left_alone(code, tmp_path):
    program = f"""
import atexit, sys, threading, time, weakref
from flows.cli import stopping

class Taken:
    def __del__(self):
        print("taken apart")

kept = Taken()
atexit.register(print, "first registered")
atexit.register(lambda: print("last registered", "thread ended" if ended.is_set() else "thread at work"))
ended = threading.Event()
threading.Thread(target=lambda: (time.sleep(0.2), ended.set())).start()
sys.stderr.write("told")
stopping.end({code})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, "told")
    assert done.stdout.splitlines() == ["last registered thread ended", "first registered"]
