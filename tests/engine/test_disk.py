import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fer import errors
from fer.engine import disk


def test_a_write_leaves_no_second_file(tmp_path):
    disk.write(tmp_path / "file", b"one")
    disk.write(tmp_path / "file", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"two"


def test_a_write_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        disk.write(tmp_path / "file", b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_two_writers_of_one_file_do_not_trip_over_each_other(tmp_path, monkeypatch):
    both_have_written = threading.Barrier(2)
    write_bytes = Path.write_bytes

    def write_and_wait(path, data):
        write_bytes(path, data)
        both_have_written.wait(60)

    monkeypatch.setattr(Path, "write_bytes", write_and_wait)
    with ThreadPoolExecutor(2) as writers:
        list(writers.map(lambda data: disk.write(tmp_path / "file", data), [b"one", b"two"]))
    assert (tmp_path / "file").read_bytes() in (b"one", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_failed_block_wrote_is_gone_and_the_old_file_stays(tmp_path):
    disk.write(tmp_path / "file", b"old")

    def fail() -> None:
        with disk.replacing(tmp_path / "file") as staging:
            staging.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_the_bytes_are_on_the_disk_before_the_name_where_that_is_asked_for(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_size, list(names()))))

    def names():
        return (path.name for path in tmp_path.iterdir() if not path.name.endswith(disk.UNFINISHED))

    with disk.replacing(tmp_path / "file", sync=True) as staging:
        staging.write_bytes(b"four")
    assert seen == [(4, [])]
    disk.write(tmp_path / "other", b"one")
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("number", "todo"),
    [(errno.ENOSPC, "free some space"), (errno.EDQUOT, "free some space"), (errno.EROFS, "change its permissions")],
)
def test_a_disk_that_takes_no_more_is_one_clear_error(tmp_path, number, todo):
    with (
        pytest.raises(errors.WorkspaceError, match=rf"refused to write at /data: .*Next: {todo}"),
        disk.workspace_errors(tmp_path),
    ):
        raise OSError(number, os.strerror(number), "/data")


def test_an_error_that_is_not_the_disks_passes(tmp_path):
    with pytest.raises(FileNotFoundError), disk.workspace_errors(tmp_path):
        (tmp_path / "none").read_bytes()
