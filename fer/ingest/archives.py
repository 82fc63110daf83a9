"""Zip archives from elsewhere, read without trust, and never unpacked to the file system.

Anything but an archive of plain files is refused before its first byte is decompressed; every file that is read is
checked against the archive's CRC-32 and size. Names that differ in case or in their Unicode form are two names:
nothing is unpacked to a file system that would take them for one. Names not marked as UTF-8 are read as
`text_encodings` tells. An archive within the archive is a file like any other.
"""

import contextlib
import dataclasses
import errno
import hashlib
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from fer import errors, limits, plain_text
from fer.engine import disk
from fer.ingest import leftovers, other_archives
from fer.ingest.naming import text_encodings
from fer.progress import Progress, silent

DATASET = "dataset.zip"  # the name of the archive that `download` leaves and `index` reads

_RATIO_MATTERS_BYTES = 64 * 2**20  # below this even a bomb does no harm
MAX_NAME_CHARS = 1_024

# Not bzip2 and lzma, which `zipfile` decompresses without a limit: 277 bytes of bzip2 become 200 MB at one go.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_AES = 99  # in place of the method, where WinZip encrypts
_CHUNK_BYTES = 1 << 20
# What `zipfile` raises for damaged bytes; also an OSError with EINVAL, from a wrong offset.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, ValueError)
_FIX = "get the archive again, or zip the folder of images anew"


class DamagedArchive(errors.SourceError):
    """Not a whole zip: cut short, changed on its way, or no zip at all. Fetched again, it may be whole."""


@dataclasses.dataclass(frozen=True)
class Member:
    """A file in an archive: its name with `/` between folders, and its size once decompressed."""

    name: str
    size_bytes: int


def content_digest(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 (hex) over the names of files, in the order given, and the SHA-256 (hex) of each."""
    whole = hashlib.sha256()
    for name, sha256 in files:
        whole.update(f"{name}\0{sha256}\n".encode())
    return whole.hexdigest()


def require_zip(path: Path) -> None:
    """Raise SourceError unless `path` is a file that begins like a zip. Cheap: reads its first bytes."""
    try:
        if path.is_dir():
            raise errors.SourceError(
                "The archive must be a zip file.", received=f"the folder {path}", todo="zip it and give the zip's path"
            )
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise errors.SourceError(
                "The archive must be a zip file.", received=f"a pipe or device, {path}", todo="give a file's path"
            )
        with path.open("rb") as file:
            start = file.read(other_archives.START_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise errors.SourceError(
            "The archive must exist and be readable.", received=f"'{reason}' at {path}", todo="check the path"
        ) from None
    if start[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        if other := other_archives.look(path, start):
            raise errors.SourceError(
                "The archive must be a zip file.", received=f"{other.kind} at {path}", todo=other.todo
            )
        what = "an empty file" if not start else f"a file that begins with {start[:4]!r}"
        raise DamagedArchive("The archive must be a zip file.", received=f"{what} at {path}", todo=_FIX)


class SafeZip(zipfile.ZipFile):
    """A zip from `open_safe`. `text_encoding` is that of its tables that are not in UTF-8, if the user says it."""

    text_encoding: str | None = None


def members(path: Path) -> list[Member]:
    """The files in the zip `path`, sorted by name, without folders and what `leftovers` are.

    Raises SourceError where the archive is not fit to be read: see `open_safe`.
    """
    with open_safe(path) as archive:
        return list_members(archive)


@contextlib.contextmanager
def open_safe(path: Path, text_encoding: str | None = None) -> Iterator[SafeZip]:
    """Open the zip `path` for `list_members` and `read`, once all entries of its directory have passed the checks.

    `text_encoding` is that of names and tables that are not in UTF-8, where it can't be told.
    Raises SourceError for no zip (DamagedArchive), one of several parts, no file in it, encryption, links, folders with
    content, names that are absolute, lead upwards, occur twice or can't be printed, entries that overlap, and for more
    than the limits above.
    """
    require_zip(path)
    try:
        with damage(str(path)):
            n_entries = _declared_count(path)
            try:
                archive = SafeZip(path)
            except UnicodeDecodeError:
                raise _refused("names in UTF-8 where it says so", f"a name of other bytes in {path}") from None
    except DamagedArchive:
        if part := other_archives.part_of(path):
            raise errors.SourceError(
                "The archive must be one file.", received=f"{part.kind} at {path}", todo=part.todo
            ) from None
        raise
    with archive:
        archive.text_encoding = text_encoding
        _read_names(archive)
        _check(archive, path, n_entries)
        yield archive


def _read_names(archive: SafeZip) -> None:
    """Give the entries their names as meant, also by Windows PowerShell 5.1, which writes backslashes alone."""
    names = text_encodings.names_in_zip(archive.infolist(), archive.text_encoding)
    if not any("/" in name for name in names):
        names = [name.replace("\\", "/") for name in names]
    for entry, name in zip(archive.infolist(), names, strict=True):
        entry.filename = name
    archive.NameToInfo = {entry.filename: entry for entry in archive.infolist()}


def list_members(archive: zipfile.ZipFile) -> list[Member]:
    """The files in an archive from `open_safe`, sorted by name."""
    files = (Member(entry.filename, entry.file_size) for entry in archive.infolist() if not _is_skipped(entry))
    return sorted(files, key=lambda member: member.name)


def read(archive: zipfile.ZipFile, member: Member) -> bytes:
    """The bytes of `member`, never more than its declared size. Raises DamagedArchive if size or CRC-32 differ."""
    with damage(repr(member.name)):
        with archive.open(member.name) as file:
            data = file.read(member.size_bytes + 1)
        if len(data) != member.size_bytes:
            raise EOFError
    return data


def read_start(archive: zipfile.ZipFile, member: Member, n_bytes: int) -> bytes:
    """Up to `n_bytes` from the start of `member`, which are not checked against its CRC-32. Raises DamagedArchive."""
    return b"".join(read_chunks(archive, member, n_bytes))


def read_chunks(archive: zipfile.ZipFile, member: Member, n_bytes: int) -> Iterator[bytes]:
    """Up to `n_bytes` from the start of `member`, a MiB at a time. Raises DamagedArchive."""
    with damage(repr(member.name)), archive.open(member.name) as file:
        while n_bytes > 0 and (chunk := file.read(min(_CHUNK_BYTES, n_bytes))):
            n_bytes -= len(chunk)
            yield chunk


def digest(path: Path, text_encoding: str | None = None) -> str:
    """`content_digest` of the files in the zip `path`, sorted by name. Raises SourceError as `open_safe` and `read`."""
    with open_safe(path, text_encoding) as archive:
        return content_digest((member.name, _sha256(archive, member)) for member in list_members(archive))


def repack(
    path: Path,
    out: Path,
    progress: Progress = silent,
    *,
    expected: str | None = None,
    text_encoding: str | None = None,
) -> dict[str, int]:
    """Write the files of the zip `path` to a new zip `out`, sorted, stored, with one date.

    So the same files give the same bytes, however the source was packed, and later reads decompress nothing. `out`
    appears when it is whole. Returns `leftovers.counted` of what is left out.
    Raises SourceError as `open_safe` and `read` do, and where `digest` is not `expected`.
    """
    with disk.replacing(out, sync=True) as staging:
        with open_safe(path, text_encoding) as archive, zipfile.ZipFile(staging, "w", zipfile.ZIP_STORED) as target:
            to_copy, left_out = list_members(archive), _leftovers(archive)
            copied: list[tuple[str, str]] = []
            for n, member in enumerate(to_copy):
                copied.append((member.name, _copy(archive, member, target)))
                if n % 1000 == 0:
                    progress(n, len(to_copy), "files checked")
        if expected not in (None, content_digest(copied)):
            raise errors.SourceError(
                "The archive must not change while it is read.",
                received=f"other files in {path} than a moment before",
                todo="run the same command again once the archive is complete",
            )
    progress(len(to_copy), len(to_copy), "files checked")
    return left_out


def _chunks(archive: zipfile.ZipFile, member: Member) -> Iterator[bytes]:
    """The bytes of `member`, a MiB at a time. Raises DamagedArchive as `read` does."""
    n_read = 0
    for chunk in read_chunks(archive, member, member.size_bytes + 1):
        n_read += len(chunk)
        yield chunk
    with damage(repr(member.name)):
        if n_read != member.size_bytes:
            raise EOFError


def _sha256(archive: zipfile.ZipFile, member: Member) -> str:
    digest_of_member = hashlib.sha256()
    for chunk in _chunks(archive, member):
        digest_of_member.update(chunk)
    return digest_of_member.hexdigest()


def plain_entry(name: str, size_bytes: int) -> zipfile.ZipInfo:
    """A plain file's entry for a zip whose bytes depend on names and contents alone: one date, platform and mode."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, wherever this runs: the platform is part of the bytes
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = size_bytes  # lets zipfile choose the 64-bit form
    return entry


def _copy(archive: zipfile.ZipFile, member: Member, target: zipfile.ZipFile) -> str:
    """Add the file to another zip; SHA-256 (hex) of what was copied."""
    copied = hashlib.sha256()
    with target.open(plain_entry(member.name, member.size_bytes), "w") as sink:
        for chunk in _chunks(archive, member):
            sink.write(chunk)
            copied.update(chunk)
    return copied.hexdigest()


def _leftovers(archive: zipfile.ZipFile) -> dict[str, int]:
    paths = (leftovers.within(entry.filename) for entry in archive.infolist() if not entry.is_dir())
    return leftovers.counted(path for path in paths if path is not None)


def _is_skipped(entry: zipfile.ZipInfo) -> bool:
    return entry.is_dir() or leftovers.within(entry.filename) is not None


def _check(archive: zipfile.ZipFile, path: Path, n_entries: int) -> None:
    entries = archive.infolist()
    with damage(str(path)):
        if n_entries != len(entries) or any(entry.header_offset < 0 for entry in entries):
            raise zipfile.BadZipFile
    seen: set[str] = set()
    total = 0
    for entry in entries:
        _check_entry(entry)
        if entry.filename in seen:
            raise _refused("each name once", f"{entry.filename!r} twice")
        seen.add(entry.filename)
        total += entry.file_size
    _check_no_overlap(entries, archive.start_dir)
    current = limits.current()
    if total > current.archive_bytes:
        received = f"{total:,} in {path}"
        raise _refused(f"at most {current.archive_bytes:,} bytes of files", received, "archive_bytes")
    if total > max(_RATIO_MATTERS_BYTES, current.archive_ratio * path.stat().st_size):
        received = f"{total:,} bytes of files in {path}"
        raise _refused(f"files of at most {current.archive_ratio} times its own size", received, "archive_ratio")
    if all(_is_skipped(entry) for entry in entries):
        raise errors.SourceError(
            "The archive must hold files that are not hidden.", received=f"none in {path}", todo="check the archive"
        )


def _declared_count(path: Path) -> int:
    """How many entries the end record announces, which `zipfile` does not compare (APPNOTE.TXT, 4.3.14 to 4.3.16).

    Raises SourceError for a part of a divided archive and for a directory beyond the limits, which `zipfile` would
    hold in memory, ten times its size.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        # Its size, that of the longest comment after it, and what a large archive has before it.
        file.seek(max(0, size_bytes - 22 - 0xFFFF - 76))
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06", 0, max(0, len(tail) - 18))
        if at < 0:
            raise zipfile.BadZipFile
        disk, first_disk, _, count, directory_bytes = struct.unpack_from("<HHHHI", tail, at + 4)
        large = at >= 76 and tail[at - 20 : at - 16] == b"PK\x06\x07"
        end = at
        if large:
            end = at - 76
            disk, first_disk, _, count, directory_bytes = struct.unpack_from("<IIQQQ", tail, end + 16)
        if disk or first_disk:
            raise errors.SourceError(
                "The archive must be one file.",
                received=f"a part of an archive of {disk + 1:,} parts, {path}",
                todo="join the parts, e.g. by `zip -s 0 PARTS.zip --out WHOLE.zip`",
            )
        most_bytes = limits.current().archive_directory_bytes
        if directory_bytes > most_bytes:
            received = f"{directory_bytes:,} in {path}"
            raise _refused(f"a directory of at most {most_bytes:,} bytes", received, "archive_directory_bytes")
        file.seek(max(0, size_bytes - len(tail) + end - directory_bytes))
        n_entries = file.read(directory_bytes).count(b"PK\x01\x02")  # at most so many, whatever is declared
    most_files = limits.current().archive_files
    if max(count, n_entries) > most_files:
        received = f"{max(count, n_entries):,} in {path}"
        raise _refused(f"at most {most_files:,} files", received, "archive_files")
    return int(count)


def _check_no_overlap(entries: list[zipfile.ZipInfo], directory_at: int) -> None:
    """Refuse files that share bytes: so a few MB hold petabytes (Fifield, "A better zip bomb", WOOT 2019)."""
    in_order = sorted(entries, key=lambda entry: entry.header_offset)
    starts = [entry.header_offset for entry in in_order[1:]] + [directory_at]
    for entry, next_start in zip(in_order, starts, strict=False):  # without entries there is one start
        if entry.header_offset + 30 + len(entry.orig_filename) + entry.compress_size > next_start:
            raise DamagedArchive(
                "The files of an archive must not overlap.",
                received=f"{entry.filename!r}, which reaches into what follows it",
                todo=_FIX,
            )


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = name.removesuffix("/").split("/")
    if (
        "\\" in name
        or re.match("[A-Za-z]:", name)
        or not {"", ".", ".."}.isdisjoint(parts)
        or (plain_text.UNPRINTABLE.search(entry.orig_filename + name) and not _is_skipped(entry))
        or "\0" in entry.orig_filename
    ):
        raise _refused("names that are plain relative paths with '/'", ascii(entry.orig_filename[:MAX_NAME_CHARS]))
    if len(name) > MAX_NAME_CHARS:
        raise _refused(f"names of at most {MAX_NAME_CHARS:,} characters", f"{name[:40]!r}... of {len(name):,}")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused("plain files, no links", f"{name!r} of mode {kind:o}")
    if entry.flag_bits & _ENCRYPTED or entry.compress_type == _AES:
        raise _refused("files without a password", f"{name!r}, which is encrypted")
    if entry.flag_bits & _PATCHED:
        raise _refused("whole files, not what is to be patched", repr(name))
    if entry.is_dir() and entry.file_size:
        raise _refused("folders without a content of their own", f"{name!r} of {entry.file_size:,} bytes")
    if entry.compress_type not in _METHODS:
        raise _refused("files packed by deflate or stored", f"{name!r} by method {entry.compress_type}")
    current = limits.current()
    if entry.file_size > current.file_bytes:
        received = f"{name!r} of {entry.file_size:,}"
        raise _refused(f"files of at most {current.file_bytes:,} bytes", received, "file_bytes")
    if entry.file_size > max(_RATIO_MATTERS_BYTES, current.archive_ratio * entry.compress_size):
        received = f"{name!r} of {entry.file_size:,} bytes in {entry.compress_size:,}, a bomb"
        must_hold = f"files of at most {current.archive_ratio} times their compressed size"
        raise _refused(must_hold, received, "archive_ratio")


_ENCRYPTED = 0x1 | 0x40 | 0x2000  # by password, strongly, and the directory too
_PATCHED = 0x20


def _refused(must_hold: str, received: str, limit: str | None = None) -> errors.SourceError:
    todo = "zip the folder of images anew, as plain files"
    return errors.SourceError(
        f"The archive must hold {must_hold}.",
        received=received,
        todo=todo if limit is None else f"{todo}; or {limits.to_raise(limit)}",
    )


@contextlib.contextmanager
def damage(what: str) -> Iterator[None]:
    """Turn what `zipfile` raises for damaged bytes into DamagedArchive, whose message names `what`."""
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise DamagedArchive(
            "The archive must be a whole zip file.",
            received=f"{what}, damaged or cut short ({type(error).__name__})",
            todo=_FIX,
        ) from None
