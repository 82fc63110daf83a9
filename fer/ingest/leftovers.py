"""Hidden files and folders, and those that systems leave about: never looked at, and no part of a source's identity."""

from collections import Counter
from collections.abc import Iterable
from itertools import accumulate

_FOLDERS = frozenset(
    (
        "__macosx", "__pycache__", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot",
        "$recycle.bin", "recycler", "system volume information", "lost+found",
    )
)  # fmt: skip
_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"))  # rewritten whenever somebody looks


def is_folder(name: str) -> bool:
    """Whether a folder of this name, without those above it, is hidden or a system's own."""
    return name.startswith(".") or name.lower() in _FOLDERS


def is_file(name: str) -> bool:
    """Whether a file of this name, without its folders, is hidden or one that a system leaves about."""
    return name.startswith(".") or name.lower() in _FILES


def within(path: str) -> str | None:
    """The part of a file's path down to its first leftover, a folder's with a slash at its end; None if it has none."""
    *folders, _ = accumulate(path.split("/"), "{}/{}".format)
    first = next((folder for folder in folders if is_folder(folder.rpartition("/")[2])), None)
    if first is not None:
        return first + "/"
    return path if is_file(path.rpartition("/")[2]) else None


def counted(paths: Iterable[str]) -> dict[str, int]:
    """How many leftovers (see `within`) there are, by kind; a folder with all that is in it counts once."""
    kinds: Counter[str] = Counter()
    for path in set(paths):
        name = path.removesuffix("/").rpartition("/")[2]
        if path.endswith("/"):
            kinds[f"hidden or system folder ({name})"] += 1
        else:
            kinds["hidden file" if name.startswith(".") else f"system file ({name.strip()})"] += 1
    return dict(kinds)
