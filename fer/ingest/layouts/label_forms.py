"""Every table of labels in an archive, whichever form it has: see `label_grids` and the modules it is made by."""

import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath

from fer import errors, plain_text
from fer.ingest import archives
from fer.ingest.layouts import (
    class_folders,
    ferplus,
    file_finder,
    json_labels,
    label_grids,
    list_files,
    sidecars,
    tables,
)
from fer.ingest.naming import split_names

_MOST_LISTS = 100  # candidates, the largest first: the rest are not lists of the images but something for each of them
_NO_IMAGES = {*tables.SUFFIXES, *json_labels.SUFFIXES, ".txt", ".lst", ".list", ".npy", ".npz", ".yaml", ".yml", ".xml"}
_WORDS = ("label", "emotion", "expression", "annot", "class", "list", "train", "test", "val", "meta", "data", "split")
_BY_HAND = {
    **dict.fromkeys((".xls", ".xlsx", ".ods", ".numbers"), "save it as CSV"),
    **dict.fromkeys((".pkl", ".pickle", ".mat", ".h5", ".hdf5", ".sqlite", ".db", ".rds", ".arrow"), "write it as CSV"),
}
_OF_DATA = {*json_labels.SUFFIXES, *_BY_HAND, ".npy", ".npz", ".xml", ".tfrecord"}
_OF_TEXT = {"", ".txt", ".lst", ".list", ".dat", ".data"}
_SHOWN_CHARS = 60
_START_BYTES = 512


def finder(members: Sequence[archives.Member], splits: split_names.SplitNames) -> file_finder.FileFinder:
    """What finds those of the files that a table of labels may name."""
    return file_finder.FileFinder(
        [member.name for member in members if class_folders.suffix(member.name) not in _NO_IMAGES], splits
    )


def find(
    archive: zipfile.ZipFile,
    members: Sequence[archives.Member],
    columns: Mapping[archives.Member, Sequence[str]],
    chosen: Mapping[label_grids.Role, str],
    known_labels: Collection[str],
    files: file_finder.FileFinder,
    groups: Sequence[str] = (),
) -> list[label_grids.Grid]:
    """The tables that may label files: those among `columns` (CSV and Parquet), JSON, lists, and a file for each image.

    `groups`: the columns that are read beside those of files, labels, splits and subjects.
    Raises SourceError where one that is of such a form can't be read.
    """
    grids: list[label_grids.Grid] = []
    for table, names in columns.items():
        try:
            grid = label_grids.from_table(archive, table, names, chosen, known_labels, groups)
        except errors.SourceError:
            if label_grids.columns_of(names, "label", chosen) or label_grids.columns_of(names, "split", chosen):
                raise
            continue  # it has a column named like one of files, and says nothing of them
        grids += [] if grid is None else [grid]
    read = {name for grid in grids if grid.label_columns for name in grid.files}
    others = [member for member in members if member.name not in read]
    grids += filter(None, (json_labels.read(archive, member, chosen) for member in others))
    lists = [member for member in others if _may_be_list(member, columns)]
    for member in sorted(lists, key=lambda member: (-member.size_bytes, member.name))[:_MOST_LISTS]:
        grid = list_files.read(archive, member, chosen, known_labels, files)
        grids += [] if grid is None else [grid]
    if not any(grid.label_columns and not grid.guessed for grid in grids):
        grids += sidecars.read(archive, others, files)
    return grids


def _may_be_list(member: archives.Member, columns: Mapping[archives.Member, Sequence[str]]) -> bool:
    suffix = class_folders.suffix(member.name)
    return suffix in list_files.SUFFIXES and not ferplus.is_votes(columns.get(member, ()))


def hint(
    archive: zipfile.ZipFile,
    members: Sequence[archives.Member],
    columns: Mapping[archives.Member, Sequence[str]],
    grids: Sequence[label_grids.Grid],
) -> str:
    """What the error for images without a label says of the files beside them that look like labels; "" of none."""
    for grid in grids:
        if grid.guessed and grid.label_columns:
            both = f"{plain_text.quoted(grid.file_columns[0])} and {plain_text.quoted(grid.label_columns[0])}"
            return (
                f"in {plain_text.quoted(grid.name)} the columns {both} may be those of files and labels, which their "
                f"names don't say: {label_grids.columns_setting(grid)}"
            )
    for grid in grids:
        if grid.label_columns:
            return f"the table {plain_text.quoted(grid.name)} names no file of the source"
    for table, names in columns.items():
        return (
            f"the table {plain_text.quoted(table.name)} has the columns "
            f"{', '.join(map(plain_text.quoted, names[:12]))}: for its labels to be used, it must have one of files "
            "(named file, path, image or the like) and one of labels (label, emotion or the like), or be told which "
            "they are: index.columns, as in "
            '--set \'index.columns={"file": "NAME", "label": "NAME"}\''
        )
    return next((_of_other(archive, member) for member in _like_labels(members)), "")


def _like_labels(members: Sequence[archives.Member]) -> list[archives.Member]:
    """The files that are named as if they held labels, the likeliest first."""

    def rank(member: archives.Member) -> tuple[int, int, str]:
        words = [place for place, word in enumerate(_WORDS) if word in member.name.lower()]
        return (min(words, default=len(_WORDS)), -member.size_bytes, member.name)

    def is_like_labels(member: archives.Member) -> bool:
        suffix = class_folders.suffix(member.name)
        has_word = any(word in PurePosixPath(member.name).name.lower() for word in _WORDS)
        return member.size_bytes > 0 and (suffix in _OF_DATA or (suffix in _OF_TEXT and has_word))

    return sorted(filter(is_like_labels, members), key=rank)


def _of_other(archive: zipfile.ZipFile, member: archives.Member) -> str:
    suffix = class_folders.suffix(member.name)
    needed = (
        "to be read as labels it must be a table with a column of files and one of labels (CSV, TSV, Parquet, JSON, or "
        "lines such as 'image_1.jpg happy')"
    )
    if suffix in _BY_HAND:
        return f"{plain_text.quoted(member.name)} is not read: {_BY_HAND[suffix]}; {needed}"
    try:
        start = archives.read_start(archive, member, _START_BYTES)
    except errors.SourceError:
        start = b""
    lines = start.decode("utf-8", "replace").splitlines() if b"\0" not in start else []
    begins = f" (first line: {plain_text.quoted(lines[0][:_SHOWN_CHARS])})" if lines else ""
    return f"{plain_text.quoted(member.name)}{begins} is not read as labels: {needed}"
