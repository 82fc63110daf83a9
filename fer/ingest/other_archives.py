"""Archives that are no zip, and parts of divided ones: told by how they begin or are called, and how to unpack them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

START_BYTES = 264  # a tar says what it is 257 bytes into it

_TAR = "mkdir {folder} && tar -xf {path} -C {folder}"
_ONE_FILE = "mkdir {folder} && {program} -c {path} > {folder}/{name}"
_KINDS = (  # how it begins, what it is, and the command that unpacks it
    (re.compile(rb"\x1f\x8b"), "a gzip", "gunzip"),
    (re.compile(rb"BZh[1-9]"), "a bzip2", "bunzip2"),
    (re.compile(rb"\xfd7zXZ\0"), "an xz", "unxz"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "a Zstandard file", "unzstd"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7z", "7z x {path} -o{folder}"),
    (re.compile(rb"Rar!\x1a\x07"), "a RAR", "mkdir {folder} && unrar x {path} {folder}/"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar", _TAR),
)
_COMPRESSED_FILE = re.compile(r"(?!.*\.tar\.)(.+)\.(gz|bz2|xz|zst)$", re.IGNORECASE)  # no tar by its name
_SUFFIXES = re.compile(r"(\.tar)?\.[a-z0-9]{2,4}$|\.tar$", re.IGNORECASE)
_PART = re.compile(r"(.+)\.[0-9]{3}$")  # faces.zip.001
_PKZIP_PART = re.compile(r"(.+)\.z[0-9]{2,3}$", re.IGNORECASE)  # faces.z01, beside faces.zip


class Unpacking(NamedTuple):
    """What a file is, and what to do so that it can be given as a source."""

    kind: str
    todo: str


def look(path: Path, start: bytes) -> Unpacking | None:
    """How to unpack the file `path` that begins with these START_BYTES; None if it is no archive that is known here."""
    if part := part_of(path):
        return part
    folder = _SUFFIXES.sub("", path.name) or "unpacked"
    if folder == path.name:
        folder += "-unpacked"
    for pattern, kind, command in _KINDS:
        if pattern.match(start):
            one_file = _COMPRESSED_FILE.fullmatch(path.name)
            form = command if " " in command else _ONE_FILE if one_file else _TAR
            shown = form.format(
                path=shlex.quote(str(path)),
                folder=shlex.quote(folder),
                program=command,
                name=shlex.quote(one_file[1]) if one_file else "",
            )
            return Unpacking(kind, f"unpack it, e.g. by `{shown}`, and give folder:{folder}")
    return None


def part_of(path: Path) -> Unpacking | None:
    """How to join the parts of the archive that `path` is a part of by its name; None if it is none."""
    if match := _PART.fullmatch(path.name):
        whole = match[1]
        if whole.lower().endswith((".7z", ".rar")):
            command = f"7z x {shlex.quote(str(path.with_name(f'{whole}.001')))} -ounpacked"
            return Unpacking("a part of a divided archive", f"unpack it, by `{command}`, and give folder:unpacked")
        command = f"cat {shlex.quote(str(path.with_name(whole)))}.[0-9]* > {shlex.quote(f'whole-{whole}')}"
        return Unpacking(
            "a part of a divided archive", f"join the parts, by `{command}`, and give archive:whole-{whole}"
        )
    if match := _PKZIP_PART.fullmatch(path.name):
        command = f"zip -s 0 {shlex.quote(str(path.with_name(f'{match[1]}.zip')))} --out whole.zip"
        return Unpacking("a part of a divided zip", f"join the parts, by `{command}`, and give archive:whole.zip")
    return None
