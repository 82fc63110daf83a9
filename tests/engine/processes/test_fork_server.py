"""What is forked is as an interpreter of its own would be, and where forking can't be had, there is one."""

import os
import signal
import sys
import threading
import time

import living
import psutil
import pytest

from fer import errors
from fer.engine import arithmetic
from fer.engine.processes import child_process, fork_server, process_pool
from fer.progress import Reporter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not fork_server.is_possible(), reason="nothing is forked on this machine"),
]

WORK = """
import os, sys, time

def describe(*, progress):
    return {
        "has_keras": "keras" in sys.modules,
        "is_forked": "small_module" in sys.modules,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "cores": sorted(os.sched_getaffinity(0)),
        "path": sys.path,
        "parent": os.getppid(),
    }

def weights(*, progress):
    import hashlib
    import keras
    import numpy as np

    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((24, 24, 1)), *layers])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    pixels = np.random.default_rng(0).random((96, 24, 24, 1), dtype=np.float32)
    model.fit(pixels, np.arange(96) % 3, epochs=2, verbose=0)
    return hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()

def sleep(*, progress):
    progress(os.getpid(), 1)
    time.sleep(60)

def quit(*, progress):
    sys.exit("enough")
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that a child can import by the path that it is given."""
    (tmp_path / "forked_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    import forked_work

    yield forked_work
    del sys.modules["forked_work"]


def booted(module: str) -> str:
    """What starts a server that imports this module in place of Keras."""
    return fork_server._BOOT.replace("fork_server.main", f"fork_server._PRELOADED = {module!r}; fork_server.main")


@pytest.fixture
def small_server(work, tmp_path, monkeypatch):
    """Servers import an empty module in place of Keras, for tests of how they live and end: each would take 5 s."""
    (tmp_path / "small_module.py").touch()
    close()
    monkeypatch.setattr(fork_server, "_BOOT", booted("small_module"))
    yield
    close()


def run(function, *, progress=lambda *_: None, note=lambda _: None, **job):
    return child_process.run(function, {}, child_process.Job("Work", 60.0, **job), progress=Reporter(progress, note))


def servers() -> list[psutil.Process]:
    return [child for child in living.children() if "fork_server" in " ".join(child.cmdline())]


def server() -> psutil.Process:
    (found,) = servers()
    return found


def close() -> None:
    """End the server, if there is one, and wait for that as long as a busy machine takes."""
    ending = servers()
    fork_server.close()
    psutil.wait_procs(ending, 60)


def test_a_forked_process_has_keras_and_all_that_is_this_moments(work, tmp_path, monkeypatch):
    run(work.describe)
    monkeypatch.setenv("FER_HOME", "elsewhere")
    monkeypatch.delenv("HOME")
    monkeypatch.chdir(tmp_path)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    try:
        found = run(work.describe)
    finally:
        os.sched_setaffinity(0, cores)
    assert found["has_keras"]
    assert found["parent"] == server().pid
    assert (found["folder"], found["cores"], found["path"]) == (str(tmp_path), cores[:1], sys.path)
    assert found["environment"]["FER_HOME"] == "elsewhere"
    assert "HOME" not in found["environment"]


def test_another_environment_at_the_import_is_served_by_another_server(small_server, work, monkeypatch):
    first = run(work.describe)["parent"]
    assert run(work.describe, threads=1)["parent"] == first
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert run(work.describe)["parent"] == server().pid != first
    assert not psutil.pid_exists(first)


@pytest.mark.parametrize("threads", [1, 2])
def test_forked_and_fresh_ones_end_in_the_same_bits(work, threads):
    assert run(work.weights, threads=threads) == run(work.weights, threads=threads, in_fresh_interpreter=True)


def test_several_threads_are_served_at_once(small_server, work):
    pids, go_on = [], threading.Event()

    def stop_when_both_are_at_work(pid, *_):
        pids.append(pid)
        go_on.wait(60)
        raise KeyError(pid)

    def wait_for_one():
        with pytest.raises(KeyError):
            run(work.sleep, progress=stop_when_both_are_at_work)

    workers = [threading.Thread(target=wait_for_one) for _ in range(2)]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 60
    while len(pids) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    go_on.set()
    for worker in workers:
        worker.join()
    assert len(set(pids)) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_server_that_is_killed_is_replaced_and_its_child_can_still_be_ended(small_server, work):
    pids = []

    def kill_the_server(pid, *_):
        pids.append(pid)
        server().kill()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(work.sleep, progress=kill_the_server)
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pids[0]) and psutil.Process(pids[0]).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run(work.describe)  # by an interpreter, if the kernel was not done with the server
    assert run(work.describe)["is_forked"]


def test_one_that_quits_does_not_go_on_as_the_server(small_server, work):
    with pytest.raises(errors.TrainingError, match=r"code 1 and no result.*enough"):
        run(work.quit)
    assert run(work.describe)["parent"] == server().pid


@pytest.mark.parametrize("preloaded", ["a_module_that_is_not_there", "this"])
def test_without_a_server_there_is_an_interpreter(work, monkeypatch, preloaded):
    close()
    threaded = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start(); "
    monkeypatch.setattr(
        fork_server, "_BOOT", booted(preloaded) if preloaded != "this" else threaded + booted(preloaded)
    )
    found = run(work.describe)
    assert not found["has_keras"]
    assert found["parent"] == os.getpid()


def test_that_keras_is_imported_is_said_where_it_is_waited_for(small_server, work):
    notes = []
    for _ in range(2):
        run(work.describe, note=notes.append)
    assert notes == ["loading TensorFlow"]
    run(work.describe, note=notes.append, in_fresh_interpreter=True)
    assert notes == 2 * ["loading TensorFlow"]


def test_closed_it_leaves_no_process(small_server, work):
    run(work.describe)
    pid = server().pid
    fork_server.close()
    assert not psutil.pid_exists(pid)


def test_what_is_sent_to_the_whole_group_by_a_terminal_does_not_end_the_server(small_server, work):
    run(work.describe)
    for number in (signal.SIGINT, signal.SIGHUP):
        server().send_signal(number)
    assert run(work.describe)["parent"] == server().pid


def test_a_server_that_was_prepared_has_loaded_keras_before_it_is_needed(small_server, work, monkeypatch):
    child_process.load_ahead()
    pid = server().pid
    environment = arithmetic.child_environment()
    deadline = time.monotonic() + 60
    while not fork_server.is_warm(environment):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    monkeypatch.setenv("KMP_INIT_AT_FORK", "FALSE")  # as scikit-learn does when it is imported meanwhile
    child_process.load_ahead()  # once more changes nothing
    notes = []
    assert run(work.describe, note=notes.append)["parent"] == pid == server().pid
    assert notes == []


def test_a_server_that_nobody_needed_is_ended(work):
    close()
    child_process.load_ahead()
    assert len(servers()) == 1
    close()
    assert servers() == []


def test_on_a_single_core_nothing_is_loaded_ahead(work, monkeypatch):
    close()
    monkeypatch.setattr(process_pool, "usable_cores", lambda: 1)
    child_process.load_ahead()
    assert servers() == []
