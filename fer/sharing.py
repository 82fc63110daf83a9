"""Reports in the object store, for people who are not on the machine of the run.

    reports/<name>/<part>/<file>        as in the folder of the part; the same name is shared once

Links to the pages are signed, for a week: whoever has one can read that page, and nothing else.
"""

import concurrent.futures
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fer import objectstore

LINKS_VALID_S = 7 * 86_400  # the longest that S3 allows
_DONE = "shared"
_WRITERS = 8


class Page(NamedTuple):
    """A page in the store: the part that it belongs to, its name there, and its signed link."""

    part: str
    name: str
    link: str


class _File(NamedTuple):
    part: str
    name: str  # below the part
    path: Path


def share(store: objectstore.ObjectStore, name: str, parts: Mapping[str, Path]) -> tuple[Page, ...]:
    """Upload each part (name -> folder) below `name`, unless it is there, and sign links to its HTML pages.

    Raises StoreError.
    """
    top = f"reports/{name}"
    files = [
        _File(part, path.relative_to(folder).as_posix(), path)
        for part, folder in parts.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("_")
    ]

    def upload(file: _File) -> None:
        store.upload_file(f"{top}/{file.part}/{file.name}", file.path, _content_type(file.path))

    if store.get(f"{top}/{_DONE}") is None:
        with concurrent.futures.ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(upload, files))
        store.put(f"{top}/{_DONE}", b"")  # last: what is cut short is shared again
    return tuple(
        Page(file.part, file.name, store.link(f"{top}/{file.part}/{file.name}", LINKS_VALID_S))
        for file in files
        if file.path.suffix == ".html"
    )


def _content_type(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
