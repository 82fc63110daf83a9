import hashlib
import io
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import kaggle_server
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer import errors, plain_text
from fer.ingest import archives

FILES = {"b/2.png": b"two" * 500, "a/1.png": b"one", "a/none.png": b""}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return written(tmp_path, kaggle_server.zip_of(FILES))


def written(folder: Path, data: bytes) -> Path:
    path = folder / "dataset.zip"
    path.write_bytes(data)
    return path


def entry_of(name: str, *, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


def zip_with(*entries: zipfile.ZipInfo, data: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Duplicate name"
        for entry in entries:
            archive.writestr(entry, b"" if entry.is_dir() else data)
    return buffer.getvalue()


def test_members_are_files_sorted_by_name_with_their_sizes(good: Path) -> None:
    assert archives.members(good) == [
        archives.Member("a/1.png", 3),
        archives.Member("a/none.png", 0),
        archives.Member("b/2.png", 1500),
    ]


def test_read_gives_the_bytes(good: Path) -> None:
    with archives.open_safe(good) as archive:
        assert {member.name: archives.read(archive, member) for member in archives.list_members(archive)} == FILES


def test_folders_and_what_systems_leave_about_are_skipped(tmp_path: Path) -> None:
    junk = ["a/", "__MACOSX/a/._1.png", "a/.DS_Store", "Thumbs.db", "a/._1.png", "a/desktop.ini"]
    path = written(tmp_path, zip_with(*map(entry_of, junk), entry_of("a/1.png")))
    assert [member.name for member in archives.members(path)] == ["a/1.png"]


@pytest.mark.parametrize("names", [[], ["a/"], ["__MACOSX/x", ".DS_Store"]])
def test_an_archive_without_files_is_refused(tmp_path: Path, names: list[str]) -> None:
    path = written(tmp_path, zip_with(*map(entry_of, names)))
    with pytest.raises(errors.SourceError, match="must hold files"):
        archives.members(path)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up.png", "a/../../up.png", "a//b.png", "./a.png", "C:/a.png", "a\\b.png", "a/.."]
)
def test_a_name_that_is_no_plain_relative_path_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, zip_with(entry_of("a/1.png"), entry_of(name)))
    with pytest.raises(errors.SourceError, match="plain relative paths"):
        archives.members(path)


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    data = zip_with(entry_of("a/1.png"), entry_of("a/2.png.exe")).replace(b"2.png.exe", b"2.png\0exe")
    with pytest.raises(errors.SourceError, match="plain relative paths"):
        archives.members(written(tmp_path, data))


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceError, match=r"'a/1\.png' twice"):
        archives.members(written(tmp_path, zip_with(entry_of("a/1.png"), entry_of("a/1.png"))))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    path = written(tmp_path, zip_with(entry_of("a/1.png", mode=kind | 0o777), data=b"/etc/passwd"))
    with pytest.raises(errors.SourceError, match="no links"):
        archives.members(path)


def test_a_link_is_refused_whichever_system_is_said_to_have_made_it(tmp_path: Path) -> None:
    entry = entry_of("a/1.png", mode=stat.S_IFLNK | 0o777)
    entry.create_system = 19  # macOS
    with pytest.raises(errors.SourceError, match="no links"):
        archives.members(written(tmp_path, zip_with(entry)))


@pytest.mark.parametrize("name", ["a/1\n2.png", "a/\x1b[31m.png", "a/\u202egnp.exe", "a/\u2028.png", "a/\x7f.png"])
def test_names_that_would_break_a_report_are_refused_and_shown_escaped(tmp_path: Path, name: str) -> None:
    with pytest.raises(errors.SourceError, match="plain relative paths") as refusal:
        archives.members(written(tmp_path, zip_with(entry_of(name))))
    assert str(refusal.value).isprintable()


def test_the_icon_that_macos_leaves_in_a_folder_is_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, zip_with(entry_of("a/Icon\r"), entry_of("a/1.png")))
    assert [member.name for member in archives.members(path)] == ["a/1.png"]


def test_overlong_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceError, match="at most 1,024 characters"):
        archives.members(written(tmp_path, zip_with(entry_of("a/" + "n" * 1200))))


def test_a_folder_with_content_is_refused_since_it_would_be_left_out(tmp_path: Path) -> None:
    data = zip_with(entry_of("a/1.png"), entry_of("a/2.png")).replace(b"a/2.png", b"a/2png/")
    with pytest.raises(errors.SourceError, match="folders without a content"):
        archives.members(written(tmp_path, data))


def test_names_that_differ_in_case_or_unicode_form_are_two_names(tmp_path: Path) -> None:
    names = ["a/X.png", "a/x.png", "a/\u00e9.png", "a/e\u0301.png"]
    path = written(tmp_path, zip_with(*map(entry_of, names)))
    assert {member.name for member in archives.members(path)} == set(names)


def test_a_name_that_is_not_the_utf8_it_says_is_refused(tmp_path: Path) -> None:
    data = zip_with(entry_of("a/\u00e9.png")).replace("\u00e9".encode(), b"\xff\xfe")
    with pytest.raises(errors.SourceError, match="names in UTF-8"):
        archives.members(written(tmp_path, data))


def test_a_name_without_the_mark_of_utf8_is_code_page_437(tmp_path: Path) -> None:
    data = zip_with(entry_of("a/xx.png")).replace(b"xx.png", b"\x82x.png")
    path = written(tmp_path, data)
    with archives.open_safe(path) as archive:
        (member,) = archives.list_members(archive)
        assert member.name == "a/\u00e9x.png"
        assert archives.read(archive, member) == b"x"


def test_files_that_share_bytes_are_refused(tmp_path: Path) -> None:
    data = bytearray(zip_with(entry_of("a/1.png"), entry_of("a/1.png")))
    second = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, second + 42, 0)  # it begins where the first does
    data[second + 46 : second + 53] = b"a/2.png"
    with pytest.raises(archives.DamagedArchive, match="must not overlap"):
        archives.members(written(tmp_path, bytes(data)))


def test_a_file_that_reaches_into_the_next_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_with(entry_of("a/1.png"), entry_of("a/2.png"), data=b"x" * 50))
    struct.pack_into("<II", data, data.index(b"PK\x01\x02") + 20, 90, 90)
    with pytest.raises(archives.DamagedArchive, match="must not overlap"):
        archives.members(written(tmp_path, bytes(data)))


def test_a_part_of_a_divided_archive_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_with(entry_of("a/1.png")))
    struct.pack_into("<HH", data, data.rindex(b"PK\x05\x06") + 4, 2, 2)
    with pytest.raises(errors.SourceError, match=r"must be one file.*3 parts"):
        archives.members(written(tmp_path, bytes(data)))


def test_a_directory_of_too_many_entries_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limited: Callable[..., None]
) -> None:
    data = bytearray(zip_with(*(entry_of(f"a/{number}") for number in range(50))))
    struct.pack_into("<HH", data, data.rindex(b"PK\x05\x06") + 8, 1, 1)  # it says there is one
    limited(archive_files=49)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(errors.SourceError, match="at most 49 files"):
        archives.members(written(tmp_path, bytes(data)))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(errors.SourceError, match="a pipe or device"):
        archives.require_zip(tmp_path / "pipe.zip")


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_with(entry_of("a/1.png")))
    data[data.index(b"PK\x01\x02") + 8] |= 1  # bit 0 of the flags in the directory
    with pytest.raises(errors.SourceError, match="without a password"):
        archives.members(written(tmp_path, bytes(data)))


def test_an_aes_encrypted_file_is_refused_as_such(tmp_path: Path) -> None:
    data = bytearray(zip_with(entry_of("a/1.png")))
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + 10, 99)
    with pytest.raises(errors.SourceError, match="without a password"):
        archives.members(written(tmp_path, bytes(data)))


def test_a_file_that_is_a_patch_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_with(entry_of("a/1.png")))
    data[data.index(b"PK\x01\x02") + 8] |= 0x20
    with pytest.raises(errors.SourceError, match="not what is to be patched"):
        archives.members(written(tmp_path, bytes(data)))


def test_an_unknown_method_of_compression_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_with(entry_of("a/1.png")))
    at = data.index(b"PK\x01\x02") + 10
    data[at : at + 2] = struct.pack("<H", 97)  # WavPack
    with pytest.raises(errors.SourceError, match="by method 97"):
        archives.members(written(tmp_path, bytes(data)))


def test_a_bomb_is_refused_before_it_is_decompressed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", bytes(80 * 2**20))  # 1,000 times its compressed size
    with pytest.raises(errors.SourceError, match="times their compressed size"):
        archives.members(written(tmp_path, buffer.getvalue()))


def test_a_bomb_of_many_files_is_refused_before_it_is_decompressed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(12):
            archive.writestr(f"a/{number}.png", bytes(8 * 2**20))
    with pytest.raises(errors.SourceError, match="times its own size"):
        archives.members(written(tmp_path, buffer.getvalue()))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_whose_reader_knows_no_limit_are_refused(tmp_path: Path, method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a/1.png", b"x")
    with pytest.raises(errors.SourceError, match=f"deflate or stored.*by method {method}"):
        archives.members(written(tmp_path, buffer.getvalue()))


@pytest.mark.parametrize(
    ("limit", "value", "match"),
    [
        ("archive_files", 2, "at most 2 files"),
        ("archive_bytes", 1502, "at most 1,502 bytes"),
        ("file_bytes", 1499, "'b/2.png' of 1,500"),
    ],
)
def test_limits_hold(good: Path, limited: Callable[..., None], limit: str, value: int, match: str) -> None:
    limited(**{limit: value})
    with pytest.raises(errors.SourceError, match=f"{match}.*FER_LIMIT_{limit.upper()}"):
        archives.members(good)
    limited(**{limit: value + 1})
    assert len(archives.members(good)) == 3


@pytest.mark.parametrize("content", [b"", b"just some text", b"PK\x03\x04 and no more"])
def test_what_is_no_zip_is_a_damaged_archive(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(archives.DamagedArchive, match=r"must be a .*zip.*Received.*Next"):
        archives.members(written(tmp_path, content))


def test_a_folder_and_a_missing_file_are_source_errors(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceError, match="the folder"):
        archives.members(tmp_path)
    with pytest.raises(errors.SourceError, match="No such file"):
        archives.members(tmp_path / "missing.zip")


def test_an_archive_cut_short_is_damaged(good: Path) -> None:
    good.write_bytes(good.read_bytes()[:-30])
    with pytest.raises(archives.DamagedArchive, match="cut short"):
        archives.members(good)


def test_an_entry_that_swallows_the_next_ones_is_noticed(good: Path) -> None:
    data = bytearray(good.read_bytes())
    data[data.index(b"PK\x01\x02") + 32] = 200  # the length of its comment, which zipfile believes
    good.write_bytes(bytes(data))
    with zipfile.ZipFile(good) as archive:
        assert len(archive.namelist()) < 3
    with pytest.raises(archives.DamagedArchive, match="cut short"):
        archives.members(good)


def test_an_end_record_that_points_outside_is_damage(good: Path) -> None:
    data = bytearray(good.read_bytes())
    data[-3] = 0x7F  # the highest byte of the directory's offset
    good.write_bytes(bytes(data))
    with pytest.raises(archives.DamagedArchive):
        archives.members(good)


def test_a_size_that_is_not_the_declared_one_is_damage(good: Path) -> None:
    with archives.open_safe(good) as archive, pytest.raises(archives.DamagedArchive):
        archives.read(archive, archives.Member("a/1.png", 2))


@settings(max_examples=2 * settings.default.max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_one_changed_byte_is_an_error_or_does_no_harm(tmp_path: Path, position: int, flip: int) -> None:
    data = bytearray(kaggle_server.zip_of(FILES))
    data[position % len(data)] ^= flip
    path = written(tmp_path, bytes(data))
    try:
        archives.repack(path, tmp_path / "out.zip")
    except errors.SourceError:
        return
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert files == FILES


def test_repack_gives_the_same_bytes_for_the_same_files_however_packed(tmp_path: Path) -> None:
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    one.write_bytes(kaggle_server.zip_of(FILES))
    with zipfile.ZipFile(two, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(FILES):
            archive.writestr(zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6)), FILES[name])
        archive.writestr("__MACOSX/junk", b"junk")
    assert [archives.repack(path, path.with_suffix(".out")) for path in (one, two)] == [
        {},
        {"hidden or system folder (__MACOSX)": 1},
    ]
    assert one.with_suffix(".out").read_bytes() == two.with_suffix(".out").read_bytes()


def test_the_digest_is_that_of_the_files_however_they_are_packed(tmp_path: Path, good: Path) -> None:
    before = archives.digest(good)
    expected = [(name, hashlib.sha256(FILES[name]).hexdigest()) for name in sorted(FILES)]
    assert before == archives.content_digest(expected)
    archives.repack(good, tmp_path / "out.zip", expected=before)
    assert archives.digest(tmp_path / "out.zip") == before
    for changed in (FILES | {"a/1.png": b"eno"}, FILES | {"c.png": b""}, dict(list(FILES.items())[1:])):
        assert archives.digest(written(tmp_path, kaggle_server.zip_of(changed))) != before


def test_repack_leaves_nothing_of_files_that_are_not_expected(good: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.SourceError, match="must not change"):
        archives.repack(good, tmp_path / "out.zip", expected="0" * 64)
    assert list(tmp_path.iterdir()) == [good]


def test_the_start_of_a_file_is_read_alone(good: Path) -> None:
    with archives.open_safe(good) as archive:
        first, *_, last = archives.list_members(archive)
        assert (archives.read_start(archive, first, 9), archives.read_start(archive, last, 4)) == (b"one", b"twot")


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("happy", "'happy'"),
        ("it's", '"it\'s"'),
        ("\x1b[2J\u202e", "'\\x1b[2J\\u202e'"),
        ("g\u00eane", "'g\u00eane'"),
        ("h" * 80, f"'{'h' * 80}'"),
        ("h" * 81, f"'{'h' * 79}...'"),
        ("\0" * 10**6, "'" + "\\x00" * 19 + "\\x0...'"),
    ],
)
def test_text_of_a_source_is_quoted_escaped_and_cut(text: str, quoted: str) -> None:
    assert plain_text.quoted(text) == quoted


def test_repack_stores_sorted_files_and_reports_how_far_it_is(good: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    archives.repack(good, tmp_path / "out.zip", lambda *call: seen.append(call))
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == sorted(FILES)
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {name: archive.read(name) for name in FILES} == FILES
    assert seen[-1] == (3, 3, "files checked")


def test_repack_leaves_nothing_when_a_file_is_damaged(good: Path, tmp_path: Path) -> None:
    data = bytearray(good.read_bytes())
    data[data.index(b"a/1.png") + 8] ^= 0xFF
    good.write_bytes(bytes(data))
    with pytest.raises(archives.DamagedArchive, match=r"'a/1\.png'"):
        archives.repack(good, tmp_path / "out.zip")
    assert list(tmp_path.iterdir()) == [good]


def zip_of_names(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, b"")
    return path


def test_backslashes_of_a_zip_without_slashes_are_slashes(tmp_path):
    path = zip_of_names(tmp_path / "windows.zip", ["f\\", "f\\happy\\1.png", "f\\.git\\x", "2.png"])
    assert [member.name for member in archives.members(path)] == ["2.png", "f/happy/1.png"]
    same = zip_of_names(tmp_path / "unix.zip", ["f/happy/1.png", "2.png"])
    assert archives.digest(path) == archives.digest(same)
    archives.repack(path, tmp_path / "out.zip")
    assert [member.name for member in archives.members(tmp_path / "out.zip")] == ["2.png", "f/happy/1.png"]


@pytest.mark.parametrize("name", ["..\\up.png", "\\etc\\passwd", "a\\\\b.png", "C:\\a.png"])
def test_paths_by_backslashes_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(errors.SourceError, match="plain relative paths"):
        archives.members(zip_of_names(tmp_path / "windows.zip", ["a\\b.png", name]))
