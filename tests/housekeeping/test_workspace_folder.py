import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from two_files import dataset, run, write_two_files

from fer.engine import outputs, usage
from fer.engine.code import key_parts
from fer.engine.local_workspace import LocalWorkspace
from fer.housekeeping import liveness
from fer.housekeeping.liveness import DAY_S, Policy, Root
from fer.housekeeping.workspace_folder import WorkspaceFolder, paths_in
from fer.ingest.refs import DatasetRef

NOTHING_STAYS = Policy(older_than_days=0, keep_last=0, grace_hours=0)


def age(root: Path, days: float = 100) -> None:
    """Let all that is there be so much older."""
    for path in root.rglob("*"):
        when = path.stat().st_mtime - days * DAY_S
        os.utime(path, (when, when))


def collect(root: Path, roots=None, policy=NOTHING_STAYS) -> set[str]:
    """What went."""
    folder = WorkspaceFolder(root)
    named = {name: Root(why) for name, why in (roots or {}).items()}
    fates = liveness.judge(folder.items(), named, policy, time.time(), usage.busy_since(root))
    return {fate.item.name for fate in fates if fate.goes and folder.remove(fate.item)}


def test_an_output_goes_whole_and_is_made_again(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    run(workspace, key="k1")
    run(workspace, key="k2")
    age(tmp_path)
    assert collect(tmp_path, {"stage/k2": "accepted"}) == {"stage/k1"}
    assert workspace.committed("stage", "k1", DatasetRef) is None
    assert workspace.committed("stage", "k2", DatasetRef) is not None
    assert run(workspace, key="k1").path == "stage/k1"
    assert list((tmp_path / ".gone").iterdir()) == []


def test_a_root_can_name_an_output_by_its_digest(tmp_path):
    ref = run(LocalWorkspace(tmp_path))
    age(tmp_path)
    assert collect(tmp_path, {ref.digest: "needed by a release"}) == set()


def test_an_output_stays_with_those_that_its_ref_names():
    nested = {"path": "gate/1", "digest": "d", "model": {"path": "train/2", "digest": "e"}, "more": [{"path": "x/3"}]}
    assert list(paths_in(nested)) == ["gate/1", "train/2"]


def made_from(workspace: LocalWorkspace, key: str, **inputs) -> DatasetRef:
    parts = key_parts.of(inputs, {}, {})
    return workspace.run("stage", key, DatasetRef, write_two_files, resumable=False, made_from=parts)


def test_an_output_stays_with_those_that_it_was_made_from_but_of_earlier_data_alone_what_it_was_compared_with(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    index = [made_from(workspace, f"index{number}") for number in range(2)]
    before = made_from(workspace, "split0", manifest=index[0])
    made_from(workspace, "split1", manifest=index[1], previous=before)
    age(tmp_path)
    assert collect(tmp_path, {"stage/split1": "accepted"}) == {"stage/index0"}


def test_the_time_of_the_last_use_counts_not_that_of_the_making(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    ref = run(workspace, key="k1")
    run(workspace, key="k2")
    age(tmp_path)
    workspace.folder(ref)
    assert collect(tmp_path, policy=Policy(keep_last=0)) == {"stage/k2"}


def test_what_a_run_at_work_has_used_stays(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    run(workspace, key="k1")
    with usage.working(tmp_path):
        run(workspace, key="k2")
        usage.mark(tmp_path, "stage", "k1")
        assert collect(tmp_path) == set()
    assert collect(tmp_path) == {"stage/k1", "stage/k2"}


def test_what_comes_into_use_while_it_is_looked_at_stays(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    ref = run(workspace)
    age(tmp_path)
    folder = WorkspaceFolder(tmp_path)
    [item] = folder.items()
    assert workspace.committed("stage", "k1", DatasetRef) == ref
    assert not folder.remove(item)
    assert workspace.folder(ref).is_dir()


def test_what_is_being_made_stays(tmp_path):
    partial = tmp_path / ".partial" / "stage" / "k1"
    partial.mkdir(parents=True)
    (partial / "shard-0").write_text("done")
    age(tmp_path)
    with LocalWorkspace(tmp_path).locked("stage", "k1"):
        assert collect(tmp_path) == set()
    assert collect(tmp_path) == {".partial/stage/k1"}


def test_unfinished_outputs_stay_for_a_day_and_those_with_a_checkpoint_for_two_weeks(tmp_path):
    for key, name in (("k1", "shard-0"), ("k2", ".scratch/checkpoint.npz")):
        path = tmp_path / ".partial" / "train" / key / name
        path.parent.mkdir(parents=True)
        path.touch()
    assert collect(tmp_path) == set()
    age(tmp_path, 2)
    assert collect(tmp_path) == {".partial/train/k1"}
    age(tmp_path, 13)
    assert collect(tmp_path) == {".partial/train/k2"}


def test_damaged_files_stay_as_long_as_they_are_all_that_tells_of_an_output_that_is_needed(tmp_path):
    workspace = LocalWorkspace(tmp_path, say=lambda _: None)
    run(workspace)
    (tmp_path / "stage" / "k1" / "a.txt").write_text("other")
    assert LocalWorkspace(tmp_path, say=lambda _: None).record("stage", "k1") is None
    assert workspace.is_damaged("stage", "k1")
    age(tmp_path)
    kept = {"stage/k1": "accepted"}
    assert collect(tmp_path, kept) == {".partial/stage/k1"}
    assert LocalWorkspace(tmp_path).is_damaged("stage", "k1")
    run(LocalWorkspace(tmp_path))
    age(tmp_path)
    assert collect(tmp_path, kept) == {".damaged/stage/k1"}


def test_a_shard_with_two_names_gives_back_its_room_with_the_second(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    first = run(workspace, key="k1")

    def reuse(out: Path) -> DatasetRef:
        outputs.link(workspace.folder(first), "a.txt", out, "a.txt")
        return dataset()

    run(workspace, reuse, key="k2")
    one, two = (item for item in WorkspaceFolder(tmp_path).items())
    assert liveness.total_bytes([one, two]) < one.size_bytes + two.size_bytes
    age(tmp_path)
    assert collect(tmp_path, {"stage/k2": "accepted"}) == {"stage/k1"}
    assert (tmp_path / "stage" / "k2" / "a.txt").read_text() == "a"
    assert WorkspaceFolder(tmp_path).faults(WorkspaceFolder(tmp_path).items()[0]) == []


def test_marks_and_locks_of_outputs_that_are_gone_go_too(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    run(workspace, key="k1")
    run(workspace, key="k2")
    usage.mark(tmp_path, "stage", "never made")
    age(tmp_path)
    assert collect(tmp_path, {"stage/k2": "accepted"}) == {"stage/k1"}
    WorkspaceFolder(tmp_path).finish()
    assert [path.name for path in (tmp_path / ".used" / "stage").iterdir()] == ["k2"]
    assert [path.name for path in (tmp_path / ".locks").iterdir()] == ["stage-k2.lock"]


def test_an_output_that_is_not_as_it_was_committed_is_a_fault(tmp_path):
    run(LocalWorkspace(tmp_path))
    folder = WorkspaceFolder(tmp_path)
    [item] = folder.items()
    assert folder.faults(item) == []
    (tmp_path / "stage" / "k1" / "deeper" / "b.txt").write_text("x")
    assert "deeper/b.txt: expected SHA-256" in folder.faults(item)[0]


def test_beside_runs_that_find_make_and_read_outputs_nothing_vanishes_under_them(tmp_path):
    """Runs as threads, each with what it finds cached held for a while, and collectors that let nothing stay."""
    stop, faults = threading.Event(), []
    made = [0]

    def produce(out: Path) -> DatasetRef:
        made[0] += 1
        return write_two_files(out)

    def work(seed: int) -> None:
        keys = random.Random(seed)  # noqa: S311 - keys of made-up outputs, the same in each run; no secret
        try:
            while not stop.is_set():
                with usage.working(tmp_path):
                    workspace = LocalWorkspace(tmp_path, say=faults.append)
                    held = [run(workspace, produce, key=f"k{keys.randrange(6)}") for _ in range(3)]
                    for ref in held:
                        assert (workspace.folder(ref) / "a.txt").read_text() == "a"
        except Exception as error:  # noqa: BLE001 - it is the test's result
            faults.append(error)

    def remove() -> None:
        try:
            while not stop.is_set():
                went.update(collect(tmp_path))
        except Exception as error:  # noqa: BLE001
            faults.append(error)

    went: set[str] = set()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)] + [threading.Thread(target=remove)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert made[0] > 6  # some did go meanwhile
    assert went


def _collect_for_ever(root: Path) -> None:
    while True:
        collect(root)


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_whole_outputs_only_and_the_next_one_ends_the_work(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    context = multiprocessing.get_context("fork")
    for _ in range(15):
        for key in range(40):
            run(workspace, key=f"k{key}")
        process = context.Process(target=_collect_for_ever, args=(tmp_path,))
        process.start()
        while len(list((tmp_path / "stage").iterdir())) == 40:
            time.sleep(0.0005)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        for folder in (tmp_path / "stage").iterdir():
            assert workspace.record("stage", folder.name) is not None
            usage.forget(tmp_path, "stage", folder.name)
    age(tmp_path)
    collect(tmp_path)
    WorkspaceFolder(tmp_path).finish()
    assert WorkspaceFolder(tmp_path).items() == []
