"""Zip archives from elsewhere, read without trust, and never unpacked to the file system.

Whatever is not an archive of plain files is refused before the first of its bytes is decompressed; what is read is
checked against the archive's own CRC-32 and size.
"""

import contextlib
import dataclasses
import errno
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from fer import errors
from fer.progress import Progress, silent

DATASET = "dataset.zip"  # the name of the archive that `download` leaves and `index` reads

# The largest public sets of faces with emotions are below: AffectNet has 0.45 M cropped images, in some 60 GB.
MAX_MEMBERS = 2_000_000
MAX_TOTAL_BYTES = 100 * 2**30
# A member is held in memory when it is indexed; fer2013.csv, the largest single file known here, has 301 MB.
MAX_MEMBER_BYTES = 2 * 2**30
# Encoded images hardly shrink and fer2013.csv shrinks to a third; deflate's bombs reach 1,000, overlapping ones more.
MAX_RATIO = 100
_RATIO_MATTERS_BYTES = 64 * 2**20  # below this even a bomb does no harm

_JUNK_FOLDERS = {"__MACOSX"}
_JUNK_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_CHUNK_BYTES = 1 << 20
# What `zipfile` raises for damaged bytes; also an OSError, from bzip2 without errno, from a wrong offset with EINVAL.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, NotImplementedError, ValueError)
_FIX = "get the archive again, or zip the folder of images anew"


class DamagedArchive(errors.SourceError):
    """Not a whole zip: cut short, changed on its way, or no zip at all. Fetched again, it may be whole."""


@dataclasses.dataclass(frozen=True)
class Member:
    """A file in an archive: its name with `/` between folders, and its size once decompressed."""

    name: str
    size_bytes: int


def require_zip(path: Path) -> None:
    """Raise SourceError unless `path` is a file that begins like a zip. Cheap: reads four bytes."""
    try:
        if path.is_dir():
            raise errors.SourceError(
                "The archive must be a zip file.", received=f"the folder {path}", todo="zip it and give the zip's path"
            )
        with path.open("rb") as file:
            start = file.read(4)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise errors.SourceError(
            "The archive must exist and be readable.", received=f"'{reason}' at {path}", todo="check the path"
        ) from None
    if start not in (b"PK\x03\x04", b"PK\x05\x06"):
        what = "an empty file" if not start else f"a file that begins with {start!r}"
        raise DamagedArchive("The archive must be a zip file.", received=f"{what} at {path}", todo=_FIX)


def members(path: Path) -> list[Member]:
    """The files in the zip `path`, sorted by name, without folders and what macOS and Windows leave about.

    Raises SourceError where the archive is not fit to be read: see `open_safe`.
    """
    with open_safe(path) as archive:
        return list_members(archive)


@contextlib.contextmanager
def open_safe(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the zip `path` for `list_members` and `read`, once every entry of its directory is found fit.

    Raises SourceError for no zip (DamagedArchive), no file in it, encryption, links, names that are absolute, lead
    upwards or occur twice, and for more than the limits above.
    """
    require_zip(path)
    with _damage(str(path)):
        archive = zipfile.ZipFile(path)
    with archive:
        _check(archive, path)
        yield archive


def list_members(archive: zipfile.ZipFile) -> list[Member]:
    """The files in an archive from `open_safe`, sorted by name."""
    found = [Member(each.filename, each.file_size) for each in archive.infolist() if not _is_skipped(each)]
    return sorted(found, key=lambda each: each.name)


def read(archive: zipfile.ZipFile, member: Member) -> bytes:
    """The bytes of `member`, never more than its declared size. Raises DamagedArchive if size or CRC-32 differ."""
    with _damage(repr(member.name)):
        with archive.open(member.name) as file:
            data = file.read(member.size_bytes + 1)
        if len(data) != member.size_bytes:
            raise EOFError
    return data


def repack(path: Path, out: Path, progress: Progress = silent) -> int:
    """Write the files of the zip `path` to a new zip `out`, sorted, stored, with one date; returns how many.

    So the same files give the same bytes, however the source was packed, and later reads decompress nothing. `out`
    appears when it is whole. Raises SourceError as `open_safe` and `read` do.
    """
    aside = out.with_name(out.name + ".tmp")
    try:
        with open_safe(path) as archive, aside.open("wb") as file:
            found = list_members(archive)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as target:
                for n, member in enumerate(found):
                    _copy(archive, member, target)
                    if n % 1000 == 0:
                        progress(n, len(found), "files checked")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    progress(len(found), len(found), "files checked")
    return len(found)


def _copy(archive: zipfile.ZipFile, member: Member, target: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo(member.name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, wherever this runs: the platform is part of the bytes
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = member.size_bytes  # lets zipfile choose the 64-bit form
    copied = 0
    with _damage(repr(member.name)):
        source = archive.open(member.name)
    with source, target.open(entry, "w") as sink:
        while True:
            with _damage(repr(member.name)):
                chunk = source.read(_CHUNK_BYTES)
            if not chunk:
                break
            copied += sink.write(chunk)
    if copied != member.size_bytes:
        with _damage(repr(member.name)):
            raise EOFError


def _is_skipped(entry: zipfile.ZipInfo) -> bool:
    *folders, name = entry.filename.split("/")
    return entry.is_dir() or name in _JUNK_FILES or name.startswith("._") or not _JUNK_FOLDERS.isdisjoint(folders)


def _check(archive: zipfile.ZipFile, path: Path) -> None:
    entries = archive.infolist()
    with _damage(str(path)):
        if _declared_count(path) not in (len(entries) & 0xFFFF, 0xFFFF):
            raise zipfile.BadZipFile
        if any(entry.header_offset < 0 for entry in entries):
            raise zipfile.BadZipFile
    if len(entries) > MAX_MEMBERS:
        raise _refused(f"at most {MAX_MEMBERS:,} files", f"{len(entries):,}")
    seen: set[str] = set()
    total = 0
    for entry in entries:
        _check_entry(entry)
        if entry.filename in seen:
            raise _refused("each name once", f"{entry.filename!r} twice")
        seen.add(entry.filename)
        total += entry.file_size
    if total > MAX_TOTAL_BYTES:
        raise _refused(f"at most {MAX_TOTAL_BYTES:,} bytes of files", f"{total:,}")
    if total > max(_RATIO_MATTERS_BYTES, MAX_RATIO * path.stat().st_size):
        raise _refused(f"files of at most {MAX_RATIO} times its own size", f"{total:,} bytes of files in {path}")
    if all(_is_skipped(entry) for entry in entries):
        raise errors.SourceError("The archive must hold files.", received=f"none in {path}", todo="check the archive")


def _declared_count(path: Path) -> int:
    """How many entries the end record announces, modulo 65,536; `zipfile` does not compare. 65,535 may mean more."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 22 - 0xFFFF))  # its size, and that of the longest comment after it
        tail = file.read()
    return int(struct.unpack_from("<H", tail, tail.rfind(b"PK\x05\x06") + 10)[0])


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = name.removesuffix("/").split("/")
    if (
        "\0" in entry.orig_filename
        or "\\" in name
        or re.match("[A-Za-z]:", name)
        or not {"", ".", ".."}.isdisjoint(parts)
    ):
        raise _refused("names that are plain relative paths with '/'", repr(entry.orig_filename))
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if entry.create_system == 3 and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused("plain files, no links", f"{name!r} of mode {kind:o}")
    if entry.flag_bits & 0x1:
        raise _refused("files without a password", f"{name!r}, which is encrypted")
    if entry.compress_type not in _METHODS:
        raise _refused("files packed by deflate, bzip2, lzma or stored", f"{name!r} by method {entry.compress_type}")
    if entry.file_size > MAX_MEMBER_BYTES:
        raise _refused(f"files of at most {MAX_MEMBER_BYTES:,} bytes", f"{name!r} of {entry.file_size:,}")


def _refused(must_hold: str, received: str) -> errors.SourceError:
    return errors.SourceError(
        f"The archive must hold {must_hold}.", received=received, todo="zip the folder of images anew, as plain files"
    )


@contextlib.contextmanager
def _damage(what: str) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise DamagedArchive(
            "The archive must be a whole zip file.",
            received=f"{what}, damaged or cut short ({type(error).__name__})",
            todo=_FIX,
        ) from None
