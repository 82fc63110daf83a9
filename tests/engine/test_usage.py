import os
import signal
import subprocess
import sys
import time

import pytest

from fer.engine import usage


def test_a_mark_tells_when_an_output_was_used_last(tmp_path):
    assert usage.last_use(tmp_path, "label errors", "k") == 0
    usage.mark(tmp_path, "label errors", "k")
    assert abs(usage.last_use(tmp_path, "label errors", "k") - time.time()) < 5
    usage.forget(tmp_path, "label errors", "k")
    usage.forget(tmp_path, "label errors", "k")
    assert usage.last_use(tmp_path, "label errors", "k") == 0


def test_where_nothing_can_be_written_outputs_are_used_without_a_mark(tmp_path):
    (tmp_path / usage.MARKS).touch()  # no folder
    (tmp_path / ".running").touch()
    usage.mark(tmp_path, "stage", "k")
    with usage.working(tmp_path):
        pass


def test_those_at_work_are_known_until_they_end(tmp_path):
    assert usage.busy_since(tmp_path) == float("inf")
    with usage.working(tmp_path):
        first = usage.busy_since(tmp_path)
        assert abs(first - time.time()) < 5
        with usage.working(tmp_path):
            assert usage.busy_since(tmp_path) == first
        assert usage.busy_since(tmp_path) == first
    assert usage.busy_since(tmp_path) == float("inf")
    assert list((tmp_path / ".running").iterdir()) == []


@pytest.mark.slow
def test_one_that_was_killed_is_at_work_no_more(tmp_path):
    code = f"""
import time
from pathlib import Path
from fer.engine import usage
with usage.working(Path({str(tmp_path)!r})):
    print("ready", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert usage.busy_since(tmp_path) < float("inf")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert usage.busy_since(tmp_path) == float("inf")
    assert list((tmp_path / ".running").iterdir()) == []
