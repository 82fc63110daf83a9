import errno
import json
import os
import time
from pathlib import Path

import pytest
from two_files import dataset, run, write_two_files

from fer import errors
from fer.engine import disk, outputs
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest.refs import DatasetRef


def write_earlier(out: Path) -> DatasetRef:
    """As `write_two_files`, a second ago: a file that was written just now is read again each time."""
    ref = write_two_files(out)
    for path in out.rglob("*.txt"):
        os.utime(path, (time.time() - 1, time.time() - 1))
    return ref


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """The names of the files that were read to be hashed."""
    read: list[str] = []
    sha256 = disk.sha256

    def say(path: Path) -> str:
        read.append(path.name)
        return sha256(path)

    monkeypatch.setattr(disk, "sha256", say)
    return read


def test_a_file_with_a_second_name_is_neither_copied_nor_read_again(tmp_path, hashed):
    workspace = LocalWorkspace(tmp_path)
    first = workspace.folder(run(workspace, write_earlier))

    def pass_on(out: Path) -> DatasetRef:
        outputs.link(first, "a.txt", out, "new.txt")
        outputs.link(first, "deeper/b.txt", out, "deeper/b.txt")
        outputs.link(first, "deeper/b.txt", out, "deeper/b.txt")
        return dataset()

    hashed.clear()
    second = workspace.folder(run(workspace, pass_on, key="k2"))
    assert hashed == []
    assert (second / "new.txt").stat().st_ino == (first / "a.txt").stat().st_ino
    assert {path.name for path in second.rglob("*") if path.is_file()} == {"new.txt", "b.txt", "_ref.json"}

    def copy(out: Path) -> DatasetRef:
        (out / "new.txt").write_text("a")
        (out / "deeper").mkdir()
        (out / "deeper" / "b.txt").write_text("b")
        return dataset()

    by_reading = workspace.folder(run(workspace, copy, key="k3"))
    assert outputs.read_record(second).files == outputs.read_record(by_reading).files


def test_a_file_that_took_the_place_of_a_second_name_is_read(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    first = workspace.folder(run(workspace))

    def replace(out: Path) -> DatasetRef:
        outputs.link(first, "a.txt", out, "a.txt")
        outputs.link(first, "deeper/b.txt", out, "deeper/b.txt")
        disk.write(out / "a.txt", b"A")
        return dataset()

    assert run(workspace, replace, key="k2").digest != run(workspace).digest
    assert (first / "a.txt").read_text() == "a"


@pytest.mark.parametrize("harm", ["same size", "another size", "gone", "no record"])
def test_a_damaged_file_is_given_no_second_name(tmp_path, harm):
    workspace = LocalWorkspace(tmp_path)
    first = workspace.folder(run(workspace))
    if harm == "no record":
        (first / "_ref.json").unlink()
    elif harm == "gone":
        (first / "a.txt").unlink()
    else:
        (first / "a.txt").write_text("A" if harm == "same size" else "longer")
        os.utime(first / "_ref.json", (1e9, 1e9))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(errors.IntegrityError, match=r"a\.txt"):
        outputs.link(first, "a.txt", out, "a.txt")
    assert list(out.iterdir()) == []


def test_a_workspace_whose_times_were_lost_still_passes_its_files_on(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    first = workspace.folder(run(workspace))
    os.utime(first / "_ref.json", (1e9, 1e9))
    out = tmp_path / "out"
    outputs.link(first, "a.txt", out, "a.txt")
    assert (out / "a.txt").read_text() == "a"


def test_without_hard_links_a_file_is_copied(tmp_path, monkeypatch):
    workspace = LocalWorkspace(tmp_path)
    first = workspace.folder(run(workspace))

    def refuse(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)

    def pass_on(out: Path) -> DatasetRef:
        outputs.link(first, "a.txt", out, "a.txt")
        return dataset()

    second = workspace.folder(run(workspace, pass_on, key="k2"))
    assert (second / "a.txt").read_text() == "a"
    assert (second / "a.txt").stat().st_ino != (first / "a.txt").stat().st_ino


def test_a_committed_file_is_read_once_in_a_process_while_it_is_not_written_to(tmp_path, hashed):
    workspace = LocalWorkspace(tmp_path)
    ref = run(workspace, write_earlier)
    for _ in range(3):
        LocalWorkspace(tmp_path).folder(ref)
    assert sorted(hashed) == ["a.txt", "b.txt"]
    os.utime(workspace.folder(ref) / "a.txt")
    workspace.folder(ref)
    assert sorted(hashed) == ["a.txt", "a.txt", "b.txt"]


def test_a_record_knows_every_byte_of_its_own(tmp_path):
    workspace = LocalWorkspace(tmp_path, made_by="run tidy-owl (7)")
    path = workspace.folder(run(workspace)) / "_ref.json"
    whole = path.read_bytes()
    record = outputs.parse_record(whole)
    assert record.provenance().startswith("made by run tidy-owl (7) on 20")
    for at in range(len(whole)):
        for bit in (1, 4, 64):
            changed = whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
            assert outputs.parse_record(changed) in (None, record)  # another blank says the same
    assert all(outputs.parse_record(whole[:at]) is None for at in range(len(whole)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"7",
        b"\xff",
        b'{"ref": {}, "files": {}}',
        b'{"ref": {"path": "a/b"}, "files": []}',
        b'{"ref": {"path": "a/b"}, "files": {"x": 1}}',
        b'{"ref": {"path": "a/b"}, "files": {"../x": {"size_bytes": 1, "sha256": "0"}}}',
        b'{"ref": {"path": "a/b"}, "files": {"/x": {"size_bytes": 1, "sha256": "0"}}}',
        b'{"ref": {"path": "a/b"}, "files": {}, "made_by": "", "made_utc": ""}',
    ],
)
def test_what_is_no_record_is_none(content):
    assert outputs.parse_record(content) is None


def test_a_record_of_an_earlier_version_has_no_digest_of_its_own():
    old = {"ref": {"path": "a/b"}, "files": {"x": {"size_bytes": 1, "sha256": "0"}}}
    assert outputs.parse_record(json.dumps(old).encode()).provenance() == ""


def test_a_record_of_any_other_version_is_read_as_far_as_it_is_known():
    before = {"ref": {"path": "a/b"}, "files": {}, "made_by": "run x", "made_utc": "2026-01-02T03:04:05+00:00"}
    record = outputs.parse_record(disk.sealed(before))
    assert (record.made_by, record.parts, record.seconds) == ("run x", None, None)
    later = outputs.parse_record(disk.sealed(before | {"seconds": 2.5, "made_from": {"other": 1}, "colour": "red"}))
    assert (later.seconds, later.parts) == (2.5, None)


def test_a_record_says_how_long_its_output_took_unless_an_attempt_went_on(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    assert 0 <= outputs.read_record(workspace.folder(run(workspace))).seconds < 60

    def broken_off(out: Path) -> DatasetRef:
        (out / "a.txt").write_text("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(workspace, broken_off, key="k2", resumable=True)
    assert outputs.read_record(workspace.folder(run(workspace, key="k2", resumable=True))).seconds is None
