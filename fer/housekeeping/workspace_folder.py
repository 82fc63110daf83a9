"""What lies in a workspace's folder on this machine, and how it is removed from there.

    .gone/<ID>/              an output, or a file, that is being removed

Each is renamed to `.gone` first, so that a kill leaves whole outputs only, and looked at again then: one that came into
use meanwhile is put back (`fer.engine.usage`).
"""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from fer.engine import outputs, usage
from fer.engine.local_workspace import ABANDONED_AFTER_S, SCRATCH_ABANDONED_AFTER_S, LocalWorkspace
from fer.housekeeping.liveness import Item

PARTIAL, AGAIN, DAMAGED, GONE = ".partial", ".again", ".damaged", ".gone"
_EARLIER = frozenset({"previous", "baseline", "anchor"})  # inputs that are of earlier data
_MARKS_STAY_S = 86_400.0  # without an output


class WorkspaceFolder:
    """The folder `root`."""

    def __init__(self, root: Path):
        self.root = root

    def items(self) -> list[Item]:
        """Committed outputs, unfinished and damaged ones, and what an earlier removal did not finish."""
        found = [self._output(folder) for folder in self._folders(self.root)]
        found += [_unfinished(folder, kind) for kind in (PARTIAL, AGAIN) for folder in self._folders(self.root / kind)]
        found += [self._damaged(folder) for folder in self._folders(self.root / DAMAGED, hidden=True)]
        found += [_leftover(folder, GONE, 0.0) for folder in (self.root / GONE).glob("*")]
        return found

    def remove(self, item: Item) -> bool:
        """Remove what `items` told of; False if it came into use since, and stays."""
        path = self.root / item.name
        if item.kind in (GONE, DAMAGED):
            erase(path)
            return True
        stage, key = path.parts[-2:]
        try:
            locked = f"again-{stage}" if item.kind == AGAIN else stage
            with LocalWorkspace(self.root).locked(locked, key, timeout_s=0):
                aside = self._taken_away(item, path, stage, key)
        except filelock.Timeout:
            return False
        if aside is None:
            return False
        erase(aside)
        return True

    def finish(self) -> None:
        """Remove the marks and locks of outputs that are no more."""
        old = time.time() - _MARKS_STAY_S
        for mark in (self.root / usage.MARKS).glob("*/*"):
            stage, key = mark.parts[-2:]
            if not (self.root / stage / key).is_dir() and usage.last_use(self.root, stage, key) < old:
                usage.forget(self.root, stage, key)
        outputs_here = [*self._folders(self.root), *self._folders(self.root / PARTIAL)]
        locks = {f"{folder.parent.name}-{folder.name}.lock" for folder in outputs_here}
        for path in (self.root / ".locks").glob("*.lock"):
            if path.name not in locks and path.stat().st_mtime < old:
                with contextlib.suppress(filelock.Timeout), filelock.FileLock(path, timeout=0):
                    path.unlink(missing_ok=True)  # who waits for it takes another

    def faults(self, item: Item) -> list[str]:
        """What of an output is not as it was committed; all of it is read."""
        folder = self.root / item.name
        record = outputs.read_record(folder) if folder.is_dir() else None
        if record is None:
            return [f"{folder} is not there, or has no record"]
        return [f"{folder}: {difference.sentence()}" for difference in outputs.differences(folder, record)]

    def _taken_away(self, item: Item, path: Path, stage: str, key: str) -> Path | None:
        """Where it is now; None if it came into use, and is where it was."""
        if self._used(item, path, stage, key) > item.last_used:
            return None
        aside = self.root / GONE / uuid.uuid4().hex
        aside.parent.mkdir(exist_ok=True)
        try:
            path.rename(aside)
        except FileNotFoundError:
            return None
        if self._used(item, aside, stage, key) > item.last_used:
            aside.rename(path)
            return None
        usage.forget(self.root, stage, key)
        return aside

    def _used(self, item: Item, path: Path, stage: str, key: str) -> float:
        if item.kind in (PARTIAL, AGAIN):
            return last_change(path)
        return max(usage.last_use(self.root, stage, key), _committed(path))

    def _output(self, folder: Path) -> Item:
        stage, key = folder.parts[-2:]
        record = outputs.read_record(folder)
        ref = record.ref if record is not None else {}
        made_from = record.parts.refs() if record is not None and record.parts is not None else {}
        earlier = {path for name, path in made_from.items() if not _EARLIER.isdisjoint(name.split("."))}
        return Item(
            name=f"{stage}/{key}",
            kind=stage,
            last_used=max(usage.last_use(self.root, stage, key), _committed(folder)),
            blobs=blobs(folder),
            known_as=frozenset({f"{stage}/{key}", *([str(ref["digest"])] if ref.get("digest") else [])}),
            refers_to=frozenset({*paths_in(list(ref.values())), *made_from.values()} - earlier),
            compared_with=frozenset(earlier),
        )

    def _damaged(self, folder: Path) -> Item:
        """It is what its output was, unless that was made again: without it that would count as never made."""
        stage, key = folder.parts[-2:]
        was = frozenset() if (self.root / stage / key).is_dir() else frozenset({f"{stage}/{key}"})
        return _leftover(folder, DAMAGED, None, was)

    def _folders(self, top: Path, *, hidden: bool = False) -> Iterator[Path]:
        """`<stage>/<key>/` below `top`."""
        for stage in sorted(top.glob("*")):
            if hidden or not stage.name.startswith("."):
                yield from (folder for folder in sorted(stage.glob("*")) if folder.is_dir())


def paths_in(document: Any) -> Iterator[str]:
    """The paths, STAGE/KEY, of all Refs in a document of JSON, at any depth."""
    if isinstance(document, Mapping):
        path = document.get("path")
        if isinstance(path, str) and path.count("/") == 1 and document.get("digest"):
            yield path
        document = list(document.values())
    if isinstance(document, list):
        for value in document:
            yield from paths_in(value)


def _unfinished(folder: Path, kind: str) -> Item:
    has_scratch = bool(_stats(folder / outputs.SCRATCH))
    return _leftover(folder, kind, SCRATCH_ABANDONED_AFTER_S if has_scratch else ABANDONED_AFTER_S)


def _leftover(path: Path, kind: str, stays_s: float | None, known_as: frozenset[str] = frozenset()) -> Item:
    name = f"{kind}/{path.name}" if kind == GONE else f"{kind}/{path.parent.name}/{path.name}"
    return Item(name, kind, last_change(path), blobs(path), known_as, stays_s=stays_s)


def _committed(folder: Path) -> float:
    """When an output was committed (seconds since 1970)."""
    for path in (folder / outputs.RECORD, folder):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_mtime
    return 0.0


def last_change(path: Path) -> float:
    """The time of the newest file in it, or of itself where it has none (seconds since 1970); 0 if it is gone."""
    times = [stat.st_mtime for stat in _stats(path)]
    with contextlib.suppress(FileNotFoundError):
        return max(times) if times else path.stat().st_mtime
    return 0.0


def blobs(path: Path) -> dict[str, int]:
    """A file, or those of a folder, by their inodes -> bytes: a file with two names takes the room of one."""
    return {f"{stat.st_dev}:{stat.st_ino}": stat.st_size for stat in _stats(path)}


def erase(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _stats(path: Path) -> list[os.stat_result]:
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    found = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile
            found.append(file.stat())
    return found
