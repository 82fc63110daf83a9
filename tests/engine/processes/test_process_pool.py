import concurrent.futures
import errno
import importlib
import math
import operator
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import living
import psutil
import pytest

from fer import errors, progress
from fer.engine.processes import process_pool


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    assert process_pool.map_ordered(math.sqrt, [9, 1, 4, 0], workers=workers) == [3, 1, 2, 0]


@pytest.fixture
def work(tmp_path: Path, monkeypatch):
    """A module that spawned processes can import too."""
    (tmp_path / "work_for_processes.py").write_text(
        textwrap.dedent("""
            import os
            import time
            from fer import errors

            def process_id(item):
                return os.getpid()

            def slowly(item):
                time.sleep(0.1)
                return os.getpid()

            def fail(item):
                raise errors.SourceError("It must be so.", received=item, todo="look")
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("work_for_processes")
    del sys.modules["work_for_processes"]


@pytest.mark.parametrize("items", [[], [16]])
def test_one_item_or_none_stays_in_this_process(work, items):
    assert process_pool.map_ordered(work.process_id, items, workers=8) == [os.getpid()] * len(items)


def test_one_worker_stays_in_this_process(work):
    assert process_pool.map_ordered(work.process_id, [1, 2], workers=1) == [os.getpid()] * 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "Read-only file system"),
        (ImportError("This platform lacks a functioning sem_open implementation"), "sem_open"),
    ],
)
def test_where_processes_can_not_share_a_semaphore_the_work_is_done_in_this_one_and_this_is_said(
    work, monkeypatch, error, reason
):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", refuse)
    notes = []
    reporter = progress.Reporter(lambda done, total, text: None, notes.append)
    assert process_pool.map_ordered(work.process_id, [1, 2, 3], workers=2, progress=reporter) == [os.getpid()] * 3
    (note,) = notes
    assert reason in note
    assert "/dev/shm" in note


def test_several_workers_are_other_processes(work):
    assert os.getpid() not in process_pool.map_ordered(work.process_id, [1, 2, 3], workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_failing_item_is_raised_after_the_others_are_done(tmp_path: Path, workers):
    folders = [tmp_path / name for name in "abc"]
    missing = tmp_path / "missing" / "folder"
    with pytest.raises(FileNotFoundError):
        process_pool.map_ordered(os.mkdir, [missing, *folders, folders[0]], workers=workers)
    assert all(folder.is_dir() for folder in folders)


def test_a_project_error_crosses_the_process_border_with_its_message(work):
    with pytest.raises(errors.SourceError, match=r"It must be so\. Received: 1\. Next: look\."):
        process_pool.map_ordered(work.fail, [1, 2], workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_counts_every_item(workers):
    seen: list[tuple[int, int, str]] = []
    process_pool.map_ordered(
        operator.neg, [1, 2, 3], workers=workers, progress=lambda *count: seen.append(count), text="shards"
    )
    assert seen == [(1, 3, "shards"), (2, 3, "shards"), (3, 3, "shards")]


def test_a_killed_worker_ends_in_one_clear_error():
    with pytest.raises(errors.WorkspaceError, match=r"killed during 'index'.*memory"):
        process_pool.map_ordered(signal.raise_signal, [signal.SIGKILL] * 2, workers=2, text="index")


def test_workers_end_when_the_parent_is_killed(tmp_path: Path):
    """The parent has one busy and one idle worker when SIGKILL takes it."""
    script = tmp_path / "sleeps.py"
    script.write_text(
        textwrap.dedent("""
            import time
            from fer.engine.processes import process_pool

            if __name__ == "__main__":
                process_pool.map_ordered(time.sleep, [0, 60], workers=2, progress=lambda *_: print("began", flush=True))
        """)
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
    children: list[psutil.Process] = []
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"began\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        parent.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        for child in children:
            if child.is_running():
                child.kill()


def test_an_interrupt_leaves_no_worker_behind():
    def interrupt(done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        process_pool.map_ordered(time.sleep, [0] + [0.5] * 40, workers=2, progress=interrupt)
    assert time.monotonic() - began < 6  # all of them would take as long
    names = [" ".join(child.cmdline()) for child in living.children()]
    assert not [name for name in names if "spawn_main" in name]


def test_this_process_can_take_part(work):
    results = process_pool.map_ordered(work.process_id, range(40), workers=2, alone_s=0)
    assert len(results) == 40
    assert os.getpid() in results
    assert len(set(results)) <= 2


def test_others_are_started_only_where_the_work_left_is_worth_it(work):
    alone = process_pool.map_ordered(work.process_id, range(40), workers=2, alone_s=60)
    assert set(alone) == {os.getpid()}
    shared = process_pool.map_ordered(work.slowly, range(40), workers=2, alone_s=0.5)
    assert shared[0] == os.getpid()
    assert len(set(shared)) == 2


@pytest.mark.parametrize("n_items", [2, 3, 30])
def test_taking_part_keeps_the_order_and_counts_each_item_once(n_items):
    seen = []
    results = process_pool.map_ordered(
        operator.neg, range(n_items), workers=3, alone_s=0, progress=lambda done, *_: seen.append(done)
    )
    assert results == [-item for item in range(n_items)]
    assert seen == list(range(1, n_items + 1))


def test_an_item_that_fails_here_stops_no_other(tmp_path):
    folders = [tmp_path / "missing" / "folder", *(tmp_path / name for name in "abcdef")]
    with pytest.raises(FileNotFoundError):
        process_pool.map_ordered(os.mkdir, folders, workers=2, alone_s=0)
    assert all(folder.is_dir() for folder in folders[1:])


def test_what_waits_for_another_worker_is_done_here_when_nothing_else_is_left():
    submitted = []

    def submit(item):
        submitted.append(concurrent.futures.Future())
        return submitted[-1]

    def on_done(item):
        if item == 2:
            submitted[0].set_running_or_notify_cancel()
            submitted[0].set_result("theirs")

    assert process_pool.bounded(submit, iter(range(4)), lambda: 2, on_done, lambda item: f"own {item}") == [
        "theirs",
        "own 1",
        "own 2",
        "own 3",
    ]


def test_items_are_taken_a_few_ahead_of_the_workers():
    taken = []

    def items():
        for item in range(40):
            taken.append(item)
            yield item

    n_ahead = []
    process_pool.map_ordered(
        operator.neg, items(), workers=2, total=40, progress=lambda done, *_: n_ahead.append(len(taken) - done)
    )
    assert len(taken) == 40
    assert max(n_ahead) <= 8


def test_progress_can_weigh_the_items():
    seen = []
    process_pool.map_ordered(
        operator.neg,
        iter([3, 1]),
        workers=1,
        total=4,
        weigh=lambda item: item,
        progress=lambda *count: seen.append(count[:2]),
    )
    assert seen == [(3, 4), (4, 4)]
