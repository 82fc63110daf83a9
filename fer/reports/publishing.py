"""Reports in the object store, for people who are not on the machine of the run.

    reports/<name>/<digest>/<part>/<file>       as in the folder of the part

The digest is of the files' names and contents: pages that change are shared beside the former ones. `fer report` brings
them to whoever has the store's key; links are not signed, as S3 lets them live for a week at most.
"""

import concurrent.futures
import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fer.engine import disk
from fer.engine.store import objectstore

_DIGEST_CHARS = 16
_WRITERS = 8


class _File(NamedTuple):
    part: str
    name: str  # below the part
    path: Path

    @property
    def place(self) -> str:
        return f"{self.part}/{self.name}"


def share(store: objectstore.ObjectStore, name: str, parts: Mapping[str, Path]) -> str:
    """Upload each part (name -> folder) below `name`; the key below which it all is.

    Files that are there already are not sent again. Raises StoreError.
    """
    files = [
        _File(part, path.relative_to(folder).as_posix(), path)
        for part, folder in parts.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("_")
    ]
    top = f"reports/{name}/{_digest(files)}"
    present = {listed.key for listed in store.list(f"{top}/")}

    def upload(file: _File) -> None:
        store.upload_file(f"{top}/{file.place}", file.path, _content_type(file.path))

    with concurrent.futures.ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(upload, [file for file in files if f"{top}/{file.place}" not in present]))
    return top


def digest(folder: Path) -> str:
    """The digest of what lies in `folder` as it lies below a shared key: a folder for each part."""
    files = []
    for path in folder.rglob("*"):
        part, _, name = path.relative_to(folder).as_posix().partition("/")
        if path.is_file():
            files.append(_File(part, name, path))
    return _digest(files)


def _digest(files: list[_File]) -> str:
    lines = sorted(f"{file.place}\0{disk.sha256(file.path)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_DIGEST_CHARS]


def _content_type(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
