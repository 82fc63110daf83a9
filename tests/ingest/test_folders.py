import os
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import errors
from fer.ingest import archives, folders

FILES = {"happy/1.png": b"one", "sad/2.png": b"two" * 1000, "empty.png": b""}


def written(folder, files=FILES):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "faces")


def test_the_same_files_give_the_same_digest_and_zip_in_whatever_order_they_came(tmp_path, folder):
    other = written(tmp_path / "other", dict(reversed(FILES.items())))
    os.utime(other / "empty.png", (0, 0))
    assert folders.digest(folder) == folders.digest(other)
    for path in (folder, other):
        folders.pack(path, tmp_path / f"{path.name}.zip", folders.digest(folder))
    assert (tmp_path / "faces.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    with archives.open_safe(tmp_path / "faces.zip") as archive:
        assert {member.name: archives.read(archive, member) for member in archives.list_members(archive)} == FILES


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "happy/1.png").write_bytes(b"eno"),
        lambda folder: (folder / "happy/1.png").rename(folder / "happy/3.png"),
        lambda folder: (folder / "happy/1.png").unlink(),
        lambda folder: (folder / "more.png").touch(),
    ],
)
def test_any_change_gives_another_digest_and_is_refused_by_pack(tmp_path, folder, change):
    before = folders.digest(folder)
    change(folder)
    assert folders.digest(folder) != before
    with pytest.raises(errors.SourceError, match="must not change"):
        folders.pack(folder, tmp_path / "out.zip", before)
    assert not list(tmp_path.glob("out.zip*"))


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=2), st.binary(max_size=2)), min_size=1, max_size=4))
def test_different_files_have_different_digests(tmp_path_factory, files):
    one, two = dict(files), dict(reversed(files))
    a, b = (written(tmp_path_factory.mktemp("folder"), files) for files in (one, two))
    assert (folders.digest(a) == folders.digest(b)) == (one == two)


def test_what_systems_leave_about_and_empty_folders_do_not_count(folder):
    before = folders.digest(folder)
    written(
        folder, {".DS_Store": b"x", "happy/._1.png": b"x", "__MACOSX/1.png": b"x", "Thumbs.db": b"x", "Icon\r": b""}
    )
    (folder / "nothing").mkdir()
    assert folders.digest(folder) == before


@pytest.mark.parametrize("target", ["happy", "happy/1.png", "/etc/hostname", "nowhere"])
def test_links_are_refused_wherever_they_lead(folder, target):
    (folder / "link").symlink_to(target)
    with pytest.raises(errors.SourceError, match=r"no links.*'link', a link"):
        folders.digest(folder)


def test_a_link_that_comes_into_a_files_place_is_not_followed(tmp_path, folder, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_bytes(b"one")
    files = folders._files(folder, None)
    monkeypatch.setattr(folders, "_files", lambda *_: files)
    (folder / "happy/1.png").unlink()
    (folder / "happy/1.png").symlink_to(secret)
    with pytest.raises(errors.SourceError, match=r"'happy/1\.png', which is a link now"):
        folders.digest(folder)


def test_a_file_that_vanishes_is_a_clear_error(folder, monkeypatch):
    files = folders._files(folder, None)
    monkeypatch.setattr(folders, "_files", lambda *_: files)
    (folder / "happy/1.png").unlink()
    with pytest.raises(errors.SourceError, match=r"must not change.*'happy/1\.png', gone"):
        folders.digest(folder)


def test_a_file_that_grows_while_it_is_packed_is_a_clear_error(tmp_path, folder, monkeypatch):
    files = folders._files(folder, None)
    monkeypatch.setattr(folders, "_files", lambda *_: files)
    (folder / "happy/1.png").write_bytes(b"one and more")
    with pytest.raises(errors.SourceError, match=r"must not change.*'happy/1\.png', which grew"):
        folders.pack(folder, tmp_path / "out.zip", "")
    assert not list(tmp_path.glob("out.zip*"))


def test_a_pipe_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(errors.SourceError, match="'pipe', neither a file nor a folder"):
        folders.digest(folder)


@pytest.mark.parametrize(
    "name", ["a\\b.png", b"\xff.png", "C:1.png", "a\nb.png", "\x1b[2J.png", "a\u202eb.png", "/".join(["d" * 200] * 6)]
)
def test_a_name_that_no_archive_may_hold_is_refused(folder, name):
    written(folder, {os.fsdecode(name): b""})
    with pytest.raises(errors.SourceError, match="Next: rename it") as refusal:
        folders.digest(folder)
    assert str(refusal.value).isprintable()


def test_a_folder_without_files_is_refused(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    with pytest.raises(errors.SourceError, match="must hold files"):
        folders.digest(tmp_path)


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("archive_files", 2, "at most 2 files"),
        ("archive_bytes", 10, "at most 10 bytes"),
        ("file_bytes", 10, "files of at most 10 bytes"),
    ],
)
def test_more_than_an_archive_may_hold_is_refused(folder, limited, limit, value, message):
    limited(**{limit: value})
    with pytest.raises(errors.SourceError, match=message):
        folders.digest(folder)


def test_deep_folders_are_packed_like_any(tmp_path):
    name = "/".join(["d"] * 300) + "/1.png"
    folders.pack(written(tmp_path / "deep", {name: b"x"}), tmp_path / "out.zip", folders.digest(tmp_path / "deep"))
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == [name]


@pytest.fixture
def linked(tmp_path):
    """A folder of links into a cache beside it, one of them to a folder, and the same as plain files."""
    files = {"happy/1.png": b"one", "happy/2.png": b"two", "sad/3.png": b"three"}
    plain, linked, cache = (tmp_path / name for name in ("plain", "linked", "cache"))
    written(plain, files)
    written(cache, {"ab/01": b"one", "ab/02": b"two", "sad/3.png": b"three"})
    (linked / "happy").mkdir(parents=True)
    (linked / "happy/1.png").symlink_to(cache / "ab/01")
    (linked / "happy/2.png").symlink_to("../../cache/ab/02")
    (linked / "sad").symlink_to(cache / "sad")
    return plain, linked, cache


def test_links_into_the_folder_that_is_named_are_what_they_lead_to(tmp_path, linked):
    plain, folder, cache = linked
    digest = folders.digest(folder, cache)
    assert digest == folders.digest(plain)
    folders.pack(folder, tmp_path / "linked.zip", digest, links_into=cache)
    folders.pack(plain, tmp_path / "plain.zip", digest)
    assert (tmp_path / "linked.zip").read_bytes() == (tmp_path / "plain.zip").read_bytes()


def test_without_that_folder_the_error_says_where_a_link_leads_and_how_to_allow_it(linked):
    with pytest.raises(errors.SourceError, match=r"a link to '.*FER_LINKS_INTO=.*`cp -rL`"):
        folders.digest(linked[1])


def test_links_out_of_that_folder_or_to_nothing_are_refused(tmp_path, linked):
    _, folder, cache = linked
    (cache / "ab/03").symlink_to("/etc/hostname")
    outside, gone = "no links but into", "links to files that are there"
    for target, message in (("/etc/hostname", outside), (cache / "ab/03", outside), (cache / "x", gone)):
        (folder / "link").symlink_to(target)
        with pytest.raises(errors.SourceError, match=message):
            folders.digest(folder, cache)
        (folder / "link").unlink()


def test_links_in_a_circle_are_refused(linked):
    _, folder, cache = linked
    (cache / "sad/again").symlink_to(cache / "sad")
    with pytest.raises(errors.SourceError, match=r"no links in a circle.*'sad/again'"):
        folders.digest(folder, cache)
    with pytest.raises(errors.SourceError, match="no links in a circle"):
        folders.digest(cache, cache)


def test_a_link_whose_target_is_turned_elsewhere_meanwhile_is_not_followed(tmp_path, linked, monkeypatch):
    _, folder, cache = linked
    files = folders._files(folder, cache)
    monkeypatch.setattr(folders, "_files", lambda *_: files)
    (cache / "ab").rename(cache / "cd")
    written(tmp_path / "secret", {"01": b"one", "02": b"two"})
    (cache / "ab").symlink_to(tmp_path / "secret")
    with pytest.raises(errors.SourceError, match=r"which leads elsewhere now"):
        folders.digest(folder, cache)
