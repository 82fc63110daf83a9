"""Lists of the files of each split: `train.txt` with a name a line, or a JSON object of split -> names."""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fer import errors
from fer.ingest import archives
from fer.ingest.layouts import class_folders, file_finder, label_grids, tables
from fer.ingest.naming import split_names

_SUFFIXES = ("", ".txt", ".lst", ".list", ".csv", ".tsv")
_MOST_BYTES = 64 * 2**20
_LEAST_FOUND = 0.8  # share of a list's names that a file has
_FILE, _SPLIT = "file", "split"


def may_be(member: archives.Member) -> bool:
    """Whether the file's name is that of a list of files."""
    return class_folders.suffix(member.name) in _SUFFIXES


def with_lists(
    archive: zipfile.ZipFile,
    members: Sequence[archives.Member],
    grids: Sequence[label_grids.Grid],
    finder: file_finder.FileFinder,
    splits: split_names.SplitNames,
) -> list[label_grids.Grid]:
    """The grids of a source's tables, and those of its lists, which take the place of what else their files may be."""
    lists = list(_lists(archive, members, grids, finder, splits))
    of_lists = {grid.name for grid in lists}
    return [grid for grid in grids if of_lists.isdisjoint(grid.files)] + lists


def _lists(
    archive: zipfile.ZipFile,
    members: Iterable[archives.Member],
    used: Iterable[label_grids.Grid],
    finder: file_finder.FileFinder,
    splits: split_names.SplitNames,
) -> Iterator[label_grids.Grid]:
    """The grids of lists; a text that a table in `used` is read from is none."""
    taken = {name for grid in used for name in grid.files}
    for member in members:
        if not 0 < member.size_bytes <= _MOST_BYTES:
            continue
        suffix = class_folders.suffix(member.name)
        entries: list[tuple[str, str]] = []
        if suffix == ".json":
            entries = _of_json(archives.read(archive, member), splits)
        elif member.name not in taken and may_be(member) and (split := splits.of_table(member.name)) is not None:
            entries = [(name, split) for name in _names(archive, member)]
        names = [name for name, _ in entries]
        folder = member.name.rpartition("/")[0]
        if names and finder.n_found(folder, names) >= _LEAST_FOUND * len(names):
            columns = {_FILE: names, _SPLIT: [split for _, split in entries]}
            numbers = range(1, len(names) + 1)
            yield label_grids.Grid(
                member.name, folder, (member.name,), columns, (_FILE,), split_column=_SPLIT, numbers=numbers
            )


def _names(archive: zipfile.ZipFile, member: archives.Member) -> list[str]:
    try:
        encoding = tables.encoding_of(archive, member) or "utf-8-sig"
    except errors.SourceError:
        return []
    lines = re.split(r"[\r\n]+", archives.read(archive, member).decode(encoding, "replace"))
    names = [line.strip().strip('"') for line in lines if line.strip()]
    return [] if any(len(name) > tables.MAX_CELL_CHARS for name in names) else names


def _of_json(data: bytes, splits: split_names.SplitNames) -> list[tuple[str, str]]:
    """File names and their splits of an object whose keys are names of splits; nothing of any other."""
    try:
        content: Any = json.loads(data)
    except (ValueError, RecursionError):
        return []
    if not isinstance(content, dict) or not all(splits.of(key) and isinstance(content[key], list) for key in content):
        return []
    return [
        (name, splits.of(key) or key)
        for key, names in content.items()
        for name in names
        if isinstance(name, str) and len(name) <= tables.MAX_CELL_CHARS
    ]
