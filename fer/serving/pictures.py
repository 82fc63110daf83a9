"""The pictures that a command is given: files, folders, patterns, zip archives and standard input, read without trust.

Nothing is unpacked to the disk, and nothing is read beyond the limits of an encoded image.
"""

import glob
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from fer import errors, limits
from fer.images import limits as image_limits

STDIN = "-"
_ZIP = b"PK\x03\x04"
_CHUNK_BYTES = 1 << 20


class Picture(NamedTuple):
    """An encoded picture, or in `error` why it can't be read. `name` is a path, that of a member of an archive behind
    the archive's: album.zip/2026/party.jpg."""

    name: str
    data: bytes
    error: str = ""


class Source(NamedTuple):
    """A file that was named: a picture or an archive of some; `path` None: standard input."""

    path: Path | None


def named(names: Sequence[str]) -> list[Source]:
    """The files that are named, each once: those of a folder with all below it, and those that fit a pattern.

    Raises SourceError unless each name stands for a file, before anything is loaded that takes time.
    """
    sources: dict[Path | None, None] = {}
    for name in names:
        if name == STDIN:
            if sys.stdin.isatty():
                raise errors.SourceError(
                    "For - a picture or a zip archive must come by standard input.",
                    received="a terminal",
                    todo="pipe one in: cat photo.jpg | fer predict -",
                )
            sources[None] = None
            continue
        found = _files(name)
        if not found:
            raise errors.SourceError(
                "Each image must be a file, or a folder or a pattern of some.",
                received=f"no file {name}" if not Path(name).is_dir() else f"no image in the folder {name}",
                todo="download it, and give the file" if "://" in name else "correct the name; nothing was predicted",
            )
        sources |= dict.fromkeys(found)
    return [Source(path) for path in sources]


def read(sources: Sequence[Source]) -> Iterator[Picture]:
    """The pictures of the sources, in their order; an archive's by name. Raises SourceError for an unsafe archive."""
    for source in sources:
        if source.path is None:
            yield from _of_stream(sys.stdin.buffer)
            continue
        try:
            with open(source.path, "rb", opener=_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    yield Picture(str(source.path), b"", "no file but a pipe, a device or a folder")
                    continue
                is_archive = file.read(len(_ZIP)) == _ZIP
                file.seek(0)
                if not is_archive:
                    yield _picture(str(source.path), file)
        except OSError as error:
            yield Picture(str(source.path), b"", error.strerror or str(error))
            continue
        if is_archive:
            yield from _of_archive(source.path, str(source.path))


def is_image(name: str) -> bool:
    """Whether a file in a folder or archive counts as a picture, by its name: hidden ones and thumbnails don't."""
    from fer.ingest import leftovers
    from fer.ingest.layouts import class_folders

    return class_folders.suffix(PurePosixPath(name).name) in class_folders.IMAGE_SUFFIXES and not leftovers.within(name)


def _files(name: str) -> list[Path]:
    """The files that one argument stands for, sorted."""
    path = Path(name)
    if path.is_file():
        return [path]
    if path.is_dir():
        inside = [file for file in path.rglob("*") if file.is_file()]
        return sorted(file for file in inside if is_image(file.relative_to(path).as_posix()))
    matches = glob.glob(name, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(Path(match) for match in matches if Path(match).is_file())


def _picture(name: str, file: BinaryIO) -> Picture:
    limit = image_limits.current().bytes
    data = file.read(limit + 1)
    if len(data) > limit:
        return Picture(name, b"", f"too large to be read: over {limit:,} bytes")
    return Picture(name, data)


def _of_stream(stream: BinaryIO) -> Iterator[Picture]:
    """A picture, or those of an archive, which is kept in a temporary file meanwhile."""
    start = stream.read(len(_ZIP))
    if start != _ZIP:
        limit = image_limits.current().bytes
        rest = stream.read(limit + 1 - len(start))
        data = start + rest
        yield Picture(STDIN, data) if len(data) <= limit else Picture(STDIN, b"", f"too large: over {limit:,} bytes")
        return
    most = limits.current().archive_bytes
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "stdin.zip"
        size_bytes = len(start)
        with path.open("wb") as file:
            file.write(start)
            while chunk := stream.read(_CHUNK_BYTES):
                size_bytes += len(chunk)
                if size_bytes > most:
                    raise errors.SourceError(
                        f"An archive must have at most {most:,} bytes.",
                        received="more by standard input",
                        todo=limits.to_raise("archive_bytes"),
                    )
                file.write(chunk)
        yield from _of_archive(path, STDIN)


def _of_archive(path: Path, name: str) -> Iterator[Picture]:
    """The pictures in a zip. Raises SourceError where it is not fit to be read, or has none."""
    from fer.ingest import archives

    limit = image_limits.current().bytes
    with archives.open_safe(path) as archive:
        members = [member for member in archives.list_members(archive) if is_image(member.name)]
        if not members:
            raise errors.SourceError(
                "An archive must hold images.", received=f"none in {name}", todo="check the archive"
            )
        for member in members:
            member_name = f"{name}/{member.name}"
            if member.size_bytes > limit:
                yield Picture(member_name, b"", f"too large to be read: over {limit:,} bytes")
                continue
            data, error = b"", ""
            try:
                data = archives.read(archive, member)
            except archives.DamagedArchive as damage:
                error = f"damaged in the archive ({damage.received})"
            yield Picture(member_name, data, error)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe would be waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
