"""An interpreter that is started ahead is the one that is used, as long as one that were started now would be alike."""

import os
import sys

import living
import pytest

from fer.engine.processes import child_process, interpreter, process_pool
from fer.progress import Reporter

pytestmark = pytest.mark.slow

JOB = child_process.Job("Work", 60.0, in_fresh_interpreter=True)
WORK = """
import os, sys

def describe(*, progress):
    return {"pid": os.getpid(), "is_loaded": "colorsys" in sys.modules, "value": os.environ.get("FER_TRIED")}
"""


@pytest.fixture
def describe(tmp_path, monkeypatch):
    """Run a child that says what it is; what is loaded ahead is a small module."""
    (tmp_path / "fresh_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(interpreter, "_PRELOADED", "colorsys")
    import fresh_work

    notes = []

    def run():
        notes.clear()
        found = child_process.run(fresh_work.describe, {}, JOB, progress=Reporter(lambda *_: None, notes.append))
        return found | {"notes": list(notes)}

    yield run
    interpreter.close()
    del sys.modules["fresh_work"]


def waiting() -> list[int]:
    return [child.pid for child in living.children() if "colorsys" in child.cmdline()]


def test_what_is_started_ahead_is_used_once(describe):
    child_process.load_ahead(fresh=JOB)
    (pid,) = waiting()
    child_process.load_ahead(fresh=JOB)
    assert waiting() == [pid]
    first, second = describe(), describe()
    assert (first["pid"], first["is_loaded"], first["notes"]) == (pid, True, [])
    assert second["pid"] != pid
    assert (second["is_loaded"], second["notes"]) == (False, ["loading TensorFlow"])
    assert waiting() == []


def test_in_another_environment_another_one_is_started(describe, monkeypatch):
    child_process.load_ahead(fresh=JOB)
    monkeypatch.setenv("FER_TRIED", "twice")
    found = describe()
    assert (found["value"], found["is_loaded"]) == ("twice", False)
    assert waiting() == []


def test_one_that_died_is_replaced(describe):
    child_process.load_ahead(fresh=JOB)
    (started,) = interpreter._waiting
    started.process.kill()
    started.process.wait()
    assert not describe()["is_loaded"]


def test_one_that_nobody_took_is_ended(describe):
    child_process.load_ahead(fresh=JOB)
    (pid,) = waiting()
    interpreter.close()
    assert waiting() == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_on_a_single_core_nothing_is_started_ahead(describe, monkeypatch):
    monkeypatch.setattr(process_pool, "usable_cores", lambda: 1)
    child_process.load_ahead(fresh=JOB)
    assert waiting() == []
