"""A folder of this machine as a data set: known by what is in it, packed into a zip of the same bytes each time.

Links are only followed into one folder that the user names, such as the cache of DVC or git-annex, and refused without
one: what they lead to is not in the source, and can be anything.
"""

import contextlib
import dataclasses
import errno
import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from fer import errors, limits, plain_text
from fer.engine import disk
from fer.ingest import archives, leftovers
from fer.progress import Progress, silent

_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class _File:
    """A file in the folder: its name with `/` between folders; `path` is where it is in fact, if a link leads to it."""

    name: str
    path: Path
    size_bytes: int
    is_linked: bool = False


@dataclasses.dataclass(frozen=True)
class _Place:
    """A folder to be listed: `prefix` goes before the names in it; `above` are the real folders on the way to it."""

    folder: Path
    prefix: str
    above: tuple[str, ...]


def digest(folder: Path, links_into: Path | None = None) -> str:
    """SHA-256 (hex) over the names of the folder's files, sorted, and the SHA-256 of each.

    Raises SourceError for a folder without files, for links that lead elsewhere than into `links_into`, for devices,
    pipes and names that no archive may hold, for more or larger files than an archive may have, and where a file can't
    be read or changes.
    """
    files, _ = _files(folder, links_into)
    return archives.content_digest((file.name, _sha256(file, folder)) for file in files)


def pack(
    folder: Path, out: Path, expected: str, progress: Progress = silent, *, links_into: Path | None = None
) -> dict[str, int]:
    """Write the folder's files to a zip `out`: sorted, stored, with one date. `out` appears when it is whole.

    Returns `leftovers.counted` of what is left out.
    Raises SourceError as `digest` does, and where that is not `expected` any more.
    """
    with disk.replacing(out) as staging:
        files, left_out = _files(folder, links_into)
        copied: list[tuple[str, str]] = []
        with zipfile.ZipFile(staging, "w", zipfile.ZIP_STORED) as target:
            for n, file in enumerate(files):
                copied.append((file.name, _copy(file, folder, target)))
                if n % 1000 == 0:
                    progress(n, len(files), "files packed")
        if archives.content_digest(copied) != expected:
            raise _changed(f"other files in {folder} than a moment before")
    progress(len(files), len(files), "files packed")
    return leftovers.counted(left_out)


def _files(folder: Path, links_into: Path | None) -> tuple[list[_File], list[str]]:
    """The folder's files, sorted, and the paths of leftovers (see `leftovers.within`)."""
    left_out: list[str] = []
    files = sorted(_walk(folder, links_into, left_out), key=lambda file: file.name)
    total = sum(file.size_bytes for file in files)
    if not files:
        hidden = f" but hidden ones, e.g. {plain_text.quoted(min(left_out))}" if left_out else ""
        received = f"none in {folder}{hidden}"
        raise errors.SourceError("The folder must hold files.", received=received, todo="check the path")
    current = limits.current()
    divide = "divide it into several sources"
    if len(files) > current.archive_files:
        todo = f"{divide}; or {limits.to_raise('archive_files')}"
        raise _refused(f"at most {current.archive_files:,} files", f"{len(files):,} in {folder}", todo)
    if total > current.archive_bytes:
        todo = f"{divide}; or {limits.to_raise('archive_bytes')}"
        raise _refused(f"at most {current.archive_bytes:,} bytes", f"{total:,} in {folder}", todo)
    return files, left_out


def _walk(folder: Path, links_into: Path | None, left_out: list[str]) -> Iterator[_File]:
    """The folder's files; the paths of leftovers are added to `left_out`."""
    waiting = [_Place(folder, "", (os.path.realpath(folder),))]
    try:
        while waiting:
            place = waiting.pop()
            with os.scandir(place.folder) as entries:
                for entry in entries:
                    name = place.prefix + entry.name
                    status = entry.stat(follow_symlinks=False)
                    is_linked = stat.S_ISLNK(status.st_mode)
                    path = Path(entry.path)
                    if is_linked and not leftovers.within(name):
                        path = _target(path, name, links_into)
                        status = path.lstat()
                    if stat.S_ISDIR(status.st_mode):
                        if leftovers.is_folder(entry.name):
                            left_out.append(name + "/")
                        else:
                            waiting.append(_below(place, path, name, is_linked=is_linked))
                    elif leftovers.is_file(entry.name):
                        left_out.append(name)
                    else:
                        yield _checked(_File(name, path, status.st_size, is_linked), status)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _changed(f"{error.filename!r}, gone a moment later") from None
    except PermissionError as error:
        raise errors.SourceError(
            "The folder must be readable.",
            received=f"'{error.strerror}' at {error.filename!r}",
            todo="change its permissions",
        ) from None


def _target(link: Path, name: str, links_into: Path | None) -> Path:
    """Where a link leads in the end. Raises SourceError unless that is a place in the folder `links_into`."""
    shown = f"{plain_text.quoted(name)}, a link to {plain_text.quoted(str(link.readlink()))}"
    if links_into is None:
        raise _refused(
            "plain files, no links",
            shown,
            "allow links into the one folder that they lead to, by FER_LINKS_INTO=/PATH/OF/THAT/FOLDER, or copy the "
            "folder with what is meant in their place, by `cp -rL`",
        )
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        raise _refused("links to files that are there", shown, "fetch the file, or remove the link") from None
    if not target.is_relative_to(links_into):
        raise _refused(f"no links but into {links_into} (FER_LINKS_INTO)", shown, "put what is meant in its place")
    return target


def _below(place: _Place, path: Path, name: str, *, is_linked: bool) -> _Place:
    """The folder `path` in `place`, to be listed. Raises SourceError if a link leads back to a folder on the way."""
    real = str(path) if is_linked else f"{place.above[-1]}/{path.name}"
    if is_linked and real in place.above:
        raise _refused("no links in a circle", plain_text.quoted(name), "remove the link")
    return _Place(path, name + "/", (*place.above, real))


def _checked(file: _File, status: os.stat_result) -> _File:
    if not stat.S_ISREG(status.st_mode):
        raise _refused("plain files", f"{file.name!r}, neither a file nor a folder", "move it elsewhere")
    try:
        file.name.encode()
        is_plain = not ("\\" in file.name or re.match("[A-Za-z]:", file.name))
    except UnicodeEncodeError:
        is_plain = False
    if not is_plain:
        raise _refused(
            "names in UTF-8 without '\\' or a drive's letter",
            plain_text.quoted(file.name),
            "rename it; names of other encodings all at once, e.g. by `convmv -r --notest -f gbk -t utf8 FOLDER`",
        )
    if plain_text.UNPRINTABLE.search(file.name):
        raise _refused("names that can be printed", plain_text.quoted(file.name), "rename it")
    if len(file.name) > archives.MAX_NAME_CHARS:
        raise _refused(
            f"names of at most {archives.MAX_NAME_CHARS:,} characters",
            f"{plain_text.quoted(file.name)} of {len(file.name):,}",
            "rename it or the folders above it",
        )
    if file.size_bytes > limits.current().file_bytes:
        raise _refused(
            f"files of at most {limits.current().file_bytes:,} bytes",
            f"{file.name!r} of {file.size_bytes:,}",
            "move it elsewhere if it is no image",
        )
    return file


@contextlib.contextmanager
def _opened(file: _File, folder: Path) -> Iterator[io.BufferedReader]:
    # A link or pipe may have come into its place since it was listed: O_NONBLOCK does not wait for a pipe's writer.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(file.path, flags), "rb") as data:
            if not stat.S_ISREG(os.fstat(data.fileno()).st_mode):
                raise _changed(f"{file.name!r}, which is no file any more")
            if file.is_linked and os.path.realpath(f"/proc/self/fd/{data.fileno()}") != str(file.path):
                raise _changed(f"{file.name!r}, which leads elsewhere now")
            yield data
    except (FileNotFoundError, NotADirectoryError):
        raise _changed(f"{file.name!r}, gone from {folder} a moment later") from None
    except PermissionError as error:
        raise errors.SourceError(
            "The folder's files must be readable.",
            received=f"'{error.strerror}' at {file.path}",
            todo="change its permissions",
        ) from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _changed(f"{file.name!r}, which is a link now") from None


def _sha256(file: _File, folder: Path) -> str:
    with _opened(file, folder) as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _copy(file: _File, folder: Path, target: zipfile.ZipFile) -> str:
    """Add the file to the zip; SHA-256 (hex) of what was copied."""
    entry = archives.plain_entry(file.name, file.size_bytes)
    copied = hashlib.sha256()
    n_left = file.size_bytes
    with _opened(file, folder) as data, target.open(entry, "w") as sink:
        while chunk := data.read(_CHUNK_BYTES):
            n_left -= len(chunk)
            if n_left < 0:  # it grows, and zipfile was told its size
                raise _changed(f"{file.name!r}, which grew")
            sink.write(chunk)
            copied.update(chunk)
    return copied.hexdigest()


def _changed(received: str) -> errors.SourceError:
    return errors.SourceError(
        "The folder must not change while it is read.",
        received=received,
        todo="run the same command again once nothing writes to it",
    )


def _refused(must_hold: str, received: str, todo: str) -> errors.SourceError:
    return errors.SourceError(f"The folder must hold {must_hold}.", received=received, todo=todo)
