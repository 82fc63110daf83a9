"""Tables of labels beside images: what their rows say of which files, joined with the files that are there.

Of several columns of files or labels those win that match most files and known labels; `file_finder` tells how a name
means a file. Where no column says the split, the table's name may: `train.csv`. So what a table says of a file depends
neither on the order of its rows nor on that of the tables.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from fer import errors, limits, plain_text
from fer.ingest import archives
from fer.ingest.layouts import class_folders, ferplus, file_finder, label_grids
from fer.ingest.naming import labels, split_names

_NO_LABEL = "no label in "  # how the defect of an image without a row begins


class _Annotation(NamedTuple):
    """What a row says of its file."""

    raw_label: str
    raw_split: str
    subject: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    annotation: _Annotation
    file: str  # as the table writes it
    member: str | None  # the file's name in the archive
    defect: str | None
    location: str  # "labels.csv#3"


@dataclasses.dataclass(frozen=True)
class LabelledFiles:
    """The images that tables name or should name, sorted by path; the tables used; how many rows repeat a file.

    `n_named`: how many files of the archive have a label by the tables.
    """

    files: tuple[class_folders.ImageFile, ...]
    tables: tuple[label_grids.Grid, ...]
    n_repeated: int
    n_named: int = 0


def read(
    grids: Iterable[label_grids.Grid],
    members: Iterable[archives.Member],
    finder: file_finder.FileFinder,
    known_labels: Collection[str],
    meaning: Callable[[str], str | None],
    splits: split_names.SplitNames,
) -> LabelledFiles:
    """Join the tables with the archive's files, which `finder` finds; those of the tables themselves are left out.

    `known_labels` are normalised; `meaning` gives the class of a label or None. Tables that name no file of the archive
    are left out; if all are, the result is empty. An image without a row, a row without its file, and a file with two
    labels, splits or subjects have a `defect`.
    Raises SourceError for a name that fits several files.
    """
    rows, used = _rows_of_all(grids, finder, known_labels, splits)
    if not used:
        return LabelledFiles((), (), 0)
    own = {name for grid in used for name in grid.files}
    return _join(rows, {member.name: member for member in members if member.name not in own}, used, meaning, splits)


def with_splits(
    files: Iterable[class_folders.ImageFile], grids: Iterable[label_grids.Grid], splits: split_names.SplitNames
) -> LabelledFiles:
    """`files` with the splits that the tables say, which win over folders.

    Tables that name none of the files are left out, and a file with two splits has a `defect`. Raises as `read`.
    """
    by_path = {file.path: file for file in files}
    rows, used = _rows_of_all(grids, file_finder.FileFinder(by_path, splits), (), splits)
    splits_of: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.member is not None and row.annotation.raw_split:
            splits_of[row.member].add(row.annotation.raw_split)
    for path, raw_splits in splits_of.items():
        defect = by_path[path].defect or _two_splits(raw_splits, _listed(table.name for table in used), splits)
        by_path[path] = dataclasses.replace(by_path[path], raw_split=min(raw_splits), defect=defect)
    return LabelledFiles(tuple(by_path.values()), used, 0)


def says_unlabelled(defect: str) -> bool:
    """Whether a defect is that no row, or no cell, of a table of labels says the label of an image."""
    return defect == labels.MISSING or defect.startswith(_NO_LABEL)


def votes(
    grid: label_grids.Grid, files: Iterable[class_folders.ImageFile], splits: split_names.SplitNames
) -> dict[str, tuple[int, ...]]:
    """The votes of a table that has some: file -> counts, as `ferplus.CATEGORIES`.

    Raises SourceError as `read`, and for what is no count.
    """
    counts: dict[str, tuple[int, ...]] = {}
    for place, file in named_files(grid, files, splits):
        cells = [grid.columns[column][place] for column in grid.vote_columns]
        counts[file] = tuple(ferplus.counts_of(cells, f"row {grid.numbers[place]:,} of {grid.name!r}"))
    return counts


def named_files(
    grid: label_grids.Grid, files: Iterable[class_folders.ImageFile], splits: split_names.SplitNames
) -> list[tuple[int, str]]:
    """The places of the rows that name one of the files, with the file."""
    finder = file_finder.FileFinder([file.path for file in files], splits)
    matches = [_match(grid, name, [None] * len(grid.numbers), finder) for name in grid.file_columns]
    best = max(matches, key=lambda match: match.n_rows)
    _require_unambiguous(grid.name, best.ambiguous)
    return [(place, best.members[name]) for place, name in enumerate(best.names) if name in best.members]


def _rows_of_all(
    grids: Iterable[label_grids.Grid],
    finder: file_finder.FileFinder,
    known_labels: Collection[str],
    splits: split_names.SplitNames,
) -> tuple[list[_Row], tuple[label_grids.Grid, ...]]:
    """The tables that name any of the files, sorted by name, and the rows of these."""
    rows: list[_Row] = []
    used = []
    for grid in sorted(grids, key=lambda grid: grid.name):
        rows_of_table = _rows(grid, finder, known_labels, splits)
        if any(row.member is not None for row in rows_of_table):
            rows += rows_of_table
            used.append(grid)
    return rows, tuple(used)


def _rows(
    grid: label_grids.Grid,
    finder: file_finder.FileFinder,
    known_labels: Collection[str],
    splits: split_names.SplitNames,
) -> list[_Row]:
    """The rows of a table with the files that they name, a row for each label where it has several alike."""

    def n_known(name: str) -> int:
        counts = Counter(grid.columns[name])
        return sum(n_rows for cell, n_rows in counts.items() if labels.normalised(cell) in known_labels)

    _require_few_missing(min(len(set(grid.columns[name])) for name in grid.file_columns) - finder.n_files, grid)
    n_rows = len(grid.numbers)
    blanks = ("",) * n_rows
    raw_labels = grid.columns[max(grid.label_columns, key=n_known)] if grid.label_columns else blanks
    subjects = grid.columns[grid.subject_column] if grid.subject_column else blanks
    split_cells = grid.columns[grid.split_column] if grid.split_column else blanks
    split_of_table = None if grid.split_column else splits.of_table(grid.name)
    raw_splits = [split_of_table or splits.of(cell) or cell for cell in split_cells]
    ours = [splits.ours(raw_split) for raw_split in raw_splits]
    matches = [_match(grid, name, ours, finder) for name in grid.file_columns]
    best = max(matches, key=lambda match: (match.n_rows, -len(match.ambiguous)))
    _require_unambiguous(grid.name, best.ambiguous)
    if not best.members:
        return []
    _require_few_missing(sum(file not in best.members for file in set(best.names)), grid)
    rows = []
    for place, (number, file) in enumerate(zip(grid.numbers, best.names, strict=True)):
        location = f"{grid.name}#{number}"
        if defect := grid.defects.get(place) or _defect(file.text):
            rows.append(_Row(_Annotation("", "", ""), "", None, f"a row of {grid.name} {defect}", location))
            continue
        member = best.members.get(file)
        missing = None if member is not None else f"{grid.name} names a file that is not there"
        subject = label_grids.known(subjects[place])
        for raw_label in raw_labels[place].split(label_grids.TIED) if grid.has_ties else raw_labels[place : place + 1]:
            annotation = _Annotation(raw_label, raw_splits[place], subject)
            rows.append(_Row(annotation, file.text, member, missing, location))
    return rows


def _require_few_missing(n_missing: int, grid: label_grids.Grid) -> None:
    """Raise SourceError for a table that names far more files than there are, each of which would be in quarantine."""
    limit = limits.current().missing_files
    if n_missing > limit:
        raise errors.SourceError(
            f"A table of labels must name at most {limit:,} files that are not there.",
            received=f"{n_missing:,} in {plain_text.quoted(grid.name)}",
            todo=f"leave their rows out of it, or give the files too; or {limits.to_raise('missing_files')}",
        )


def _defect(file: str) -> str | None:
    """The defect of a row that names its file so, if it has one."""
    if not file:
        return "names no file"
    return "names a file by what can't be printed" if plain_text.UNPRINTABLE.search(file) else None


@dataclasses.dataclass(frozen=True)
class _ColumnMatch:
    """The files that a column names.

    `names`: of each row; `members`: name -> file; `n_rows`: how many rows name one; `ambiguous`: names that fit
    several, with two of them.
    """

    names: Sequence[file_finder.Name]
    members: dict[file_finder.Name, str]
    n_rows: int
    ambiguous: tuple[tuple[str, str, str], ...]


def _match(
    grid: label_grids.Grid, column: str, splits: Sequence[split_names.Split | None], finder: file_finder.FileFinder
) -> _ColumnMatch:
    """The files that a column names."""
    names = [file_finder.Name(cell, split) for cell, split in zip(grid.columns[column], splits, strict=True)]
    counts = {name: n for name, n in Counter(names).items() if name.text}
    files_of = finder.find(grid.folder, counts)
    several = sorted((name for name, files in files_of.items() if len(files) > 1), key=lambda name: name.text)
    ambiguous = tuple((name.text, min(files_of[name]), max(files_of[name])) for name in several)
    members = {name: files[0] for name, files in files_of.items()}
    return _ColumnMatch(names, members, sum(counts[name] for name in members), ambiguous)


def _require_unambiguous(table: str, ambiguous: Sequence[tuple[str, str, str]]) -> None:
    if ambiguous:
        name, one, other = ambiguous[0]
        more = f", and {len(ambiguous) - 1:,} more such names" if len(ambiguous) > 1 else ""
        shown = plain_text.quoted(name)
        raise errors.SourceError(
            "A table of labels must name each file so that one file fits.",
            received=f"{shown} in {table!r}, which fits {one!r} and {other!r}{more}",
            todo="write paths from the table's folder into it",
        )


def _join(
    rows: Iterable[_Row],
    others: Mapping[str, archives.Member],
    used: tuple[label_grids.Grid, ...],
    meaning: Callable[[str], str | None],
    splits: split_names.SplitNames,
) -> LabelledFiles:
    table_names = _listed(table.name for table in used)
    annotations: dict[str, list[_Annotation]] = defaultdict(list)
    locations: dict[str, set[str]] = defaultdict(set)
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
            locations[row.member].add(row.location)
        elif row.file:
            missing[row.file].append(row)
        else:
            add_missing(row, row.location)
    for file, same in sorted(missing.items()):
        n_repeated += len({row.location for row in same}) - 1
        add_missing(min(same, key=lambda row: (row.annotation, row.location)), file)
    for name, member in others.items():
        by_path = class_folders.image_file(member, splits)
        if name in annotations:
            n_repeated += len(locations[name]) - 1
            files.append(_annotated(by_path, annotations[name], table_names, meaning, splits))
        elif class_folders.suffix(name) in class_folders.IMAGE_SUFFIXES:
            files.append(dataclasses.replace(by_path, raw_label=None, defect=f"{_NO_LABEL}{table_names}"))
    n_named = sum(any(annotation.raw_label for annotation in of_file) for of_file in annotations.values())
    return LabelledFiles(tuple(sorted(files, key=lambda file: file.path)), used, n_repeated, n_named)


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
