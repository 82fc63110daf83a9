"""What lies in FER_HOME beside the workspace and the store: fetched models, pages for people, logs.

models/NAME/VERSION/           a release's files, fetched by `fer predict`
reports/NAME/VERSION/          a release's pages; also of data, sweeps, comparisons, audits
faces/NAME/VERSION.html        pages with faces, which are on no other machine
reproductions/NAME-VERSION-ID/ releases made again, kept or left by a kill
logs/                          of what runs in the background
"""

import uuid
from pathlib import Path

from fer.housekeeping.liveness import Item
from fer.housekeeping.workspace_folder import blobs, erase, last_change

MODELS, REPORTS = "fetched models", "reports"
_LEVELS = {
    MODELS: "models/*/*",
    REPORTS: "reports/*/*",
    "pages with faces": "faces/*/*",
    "logs": "logs/*",
    "releases made again": "reproductions/*",
}
_GONE = ".gone-"


class Home:
    """The folder FER_HOME."""

    def __init__(self, root: Path):
        self.root = root

    def items(self) -> list[Item]:
        """All of it, by the names of their places below the folder."""
        return [self._item(kind, path) for kind, pattern in _LEVELS.items() for path in sorted(self.root.glob(pattern))]

    def remove(self, item: Item) -> bool:
        """Remove what `items` told of; False if it came into use since, and stays."""
        path = self.root / item.name
        aside = path.with_name(f"{_GONE}{uuid.uuid4().hex}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        if _last_use(aside) > item.last_used and not path.exists():
            aside.rename(path)
            return False
        erase(aside)
        return True

    def _item(self, kind: str, path: Path) -> Item:
        name = path.relative_to(self.root).as_posix()
        known_as = {name}
        if kind in (MODELS, REPORTS) and path.name.isdecimal():
            known_as.add(release_name(path.parent.name, int(path.name)))
        stays_s = 0.0 if path.name.startswith(_GONE) else None
        return Item(name, kind, _last_use(path), blobs(path), frozenset(known_as), stays_s=stays_s)


def release_name(name: str, version: int) -> str:
    """What a release is called where others refer to it."""
    return f"{name}@{version}"


def _last_use(path: Path) -> float:
    """When it was written or fetched last, or, of a folder, touched by who uses it (seconds since 1970)."""
    return max(last_change(path), path.stat().st_mtime if path.exists() else 0.0)
