import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from fer import errors
from fer.engine import arithmetic
from fer.engine.processes import child_process
from fer.progress import Reporter

pytestmark = pytest.mark.slow

WORK = """
import errno, os, signal, sys, time
from fer import errors

def add(a, b, *, progress):
    progress(1, 2, "half")
    print("a library that prints")
    return {"sum": a + b}

def refuse(*, progress):
    raise errors.IntegrityError("Bytes must be whole.", received="half")

def fill_the_disk(*, progress):
    raise OSError(errno.ENOSPC, "No space left on device", "/some/file")

def stumble(*, progress):
    raise KeyError("a bug")

def sleep(*, progress):
    progress(os.getpid(), 1)
    time.sleep(60)

def ask_for_too_much(progress):
    raise MemoryError


def take(n_bytes, *, progress):
    return len(bytearray(n_bytes))

def die(*, progress):
    os.kill(os.getpid(), signal.SIGKILL)

def crash(*, progress):
    os.kill(os.getpid(), signal.SIGSEGV)

def leave(*, progress):
    print("first words\\nsecond words\\n\\nlast but one\\nlast words", file=sys.stderr, flush=True)
    os._exit(7)

def is_compiled_by_xla(*, progress):
    import keras
    import numpy as np
    from fer.training import config as train_config
    from fer.training import trainer as trainers

    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    config = train_config.TrainConfig(xla=True, batch_size=4)
    trainer = trainers.LocalTrainer(model, config, np.full(2, 0.5, np.float32), batch_size=4, micro_batch=4)
    pixels, targets = np.ones((4, 4, 4, 1), np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    trainer.step(pixels, targets, np.ones(4, np.float32), 1e-3)
    return trainer.model.jit_compile

def leave_with_a_speech(*, progress):
    print("words " * 200, file=sys.stderr, flush=True)
    os._exit(7)
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that the child can import, as it gets this process's path."""
    (tmp_path / "child_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    import child_work

    yield child_work
    del sys.modules["child_work"]


def run(function, *, timeout_s=20.0, progress=lambda *_: None, advice=None, **arguments):
    job = child_process.Job("Work", timeout_s, **(advice or {}))
    return child_process.run(function, arguments, job, progress=Reporter(progress))


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_gone(pid)


def test_a_function_runs_in_another_process_and_its_result_and_progress_come_back(work):
    counts = []
    assert run(work.add, a=1, b=2.5, progress=lambda *report: counts.append(report)) == {"sum": 3.5}
    assert counts == [(1, 2, "half")]


def test_an_error_of_ours_comes_out_as_it_is_with_the_childs_traceback(work):
    with pytest.raises(errors.IntegrityError, match=r"Bytes must be whole\. Received: half\.") as raised:
        run(work.refuse)
    assert "in refuse" in "".join(raised.value.__notes__)


def test_a_full_disk_in_the_child_is_an_oserror_here_too(work):
    with pytest.raises(OSError, match="No space left") as raised:
        run(work.fill_the_disk)
    assert raised.value.filename == "/some/file"


def test_any_other_error_is_a_training_error_that_names_it_and_how_to_see_more(work):
    with pytest.raises(errors.TrainingError, match=r"KeyError: 'a bug'.* Next: .*fer --debug"):
        run(work.stumble)


def test_a_child_that_takes_too_long_is_killed(work):
    pids = []
    with pytest.raises(errors.TrainingError, match=r"time limit.* Next: give it less\."):
        run(
            work.sleep, timeout_s=2.0, progress=lambda pid, *_: pids.append(pid), advice={"if_too_slow": "give it less"}
        )
    assert is_gone(pids[0])


class Counters:
    """The kernel's, as they are read one after another; None: there are none."""

    def __init__(self, *n_kills):
        self._n_kills = iter(n_kills)

    def read_text(self):
        n_kills = next(self._n_kills)
        if n_kills is None:
            raise FileNotFoundError
        return f"nr_free_pages 7\noom_kill {n_kills}\n"


def test_a_child_that_the_kernel_killed_for_memory_is_said_to_lack_it_with_the_callers_advice(work, monkeypatch):
    monkeypatch.setattr(child_process, "_KERNEL_COUNTERS", Counters(3, 4))
    with pytest.raises(errors.OutOfMemory, match=r"because memory ran out\. Next: buy some\."):
        run(work.die, advice={"if_out_of_memory": "buy some"})


def test_a_child_that_was_killed_from_outside_may_be_tried_again(work, monkeypatch):
    monkeypatch.setattr(child_process, "_KERNEL_COUNTERS", Counters(3, 3))
    with pytest.raises(errors.Interrupted, match=r"killed from outside\. Next: run the same command again\.") as raised:
        run(work.die)
    assert raised.value.transient


def test_a_child_that_crashes_by_itself_would_do_so_again(work):
    with pytest.raises(errors.TrainingError, match="it crashed by SIGSEGV") as raised:
        run(work.crash)
    assert not raised.value.transient


def test_where_the_kernel_does_not_say_why_a_killed_child_may_have_lacked_memory(work, monkeypatch):
    monkeypatch.setattr(child_process, "_KERNEL_COUNTERS", Counters(None))
    with pytest.raises(errors.Interrupted, match="Next: free some memory, then run the same command again"):
        run(work.die)


def test_an_allocation_that_fails_in_the_child_is_lack_of_memory(work):
    with pytest.raises(errors.OutOfMemory, match=r"MemoryError from its process\. Next: buy some\."):
        run(work.ask_for_too_much, advice={"if_out_of_memory": "buy some"})


@pytest.mark.skipif(sys.platform != "linux", reason="bounded on Linux alone")
@pytest.mark.parametrize("fresh", [False, True])
def test_a_child_gets_no_more_memory_than_it_may_have(work, fresh):
    job = {"memory_bytes": 300_000_000, "in_fresh_interpreter": fresh, "if_out_of_memory": "buy some"}
    assert run(work.take, n_bytes=100_000_000, advice=job) == 100_000_000
    with pytest.raises(errors.OutOfMemory, match=r"Next: buy some\."):
        run(work.take, n_bytes=400_000_000, advice=job)


def test_a_child_that_exits_leaves_its_last_words(work):
    with pytest.raises(
        errors.TrainingError, match=r"code 7 .*: second words \| last but one \| last words\."
    ) as raised:
        run(work.leave)
    assert "first words" in "".join(raised.value.__notes__)


def test_last_words_that_are_long_are_for_the_debugger_alone(work):
    with pytest.raises(errors.TrainingError, match=r"code 7 and no result\. Next: .*fer --debug") as raised:
        run(work.leave_with_a_speech)
    assert "words words" in "".join(raised.value.__notes__)


def test_a_child_that_cannot_even_start_is_said_to_have_exited(work, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(errors.TrainingError, match="code 1 "):
        run(work.add, a="more than a pipe holds" * 20_000, b=0, advice={"in_fresh_interpreter": True})


def test_an_interrupt_here_ends_the_child(work):
    pids = []

    def interrupt(pid, *_):
        pids.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(work.sleep, progress=interrupt)
    assert is_gone(pids[0])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_child_ends_when_its_parent_is_killed_outright(work, tmp_path):
    script = """
    import child_work
    from fer.engine.processes import child_process
    from fer.progress import Reporter
    job = child_process.Job("Work", timeout_s=60)
    child_process.run(child_work.sleep, {}, job, progress=Reporter(lambda pid, *_: print(pid, flush=True)))
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
    )
    with parent:
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
        parent.kill()
    assert wait_until_gone(pid)


def test_the_child_keeps_tensorflow_silent_unless_told_otherwise(monkeypatch):
    assert arithmetic.child_environment()["TF_CPP_MIN_LOG_LEVEL"] == "3"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert arithmetic.child_environment()["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_a_child_takes_of_a_gpu_what_it_needs_unless_told_otherwise(monkeypatch):
    for name, wanted, other in (
        ("TF_FORCE_GPU_ALLOW_GROWTH", "true", "false"),
        ("XLA_PYTHON_CLIENT_PREALLOCATE", "false", "true"),
    ):
        monkeypatch.delenv(name, raising=False)
        assert arithmetic.child_environment()[name] == wanted
        monkeypatch.setenv(name, other)
        assert arithmetic.child_environment()[name] == other


def test_xla_compiles_the_steps_where_it_is_asked_to(work):
    assert child_process.run(work.is_compiled_by_xla, {}, child_process.Job("The work", timeout_s=300, xla=True))
