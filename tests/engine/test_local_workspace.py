import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from two_files import dataset, run, write_two_files

from fer import errors
from fer.engine import outputs
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest.refs import DatasetRef, ManifestRef


def test_output_is_committed_with_its_path_and_digest_and_not_made_twice(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    output = run(workspace)
    assert output.path == "stage/k1"
    assert len(output.digest) == 64
    assert (workspace.folder(output) / "deeper" / "b.txt").read_text() == "b"

    def explode(out: Path) -> DatasetRef:
        raise AssertionError("made twice")

    assert run(workspace, explode) == output


def test_what_another_has_only_begun_is_not_committed(tmp_path):
    workspace = LocalWorkspace(tmp_path)

    def write_beside_another(out: Path) -> DatasetRef:
        (out / "shard-1.tmp").write_text("half")
        return write_two_files(out)

    output = run(workspace, write_beside_another)
    assert set(outputs.read_record(workspace.folder(output)).files) == {"a.txt", "deeper/b.txt"}
    assert not (workspace.folder(output) / "shard-1.tmp").exists()


def test_the_digest_follows_the_content_and_not_the_key(tmp_path):
    workspace = LocalWorkspace(tmp_path)

    def write_other(out: Path) -> DatasetRef:
        (out / "a.txt").write_text("other")
        return dataset()

    assert run(workspace, key="k1").digest == run(workspace, key="k2").digest
    assert run(workspace, write_other, key="k3").digest != run(workspace, key="k1").digest


def test_a_failure_leaves_nothing_behind(tmp_path):
    workspace = LocalWorkspace(tmp_path)

    def fail(out: Path) -> DatasetRef:
        (out / "half").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(workspace, fail)
    assert workspace.committed("stage", "k1", DatasetRef) is None
    assert [path for path in tmp_path.rglob("*") if path.name == "half"] == []


def test_a_resumable_stage_finds_its_finished_files_again_but_no_half_written_ones(tmp_path):
    workspace = LocalWorkspace(tmp_path)

    def fail(out: Path) -> DatasetRef:
        (out / "shard-0").write_text("done")
        (out / "shard-1.tmp").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(workspace, fail, resumable=True)
    seen: list[str] = []

    def resume(out: Path) -> DatasetRef:
        seen.extend(path.name for path in out.iterdir())
        return dataset()

    run(workspace, resume, resumable=True)
    assert seen == ["shard-0"]


@pytest.mark.parametrize(
    ("kind", "is_kept"),
    [
        (errors.LabelError, False),
        (errors.IntegrityError, False),
        (errors.Diverged, False),
        (errors.TrainingError, True),
        (errors.OutOfTime, True),
    ],
)
def test_what_the_input_rules_out_is_not_kept_for_another_try(tmp_path, kind, is_kept):
    def refuse(out: Path) -> DatasetRef:
        (out / "part-0").write_text("done")
        raise kind("It must hold.")

    with pytest.raises(kind):
        run(LocalWorkspace(tmp_path), refuse, resumable=True)
    assert bool(list(tmp_path.rglob("part-0"))) == is_kept


def test_a_full_disk_is_one_clear_error_and_frees_what_was_begun(tmp_path):
    workspace = LocalWorkspace(tmp_path)

    def fill(out: Path) -> DatasetRef:
        (out / "shard-0").write_text("done")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        errors.WorkspaceError, match=r"refused to write at .*: No space left on device\. Next: free some space"
    ):
        run(workspace, fill, resumable=True)
    assert list(tmp_path.rglob("shard-0")) == []


@pytest.mark.parametrize("kind", [errors.IntegrityError, errors.ConfigError])
def test_what_is_no_fault_of_the_stage_costs_what_was_made_but_not_the_hours_in_the_scratch(tmp_path, kind):
    def refuse(out: Path) -> DatasetRef:
        for name in ("shard-0", ".scratch/checkpoint"):
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text("done")
        raise kind("Shards must be whole, and workers named by TF_CONFIG.")

    with pytest.raises(kind):
        run(LocalWorkspace(tmp_path), refuse, resumable=True)
    assert [path.name for path in tmp_path.rglob("*") if path.name in ("shard-0", "checkpoint")] == ["checkpoint"]


def test_a_full_disk_leaves_what_an_attempt_that_goes_on_needs(tmp_path):
    workspace = LocalWorkspace(tmp_path)

    def fill(out: Path) -> DatasetRef:
        for name in ("shard-0", ".scratch/checkpoint", ".scratch/checkpoint.tmp", "deeper/shard-1"):
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text("done")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(errors.WorkspaceError):
        run(workspace, fill, resumable=True)
    assert [
        path.name for path in tmp_path.rglob("*") if path.is_file() and not {".locks", ".used"} & {*path.parts}
    ] == ["checkpoint"]


def test_scratch_is_there_until_the_output_is_committed_and_never_in_it(tmp_path, monkeypatch):
    workspace = LocalWorkspace(tmp_path)

    def write(out: Path) -> DatasetRef:
        (out / ".scratch").mkdir(exist_ok=True)
        (out / ".scratch" / "checkpoint").write_text("done")
        return write_two_files(out)

    def dies() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.sync", dies)  # the last thing before the name
        with pytest.raises(KeyboardInterrupt):
            run(workspace, write, resumable=True)
    assert [path.name for path in tmp_path.rglob("checkpoint")] == ["checkpoint"]
    output = run(workspace, write, resumable=True)
    assert list(tmp_path.rglob(".scratch")) == []
    assert output.digest == run(LocalWorkspace(tmp_path / "other"), write_two_files).digest


def test_a_folder_that_may_not_be_written_is_one_clear_error(tmp_path):
    def refuse(out: Path) -> DatasetRef:
        raise PermissionError(errno.EACCES, "Permission denied", str(out))

    with pytest.raises(
        errors.WorkspaceError, match=r"refused to write at .*: Permission denied\. Next: change its permissions"
    ):
        run(LocalWorkspace(tmp_path), refuse)


@pytest.mark.parametrize("harm", ["remove", "cut", "flip", "folder", "record", "no record", "record of another"])
@pytest.mark.parametrize("resumable", [False, True])
def test_damaged_output_is_set_aside_said_and_made_anew(tmp_path, harm, resumable):
    said: list[str] = []
    workspace = LocalWorkspace(tmp_path, say=said.append)
    output = run(workspace)
    folder = workspace.folder(output)
    expected = hashlib.sha256(b"a").hexdigest()
    path, sentence = folder / "a.txt", f"a.txt: expected SHA-256 {expected}, received nothing"
    if harm == "remove":
        path.unlink()
    elif harm == "cut":
        path.write_text("")
        sentence = "a.txt: expected 1 bytes, received 0 bytes"
    elif harm == "flip":
        path.write_text("b")
        sentence = f"a.txt: expected SHA-256 {expected}, received SHA-256 {hashlib.sha256(b'b').hexdigest()}"
    elif harm == "folder":
        path.unlink()
        path.mkdir()
    else:
        sentence = "its _ref.json is gone or changed"
        other = workspace.folder(run(workspace, key="k2")) / "_ref.json"
        path = folder / "_ref.json"
        path.unlink() if harm == "no record" else path.write_bytes(b"{" if harm == "record" else other.read_bytes())
    damaged = path.read_bytes() if path.is_file() else None
    with pytest.raises(errors.WorkspaceError, match=r"what changed is in .*damaged.*run the same command again"):
        workspace.folder(output)
    assert workspace.is_damaged("stage", "k1")
    assert workspace.committed("stage", "k1", DatasetRef) is None
    (text,) = said
    assert str(folder) in text
    assert sentence in text
    (aside,) = (tmp_path / ".damaged" / "stage" / "k1").iterdir()
    assert str(aside) in text
    if damaged is not None:
        assert (aside / path.name).read_bytes() == damaged
    assert run(workspace, resumable=resumable) == output
    assert (folder / "a.txt").read_text() == "a"
    assert (folder / "deeper" / "b.txt").read_text() == "b"
    assert not workspace.is_damaged("stage", "k1")
    assert len(said) == 1


def test_a_file_that_the_disk_does_not_give_back_is_set_aside(tmp_path, monkeypatch):
    said: list[str] = []
    workspace = LocalWorkspace(tmp_path, say=said.append)
    output = run(workspace)

    def fail(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("fer.engine.disk.sha256_once", fail)
        with pytest.raises(errors.WorkspaceError):
            workspace.folder(output)
    assert "received SHA-256 unknown: Input/output error" in said[0]
    assert run(workspace) == output


def test_a_file_that_was_not_committed_is_moved_out_of_the_output_which_stays(tmp_path):
    said: list[str] = []
    workspace = LocalWorkspace(tmp_path, say=said.append)
    output = run(workspace)
    planted = workspace.folder(output) / "deeper" / "train-00001.parquet"
    planted.write_text("planted")
    assert not (workspace.folder(output) / "deeper" / "train-00001.parquet").exists()
    assert [path.name for path in (tmp_path / ".damaged").rglob("*.parquet")] == ["train-00001.parquet"]
    assert "committed without deeper/train-00001.parquet" in said[0]
    assert workspace.committed("stage", "k1", DatasetRef) == output


def test_of_a_folder_only_the_files_are_verified_that_are_asked_for(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    output = run(workspace)
    (workspace.folder(output) / "a.txt").write_text("A")
    assert workspace.folder(output, ["deeper/b.txt"]).is_dir()
    with pytest.raises(errors.WorkspaceError):
        workspace.folder(output, ["a.txt"])


def test_what_is_damaged_while_another_process_makes_it_again_is_not_waited_for(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    folder = workspace.folder(run(workspace))
    (folder / "a.txt").write_text("A")
    with LocalWorkspace(tmp_path).locked("stage", "k1"):
        assert workspace.committed("stage", "k1", DatasetRef) is None
    assert (folder / "a.txt").exists()


def test_a_ref_of_another_content_is_not_answered_with_this_one(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    output = run(workspace)
    with pytest.raises(errors.WorkspaceError, match="another output"):
        workspace.folder(output.model_copy(update={"digest": "0" * 64}))


def test_a_resumable_stage_redoes_only_the_damaged_file(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    folder = workspace.folder(run(workspace, resumable=True))
    (folder / "a.txt").write_text("longer than it was")
    (folder / "deeper" / "b.txt").write_text("B")  # as long as before: only the digest tells
    seen: list[str] = []

    def resume(out: Path) -> DatasetRef:
        seen.extend(path.name for path in out.rglob("*") if path.is_file())
        return write_two_files(out)

    run(workspace, resume, resumable=True)
    assert seen == []
    (folder / "a.txt").unlink()
    run(workspace, resume, resumable=True)
    assert seen == ["b.txt"]
    (folder / "a.txt").write_text("A")
    run(workspace, resume, resumable=True)
    assert seen == ["b.txt", "b.txt"]


def hang_in_a_stage(root: str) -> None:
    def hang(out: Path) -> DatasetRef:
        (out / "half").write_text("half")
        (Path(root) / "hanging").touch()
        time.sleep(60)
        return dataset()

    run(LocalWorkspace(root), hang)


def start_hanging(root: Path) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=hang_in_a_stage, args=(str(root),))
    process.start()
    deadline = time.monotonic() + 60
    while not (root / "hanging").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_after_kill_9_the_same_stage_completes_and_what_was_half_written_is_gone(tmp_path):
    process = start_hanging(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    workspace = LocalWorkspace(tmp_path)
    assert workspace.committed("stage", "k1", DatasetRef) is None
    folder = workspace.folder(run(workspace))
    assert not (folder / "half").exists()


def make_old(path: Path, days: float = 2) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def test_what_a_killed_run_left_under_another_key_is_removed_after_a_day_but_not_what_is_at_work(tmp_path):
    process = start_hanging(tmp_path)
    [half] = tmp_path.rglob("half")
    make_old(half)
    run(LocalWorkspace(tmp_path), key="k2")
    assert half.exists()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    run(LocalWorkspace(tmp_path), key="k3")
    assert not half.parent.exists()


def test_a_killed_training_can_be_resumed_for_two_weeks(tmp_path):
    checkpoint = tmp_path / ".partial" / "stage" / "killed" / ".scratch" / "checkpoint.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    for number, (days, is_kept) in enumerate([(13, True), (15, False)]):
        make_old(checkpoint, days)
        run(LocalWorkspace(tmp_path), key=f"another-{number}")
        assert checkpoint.exists() == is_kept


def test_a_killed_download_can_be_resumed_after_a_run_of_another_source(tmp_path):
    part, old_part = (tmp_path / ".partial" / "stage" / "killed" / name for name in ("part", "old part"))
    part.parent.mkdir(parents=True)
    part.touch()
    old_part.touch()
    make_old(old_part)
    make_old(part.parent)
    run(LocalWorkspace(tmp_path), key="k2")
    assert part.exists()
    make_old(part)
    run(LocalWorkspace(tmp_path), key="k3")
    assert not part.parent.exists()


def test_an_empty_folder_that_a_killed_run_left_is_removed_after_a_day(tmp_path):
    young, old = (tmp_path / ".partial" / "stage" / name for name in ("young", "old"))
    for folder in (young, old):
        folder.mkdir(parents=True)
    make_old(old)
    run(LocalWorkspace(tmp_path))
    assert [path.name for path in young.parent.iterdir()] == ["young"]


def test_an_unknown_ref_says_what_to_do(tmp_path):
    with pytest.raises(errors.WorkspaceError, match="run the same command again"):
        LocalWorkspace(tmp_path).folder(dataset(path="stage/none"))


def write(text: str):
    def produce(out: Path) -> DatasetRef:
        (out / "a.txt").write_text(text)
        return dataset(source=text)

    return produce


def test_a_stages_outputs_are_those_that_are_whole_newest_first(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    assert workspace.outputs("stage", DatasetRef) == []
    refs = [run(workspace, write(key), key=key) for key in ("k3", "k1", "k2")]
    for age, ref in enumerate(refs[::-1]):
        os.utime(workspace.folder(ref) / "_ref.json", (1e9 - age, 1e9 - age))
    assert workspace.outputs("stage", DatasetRef) == refs[::-1]
    assert workspace.outputs("other stage", DatasetRef) == []
    (workspace.folder(refs[2]) / "_ref.json").write_text("{")
    assert workspace.outputs("stage", DatasetRef) == refs[1::-1]


def test_an_output_of_a_version_with_other_fields_is_left_out_or_refused_with_what_to_do(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    run(workspace)
    assert workspace.outputs("stage", ManifestRef) == []
    with pytest.raises(errors.WorkspaceError, match=r"of this version.*stage/k1.*Next: remove"):
        workspace.committed("stage", "k1", ManifestRef)


def test_a_workspace_of_version_0_1_is_read_and_gone_on_with_under_new_keys(tmp_path):
    # As it lay on the disk: keys of that version, its notes, and what a killed run of it left.
    old = {"path": "stage/6f1c", "digest": "d" * 64, "source": "demo", "n_files": 1, "size_bytes": 2}
    files = {"a.txt": {"size_bytes": 1, "sha256": hashlib.sha256(b"a").hexdigest()}}
    contents = {
        "stage/6f1c/_ref.json": json.dumps({"ref": old, "files": files}, indent=1),
        "stage/6f1c/a.txt": "a",
        ".accepted/demo-1.json": "{}",
        ".partial/stage/6f1d/part-0.parquet.tmp": "half",
        ".partial/stage/6f1d/.known/part-1.parquet.json": "{}",
        ".locks/stage-6f1c.lock": "",
    }
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    os.utime(tmp_path / ".partial/stage/6f1d/part-0.parquet.tmp", (0, 0))
    os.utime(tmp_path / ".partial/stage/6f1d/.known/part-1.parquet.json", (0, 0))
    workspace = LocalWorkspace(tmp_path)
    assert workspace.committed("stage", "k1", DatasetRef) is None
    new = run(workspace, key="k1")
    assert {ref.path for ref in workspace.outputs("stage", DatasetRef)} == {"stage/6f1c", new.path}
    assert (workspace.folder(DatasetRef.model_validate(old)) / "a.txt").read_text() == "a"
    assert [note.document for note in workspace.notes("accepted")] == [{}]
    assert not (tmp_path / ".partial/stage/6f1d").exists()


def test_a_record_left_by_a_kill_before_the_rename_is_no_part_of_the_output(tmp_path):
    partial = tmp_path / ".partial" / "stage" / "k1"
    partial.mkdir(parents=True)
    (partial / "_ref.json").write_text("{}")
    workspace = LocalWorkspace(tmp_path)
    output = run(workspace, resumable=True)
    assert workspace.committed("stage", "k1", DatasetRef) == output


NOTE, COPY = "accepted/demo.json", "accepted/demo.json.copy"


def note(workspace: LocalWorkspace) -> dict:
    (only,) = workspace.notes("accepted")
    return only.document


@pytest.mark.parametrize("name", [f".{NOTE}", f".{COPY}"])
@pytest.mark.parametrize("harm", ["remove", "cut", "flip", "empty", "swap"])
def test_a_note_is_restored_from_its_copy_and_the_copy_from_the_note(tmp_path, name, harm):
    said: list[str] = []
    workspace = LocalWorkspace(tmp_path, say=said.append)
    workspace.write_note("accepted", "other.json", {"of": "another"})
    workspace.write_note("accepted", "demo.json", {"of": "monday"})
    workspace.write_note("accepted", "demo.json", {"of": "tuesday"})
    path = tmp_path / name
    whole = path.read_bytes()
    at = whole.index(b"tuesday")
    if harm == "remove":
        path.unlink()
    else:
        flipped = whole[:at] + b"T" + whole[at + 1 :]
        other = (tmp_path / ".accepted" / "other.json").read_bytes()
        path.write_bytes({"cut": whole[:-9], "flip": flipped, "empty": b"", "swap": other}[harm])
    documents = {Path(note.location).name: note.document for note in workspace.notes("accepted")}
    assert documents == {"demo.json*": {"of": "tuesday"}, "other.json*": {"of": "another"}}
    assert path.read_bytes() == whole
    assert [str(path) in text for text in said] == ([] if harm == "remove" else [True])
    assert len(list((tmp_path / ".damaged").rglob(path.name))) == len(said)


def test_a_writer_killed_between_a_note_and_its_copy_leaves_the_new_one(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    workspace.write_note("accepted", "demo.json", {"of": "monday"})
    monday = (tmp_path / f".{COPY}").read_bytes()
    workspace.write_note("accepted", "demo.json", {"of": "tuesday"})
    (tmp_path / f".{COPY}").write_bytes(monday)
    assert note(workspace) == {"of": "tuesday"}
    assert (tmp_path / f".{COPY}").read_bytes() == (tmp_path / f".{NOTE}").read_bytes()


def test_a_note_of_another_workspace_is_not_believed(tmp_path):
    for day in ("monday", "tuesday"):
        LocalWorkspace(tmp_path / day).write_note("accepted", "demo.json", {"of": day})
    for name in (NOTE, COPY):
        shutil.copy(tmp_path / "monday" / f".{name}", tmp_path / "tuesday" / f".{name}")
        if name == NOTE:
            with pytest.raises(errors.WorkspaceError, match=r"two that differ at .*demo\.json\*\."):
                note(LocalWorkspace(tmp_path / "tuesday"))


def test_a_note_of_which_nothing_is_whole_stops_the_run(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    workspace.write_note("accepted", "demo.json", {"of": "monday"})
    for name in (NOTE, COPY):
        (tmp_path / f".{name}").write_text("{")
    with pytest.raises(
        errors.WorkspaceError, match=r"something else at .*demo\.json\*\. Next: .*remove the file and its"
    ):
        note(workspace)


def test_an_output_that_is_made_again_and_comes_out_the_same_leaves_nothing(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    ref = run(workspace)
    folder = workspace.folder(ref)
    inode = (folder / "a.txt").stat().st_ino

    def make(out: Path) -> DatasetRef:
        assert workspace.folder(ref) == folder  # others read it meanwhile
        assert run(LocalWorkspace(tmp_path)) == ref
        return write_two_files(out)

    remade = workspace.remake("stage", "k1", DatasetRef, make, None)
    assert (remade.ref, remade.differences, remade.aside) == (ref, (), None)
    assert (folder / "a.txt").stat().st_ino == inode
    assert not list((tmp_path / ".again" / "stage").iterdir())


def test_an_output_that_comes_out_otherwise_is_set_aside_and_the_first_one_stays(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    ref = run(workspace)

    def make(out: Path) -> DatasetRef:
        write_two_files(out)
        (out / "a.txt").write_text("b")
        (out / "c.txt").write_text("c")
        return dataset()

    remade = workspace.remake("stage", "k1", DatasetRef, make, None)
    assert [difference.name for difference in remade.differences] == ["a.txt", "c.txt"]
    assert (remade.aside / "a.txt").read_text() == "b"
    assert (workspace.folder(ref) / "a.txt").read_text() == "a"
    assert remade.ref == ref
    assert "otherwise" in remade.sentence()


def test_a_second_making_that_fails_leaves_the_output_and_nothing_else(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    ref = run(workspace)

    def fail(out: Path) -> DatasetRef:
        (out / "a.txt").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        workspace.remake("stage", "k1", DatasetRef, fail, None)
    assert not list((tmp_path / ".again" / "stage").iterdir())
    assert (workspace.folder(ref) / "a.txt").read_text() == "a"


def test_what_is_not_there_is_made_when_it_is_to_be_made_again(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    remade = workspace.remake("stage", "k1", DatasetRef, write_two_files, None)
    assert run(workspace) == remade.ref
