"""How much of this machine's disk each part of an installation takes."""

import os
import shutil
from collections import Counter
from pathlib import Path

from fer.reports.overview.document import Disk, DiskUse
from fer.settings import Settings


def measure(settings: Settings) -> Disk:
    """The folders in FER_HOME, and in the workspace those of each stage; files with several names count once.

    Files that others remove meanwhile are left out.
    """
    home, workspace = settings.home, settings.workspace_folder
    seen: set[tuple[int, int]] = set()
    sizes: Counter[str] = Counter()
    for path in _folders(workspace):
        sizes[f"workspace/{path.name}"] += _size(path, seen)
    for path in _folders(home):
        if path != workspace:
            sizes[path.name] += _size(path, seen)
    free = shutil.disk_usage(next(path for path in [home, *home.parents] if path.exists()))
    return Disk(
        folder=str(home),
        free_bytes=free.free,
        total_bytes=free.total,
        budget_bytes=settings.disk_budget_bytes,
        parts=tuple(DiskUse(part=part, size_bytes=size) for part, size in sizes.most_common() if size),
    )


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []


def _size(folder: Path, seen: set[tuple[int, int]]) -> int:
    """Bytes on the disk of the files in it that are not in `seen`, device and inode, to which they are added."""
    total, left = 0, [os.fspath(folder)]
    while left:
        try:
            entries = list(os.scandir(left.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                    continue
                stat = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                total += stat.st_blocks * 512
    return total
