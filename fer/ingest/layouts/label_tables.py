"""A table of labels beside images: a CSV or Parquet with a column of file names, one of labels, and perhaps more.

Columns are known by their names; of several candidates those win that match most files and known labels. A file
name is a path from the table's folder or from the archive's root, or else it shares an end with one file's path, at
least the last part, and more than with any other's. Where no column says the split, the table's name may: `train.csv`.
So what a table says of a file depends neither on the order of its rows nor on that of the tables.
"""

import dataclasses
import posixpath
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from fer import errors
from fer.ingest import archives, labels, split_names
from fer.ingest.layouts import class_folders, file_finder, tables

# The accepted names of columns, normalised; of two that match as many files the first wins.
FILE_COLUMNS = (
    "path", "file", "filename", "filepath", "imagepath", "imagefile", "imagename", "image", "images", "img",
    "imgpath", "imgname", "imgfile", "pth", "fname", "imageid", "subdirectoryfilepath", "name",
)  # fmt: skip
LABEL_COLUMNS = (
    "emotion", "expression", "facialexpression", "emotionlabel", "expressionlabel", "label", "labels", "class",
    "classname", "classlabel", "target", "category", "feeling",
)  # fmt: skip
SPLIT_COLUMNS = ("split", "usage", "set", "subset", "partition")
SUBJECT_COLUMNS = (
    "subject", "subjectid", "person", "personid", "identity", "identityid", "actor", "actorid", "participant",
    "participantid", "individual",
)  # fmt: skip
_NO_LABEL = "no label in "  # how the defect of an image without a row begins
_NO_SUBJECT = ("unknown", "na", "none", "nan", "null", "?", "-", "-1")  # normalised


class _Annotation(NamedTuple):
    """What a row says of its file."""

    raw_label: str
    raw_split: str
    subject: str


@dataclasses.dataclass(frozen=True)
class _Row:
    annotation: _Annotation
    file: str  # as the table writes it
    member: str | None  # the file's name in the archive
    defect: str | None
    location: str  # "labels.csv#3"


@dataclasses.dataclass(frozen=True)
class LabelledFiles:
    """The images that tables name or should name, sorted by path; the tables used; how many rows repeat a file."""

    files: tuple[class_folders.ImageFile, ...]
    tables: tuple[archives.Member, ...]
    n_repeated: int


def is_label_table(names: Sequence[str]) -> bool:
    """Whether a table with columns of these names has file names and labels."""
    return bool(_named(names, FILE_COLUMNS)) and bool(_named(names, LABEL_COLUMNS))


def says_unlabelled(defect: str) -> bool:
    """Whether a defect is that no row, or no cell, of a table of labels says the label of an image."""
    return defect == labels.MISSING or defect.startswith(_NO_LABEL)


def has_splits(table: archives.Member, names: Sequence[str], splits: split_names.SplitNames) -> bool:
    """Whether a table with columns of these names has file names, and says by a column or its own name the split."""
    split = _named(names, SPLIT_COLUMNS) or splits.of_table(table.name)
    return bool(_named(names, FILE_COLUMNS)) and bool(split)


def read(
    archive: zipfile.ZipFile,
    members: Iterable[archives.Member],
    columns: Mapping[archives.Member, Sequence[str]],
    known_labels: Collection[str],
    meaning: Callable[[str], str | None],
    splits: split_names.SplitNames,
) -> LabelledFiles:
    """Join the tables (table -> its `columns`) with the archive's other files.

    `known_labels` are normalised; `meaning` gives the class of a label or None. Tables that name no file of the archive
    are left out; if all are, the result is empty. An image without a row, a row without its file, and a file with two
    labels, splits or subjects have a `defect`.
    Raises SourceError for a name that fits several files, or a table that can't be read.
    """
    others = {member.name: member for member in members if member not in columns}
    rows, used = _rows_of_all(archive, others, columns, known_labels, splits)
    if not used:
        return LabelledFiles((), (), 0)
    return _join(rows, others, used, meaning, splits)


def with_splits(
    archive: zipfile.ZipFile,
    files: Iterable[class_folders.ImageFile],
    columns: Mapping[archives.Member, Sequence[str]],
    splits: split_names.SplitNames,
) -> LabelledFiles:
    """`files` with the splits that the tables say (table -> its `columns`), which win over folders.

    Tables that name none of the files are left out, and a file with two splits has a `defect`. Raises as `read`.
    """
    by_path = {file.path: file for file in files}
    rows, used = _rows_of_all(archive, by_path, columns, (), splits)
    splits_of: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.member is not None and row.annotation.raw_split:
            splits_of[row.member].add(row.annotation.raw_split)
    for path, raw_splits in splits_of.items():
        defect = _two_splits(raw_splits, _listed(table.name for table in used), splits)
        by_path[path] = dataclasses.replace(by_path[path], raw_split=min(raw_splits), defect=defect)
    return LabelledFiles(tuple(by_path.values()), used, 0)


def _rows_of_all(
    archive: zipfile.ZipFile,
    files: Collection[str],
    columns: Mapping[archives.Member, Sequence[str]],
    known_labels: Collection[str],
    splits: split_names.SplitNames,
) -> tuple[list[_Row], tuple[archives.Member, ...]]:
    """The tables that name any of the files, sorted by name, and the rows of these."""
    rows: list[_Row] = []
    used = []
    finder = file_finder.FileFinder(files, splits)
    for table in sorted(columns, key=lambda table: table.name):
        rows_of_table = _rows(archive, table, columns[table], finder, known_labels, splits)
        if any(row.member is not None for row in rows_of_table):
            rows += rows_of_table
            used.append(table)
    return rows, tuple(used)


def _named(names: Sequence[str], accepted: Sequence[str]) -> list[str]:
    """The `names` that are accepted, by rank."""
    normalised = [labels.normalised(name) for name in names]
    return [names[normalised.index(name)] for name in accepted if name in normalised]


def _rows(
    archive: zipfile.ZipFile,
    table: archives.Member,
    names: Sequence[str],
    finder: file_finder.FileFinder,
    known_labels: Collection[str],
    splits: split_names.SplitNames,
) -> list[_Row]:
    """The rows of `table` with the files that they name."""
    groups = [_named(names, accepted) for accepted in (FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, SUBJECT_COLUMNS)]
    file_names, label_names, split_columns, subject_names = groups
    read_names = [*file_names, *label_names, *split_columns[:1], *subject_names[:1]]
    cells = list(tables.read(archive, table, read_names))
    whole = [row for _, row in cells if row is not None]

    def column(name: str) -> list[str]:
        place = read_names.index(name)
        return [row[place] for row in whole]

    def n_known(name: str) -> int:
        return sum(labels.normalised(cell) in known_labels for cell in column(name))

    label = max(label_names, key=n_known, default=None)
    split = next(iter(split_columns), None)
    split_of_table = None if split else splits.of_table(table.name)

    def cell(row: tuple[str, ...], name: str | None) -> str:
        return "" if name is None else row[read_names.index(name)]

    def raw_split(row: tuple[str, ...]) -> str:
        return split_of_table or splits.of(cell(row, split)) or cell(row, split)

    ours = [splits.ours(raw_split(row)) for row in whole]
    candidates = [_match(table, name, list(zip(column(name), ours, strict=True)), finder) for name in file_names]
    best = max(candidates, key=lambda match: (match.n_rows, -len(match.ambiguous)))
    _require_unambiguous(table, best.ambiguous)
    file = read_names.index(best.column)
    rows = []
    for number, row in cells:
        location = f"{table.name}#{number}"
        defect = _defect(row, file)
        if row is None or defect:
            rows.append(_Row(_Annotation("", "", ""), "", None, f"a row of {table.name} {defect}", location))
            continue
        subject = cell(row, next(iter(subject_names), None))
        annotation = _Annotation(
            cell(row, label), raw_split(row), "" if labels.normalised(subject) in _NO_SUBJECT else subject
        )
        member = best.members.get((row[file], splits.ours(annotation.raw_split)))
        missing = None if member is not None else f"{table.name} names a file that is not there"
        rows.append(_Row(annotation, row[file], member, missing, location))
    return rows


def _defect(row: tuple[str, ...] | None, file: int) -> str | None:
    """The defect of a row, if it has one; `file` is the number of the cell that names its file."""
    if row is None:
        return "has more cells than columns"
    if not row[file]:
        return "names no file"
    return "names a file by what can't be printed" if archives.UNPRINTABLE.search(row[file]) else None


_Entry = tuple[str, split_names.Split | None]  # how a row names its file, and the row's split


@dataclasses.dataclass(frozen=True)
class _ColumnMatch:
    """The files that a column names.

    `members`: entry -> file; `n_rows`: how many rows name one; `ambiguous`: names that fit several, with two of them.
    """

    column: str
    members: dict[_Entry, str]
    n_rows: int
    ambiguous: tuple[tuple[str, str, str], ...]


def _match(
    table: archives.Member, column: str, entries: Sequence[_Entry], finder: file_finder.FileFinder
) -> _ColumnMatch:
    """The files that a column names, by the way of reading its names that finds most files.

    The ends of paths count only if they find more than twice as many as whole paths: a name that is read as a path
    and leads nowhere is rather a missing file than another of the same name elsewhere.
    """
    folder = posixpath.dirname(table.name)
    counts = {entry: n for entry, n in Counter(entries).items() if entry[0]}

    def matches(find: Callable[[str, split_names.Split | None], list[str]]) -> tuple[int, dict[_Entry, list[str]]]:
        files_of = {entry: files for entry in counts if (files := find(entry[0].replace("\\", "/"), entry[1]))}
        return sum(counts[entry] for entry in files_of), files_of

    n_rows, files_of = max(
        matches(lambda file, _: finder.from_folder(folder, file)),
        matches(lambda file, _: finder.from_folder("", file)),
        key=lambda match: match[0],
    )
    if 2 * n_rows < sum(counts.values()):
        n_by_end, files_by_end = matches(finder.by_end)
        if n_by_end > 2 * n_rows:
            n_rows, files_of = n_by_end, files_by_end
    several = sorted((entry[0], min(files), max(files)) for entry, files in files_of.items() if len(files) > 1)
    return _ColumnMatch(column, {entry: files[0] for entry, files in files_of.items()}, n_rows, tuple(several))


def _require_unambiguous(table: archives.Member, ambiguous: Sequence[tuple[str, str, str]]) -> None:
    if ambiguous:
        name, one, other = ambiguous[0]
        more = f", and {len(ambiguous) - 1:,} more such names" if len(ambiguous) > 1 else ""
        shown = archives.quoted(name)
        raise errors.SourceError(
            "A table of labels must name each file so that one file fits.",
            received=f"{shown} in {table.name!r}, which fits {one!r} and {other!r}{more}",
            todo="write paths from the table's folder into it",
        )


def _join(
    rows: Iterable[_Row],
    others: Mapping[str, archives.Member],
    used: tuple[archives.Member, ...],
    meaning: Callable[[str], str | None],
    splits: split_names.SplitNames,
) -> LabelledFiles:
    table_names = _listed(table.name for table in used)
    annotations: dict[str, list[_Annotation]] = defaultdict(list)
    missing: dict[str, list[_Row]] = defaultdict(list)
    files = []
    taken = set(others)
    n_repeated = 0

    def add_missing(row: _Row, path: str) -> None:
        while path in taken:
            path += "'"
        taken.add(path)
        raw_label, raw_split, subject = row.annotation
        files.append(class_folders.ImageFile(path, None, raw_label, raw_split or None, subject or None, row.defect))

    for row in rows:
        if row.member is not None:
            annotations[row.member].append(row.annotation)
        elif row.file:
            missing[row.file].append(row)
        else:
            add_missing(row, row.location)
    for file, same in sorted(missing.items()):
        n_repeated += len(same) - 1
        add_missing(min(same, key=lambda row: (row.annotation, row.location)), file)
    for name, member in others.items():
        by_path = class_folders.image_file(member, splits)
        if name in annotations:
            n_repeated += len(annotations[name]) - 1
            files.append(_annotated(by_path, annotations[name], table_names, meaning, splits))
        elif class_folders.suffix(name) in class_folders.IMAGE_SUFFIXES:
            files.append(dataclasses.replace(by_path, raw_label=None, defect=f"{_NO_LABEL}{table_names}"))
    return LabelledFiles(tuple(sorted(files, key=lambda file: file.path)), used, n_repeated)


def _annotated(
    file: class_folders.ImageFile,
    annotations: Sequence[_Annotation],
    table_names: str,
    meaning: Callable[[str], str | None],
    splits: split_names.SplitNames,
) -> class_folders.ImageFile:
    """The file with the annotations of all its rows; a row with a blank cell contradicts no other."""
    raw_labels = sorted({annotation.raw_label for annotation in annotations if annotation.raw_label})
    raw_splits = sorted({annotation.raw_split for annotation in annotations if annotation.raw_split})
    subjects = sorted({annotation.subject for annotation in annotations if annotation.subject})
    defect = None
    if len({meaning(raw_label) or labels.normalised(raw_label) for raw_label in raw_labels}) > 1:
        defect = f"two labels in {table_names}"
    elif two_splits := _two_splits(raw_splits, table_names, splits):
        defect = two_splits
    elif len(subjects) > 1:
        defect = f"two subjects in {table_names}"
    elif not raw_labels:
        defect = labels.MISSING
    return dataclasses.replace(
        file,
        raw_label=" | ".join(raw_labels) if defect else raw_labels[0],
        raw_split=raw_splits[0] if raw_splits else file.raw_split,
        subject=subjects[0] if len(subjects) == 1 else None,
        defect=defect,
    )


def _two_splits(raw_splits: Iterable[str], table_names: str, splits: split_names.SplitNames) -> str | None:
    """The defect of a file with these splits, if they mean several."""
    meant = {splits.ours(raw_split) or labels.normalised(raw_split) for raw_split in raw_splits}
    return f"two splits in {table_names}" if len(meant) > 1 else None


def _listed(names: Iterable[str], at_most: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - at_most:,} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
