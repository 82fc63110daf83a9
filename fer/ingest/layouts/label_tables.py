"""A table of labels beside images: a CSV or Parquet with a column of file names, one of labels, and perhaps more.

Columns are known by their names; where several could be meant, those win that find most files and known labels. A file
name is a path from the table's folder or from the archive's root, or else it shares an end with one file's path, at
least the last part, and more than with any other's. Where no column says the split, the table's name may: `train.csv`.
So what a table says of a file depends neither on the order of its rows nor on that of the tables.
"""

import bisect
import dataclasses
import posixpath
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from fer import errors
from fer.ingest import archives, labels
from fer.ingest.layouts import class_folders, tables

# The accepted names of columns, normalised; of two that find as much the first wins.
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
_NO_SUBJECT = ("unknown", "na", "none", "nan", "null", "?", "-", "-1")  # normalised


class _Said(NamedTuple):
    """What a row says."""

    raw_label: str
    raw_split: str
    subject: str


@dataclasses.dataclass(frozen=True)
class _Row:
    said: _Said
    file: str  # as the table writes it
    member: str | None  # the file's name in the archive
    defect: str | None
    place: str  # "labels.csv#3"


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The images that tables speak of and those that they should, sorted by path; which tables; rows too many."""

    files: tuple[class_folders.ImageFile, ...]
    tables: tuple[archives.Member, ...]
    n_repeated: int


def is_label_table(names: Sequence[str]) -> bool:
    """Whether a table with columns of these names has file names and labels."""
    return bool(_named(names, FILE_COLUMNS)) and bool(_named(names, LABEL_COLUMNS))


def has_splits(table: archives.Member, names: Sequence[str]) -> bool:
    """Whether a table with columns of these names has file names, and says by a column or its own name the split."""
    says_split = _named(names, SPLIT_COLUMNS) or class_folders.split_of_stem(table.name)
    return bool(_named(names, FILE_COLUMNS)) and bool(says_split)


def read(
    archive: zipfile.ZipFile,
    members: Iterable[archives.Member],
    columns: Mapping[archives.Member, Sequence[str]],
    known_labels: Collection[str],
    meaning: Callable[[str], str | None],
) -> Labelled:
    """Join the tables `columns` (-> the names of theirs) with the archive's other files.

    `known_labels` are normalised; `meaning` gives the class of a label or None. Tables that name no file of the archive
    are left out; if all are, `Labelled` is empty. An image without a row, a row without its file, and a file with two
    labels, splits or subjects have a `defect`.
    Raises SourceError for a name that fits several files, or a table that can't be read.
    """
    others = {each.name: each for each in members if each not in columns}
    rows, used = _rows_of_all(archive, others, columns, known_labels)
    if not used:
        return Labelled((), (), 0)
    return _joined(rows, others, used, meaning)


def with_splits(
    archive: zipfile.ZipFile,
    files: Iterable[class_folders.ImageFile],
    columns: Mapping[archives.Member, Sequence[str]],
) -> Labelled:
    """`files` with the splits that the tables `columns` say (-> the names of theirs), which win over folders.

    Tables that name none of the files are left out, and a file with two splits has a `defect`. Raises as `read`.
    """
    by_path = {each.path: each for each in files}
    rows, used = _rows_of_all(archive, by_path, columns, ())
    said: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.member is not None and row.said.raw_split:
            said[row.member].add(row.said.raw_split)
    for path, raw_splits in said.items():
        defect = _two_splits(raw_splits, _listed(each.name for each in used))
        by_path[path] = dataclasses.replace(by_path[path], raw_split=min(raw_splits), defect=defect)
    return Labelled(tuple(by_path.values()), used, 0)


def _rows_of_all(
    archive: zipfile.ZipFile,
    files: Collection[str],
    columns: Mapping[archives.Member, Sequence[str]],
    known_labels: Collection[str],
) -> tuple[list[_Row], tuple[archives.Member, ...]]:
    """The rows of those of the tables that name any of the files, and these tables, sorted by name."""
    rows: list[_Row] = []
    used = []
    finder = _Finder(files)
    for table in sorted(columns, key=lambda each: each.name):
        found = _rows(archive, table, columns[table], finder, known_labels)
        if any(row.member is not None for row in found):
            rows += found
            used.append(table)
    return rows, tuple(used)


def _named(names: Sequence[str], accepted: Sequence[str]) -> list[str]:
    """Those of `names` that are accepted, by rank."""
    normalised = [labels.normalised(each) for each in names]
    return [names[normalised.index(each)] for each in accepted if each in normalised]


class _Finder:
    """Finds files by what tables call them."""

    def __init__(self, names: Collection[str]):
        self._names: dict[str, list[str]] = defaultdict(list)  # by what they are composed: macOS takes accents apart
        self._ends: dict[str | None, list[str]] = defaultdict(list)  # side -> paths from their last part on, sorted
        for name in sorted(names):
            self._names[_composed(name)].append(name)
            self._ends[_side(name)].append(_backwards(_composed(name)))
        for ends in self._ends.values():
            ends.sort()

    def from_folder(self, folder: str, file: str) -> list[str]:
        """The file at the path `file` from `folder`."""
        name = posixpath.normpath(posixpath.join(folder, file))
        same = self._names.get(_composed(name), [])
        return [name] if name in same else same[:2]

    def by_end(self, file: str) -> list[str]:
        """The file whose path shares the longest end with `file`, two where they are several; none of another split."""
        path = _composed(posixpath.normpath(file).lstrip("/"))
        backwards = _backwards(path)
        longest = max((_shared(ends, backwards) for ends in self._ends.values()), key=len, default="")
        if not longest:
            return []
        sides = self._ends.keys() if _side(path) is None else {None, _side(path)} & self._ends.keys()
        found = [each for side in sides for each in _beginning(self._ends[side], longest)]
        composed = {"/".join(reversed(each[:-1].split("/"))) for each in found}
        return sorted(name for each in composed for name in self._names[each])[:2]


def _composed(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def _side(path: str) -> str | None:
    """The split, of ours, that a path's folders say."""
    return class_folders.side(class_folders.split_of_folders(path))


def _backwards(path: str) -> str:
    """Its parts from the last on, each with a slash after it."""
    return "/".join(reversed(path.split("/"))) + "/"


def _shared(ends: Sequence[str], path: str) -> str:
    """The longest beginning, by whole parts, that `path` has in common with one of the sorted `ends`."""
    place = bisect.bisect_left(ends, path)
    common = (posixpath.commonprefix([path, *ends[n : n + 1]]) for n in (place - 1, place) if 0 <= n < len(ends))
    return max((each[: each.rfind("/") + 1] for each in common), key=len, default="")


def _beginning(ends: Sequence[str], start: str) -> Sequence[str]:
    """Up to two of the sorted `ends` that begin with `start`."""
    place = bisect.bisect_left(ends, start)
    return [each for each in ends[place : place + 2] if each.startswith(start)]


def _rows(
    archive: zipfile.ZipFile,
    table: archives.Member,
    names: Sequence[str],
    finder: _Finder,
    known_labels: Collection[str],
) -> list[_Row]:
    """The rows of `table`, each with the file that it names."""
    groups = [_named(names, each) for each in (FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, SUBJECT_COLUMNS)]
    file_names, label_names, split_names, subject_names = groups
    read_names = [*file_names, *label_names, *split_names[:1], *subject_names[:1]]
    cells = list(tables.read(archive, table, read_names))
    whole = [row for _, row in cells if row is not None]

    def column(name: str) -> list[str]:
        place = read_names.index(name)
        return [each[place] for each in whole]

    def n_known(name: str) -> int:
        return sum(labels.normalised(cell) in known_labels for cell in column(name))

    label = max(label_names, key=n_known, default=None)
    candidates = [_found(table, name, column(name), finder) for name in file_names]
    found = max(candidates, key=lambda each: (each.n, -len(each.ambiguous)))
    _require_one_each(table, found.ambiguous)
    file = read_names.index(found.column)
    split = next(iter(split_names), None)
    split_of_table = None if split else class_folders.split_of_stem(table.name)

    def cell(row: tuple[str, ...], name: str | None) -> str:
        return "" if name is None else row[read_names.index(name)]

    made = []
    for number, row in cells:
        place = f"{table.name}#{number}"
        defect = _defect(row, file)
        if row is None or defect:
            made.append(_Row(_Said("", "", ""), "", None, f"a row of {table.name} {defect}", place))
            continue
        raw_split = split_of_table or class_folders.split_of(cell(row, split)) or cell(row, split)
        subject = cell(row, next(iter(subject_names), None))
        said = _Said(cell(row, label), raw_split, "" if labels.normalised(subject) in _NO_SUBJECT else subject)
        member = found.members.get(row[file])
        missing = None if member is not None else f"{table.name} names a file that is not there"
        made.append(_Row(said, row[file], member, missing, place))
    return made


def _defect(row: tuple[str, ...] | None, file: int) -> str | None:
    """What is wrong with a row, whose cell number `file` names the file."""
    if row is None:
        return "has more cells than columns"
    if not row[file]:
        return "names no file"
    return "names a file by what can't be printed" if archives.UNPRINTABLE.search(row[file]) else None


@dataclasses.dataclass(frozen=True)
class _FoundBy:
    """What the names in a column find: name -> file; how many rows find one; names with two of several such files."""

    column: str
    members: dict[str, str]
    n: int
    ambiguous: tuple[tuple[str, str, str], ...]


def _found(table: archives.Member, column: str, cells: Sequence[str], finder: _Finder) -> _FoundBy:
    """The files that a column names, by that way of reading its names which finds most.

    The ends of paths count only if they find more than twice as many as whole paths: a name that is read as a path
    and leads nowhere is rather a missing file than another of the same name elsewhere.
    """
    folder = posixpath.dirname(table.name)
    names = {cell: n for cell, n in Counter(cells).items() if cell}

    def by(way: Callable[[str], list[str]]) -> tuple[int, dict[str, list[str]]]:
        found = {cell: files for cell in names if (files := way(cell.replace("\\", "/")))}
        return sum(names[cell] for cell in found), found

    n_found, found = max(
        by(lambda file: finder.from_folder(folder, file)),
        by(lambda file: finder.from_folder("", file)),
        key=lambda each: each[0],
    )
    if 2 * n_found < sum(names.values()):
        n_by_end, found_by_end = by(finder.by_end)
        if n_by_end > 2 * n_found:
            n_found, found = n_by_end, found_by_end
    several = sorted(cell for cell, files in found.items() if len(files) > 1)
    ambiguous = tuple((cell, min(found[cell]), max(found[cell])) for cell in several)
    return _FoundBy(column, {cell: files[0] for cell, files in found.items()}, n_found, ambiguous)


def _require_one_each(table: archives.Member, ambiguous: Sequence[tuple[str, str, str]]) -> None:
    if ambiguous:
        name, one, other = ambiguous[0]
        more = f", and {len(ambiguous) - 1:,} more such names" if len(ambiguous) > 1 else ""
        shown = archives.shown(name)
        raise errors.SourceError(
            "A table of labels must name each file so that one file fits.",
            received=f"{shown} in {table.name!r}, which fits {one!r} and {other!r}{more}",
            todo="write paths from the table's folder into it",
        )


def _joined(
    rows: Iterable[_Row],
    others: Mapping[str, archives.Member],
    used: tuple[archives.Member, ...],
    meaning: Callable[[str], str | None],
) -> Labelled:
    speaking = _listed(each.name for each in used)
    said: dict[str, list[_Said]] = defaultdict(list)
    missing: dict[str, list[_Row]] = defaultdict(list)
    files = []
    taken = set(others)
    n_repeated = 0

    def add_missing(row: _Row, path: str) -> None:
        while path in taken:
            path += "'"
        taken.add(path)
        defect = row.defect
        files.append(
            class_folders.ImageFile(
                path, None, row.said.raw_label, row.said.raw_split or None, row.said.subject or None, defect
            )
        )

    for row in rows:
        if row.member is not None:
            said[row.member].append(row.said)
        elif row.file:
            missing[row.file].append(row)
        else:
            add_missing(row, row.place)
    for file, same in sorted(missing.items()):
        n_repeated += len(same) - 1
        add_missing(min(same, key=lambda each: (each.said, each.place)), file)
    for name, member in others.items():
        by_path = class_folders.image_file(member)
        if name in said:
            n_repeated += len(said[name]) - 1
            files.append(_one(by_path, said[name], speaking, meaning))
        elif class_folders.suffix(name) in class_folders.IMAGE_SUFFIXES:
            files.append(dataclasses.replace(by_path, raw_label=None, defect=f"no label in {speaking}"))
    return Labelled(tuple(sorted(files, key=lambda each: each.path)), used, n_repeated)


def _one(
    file: class_folders.ImageFile, said: Sequence[_Said], speaking: str, meaning: Callable[[str], str | None]
) -> class_folders.ImageFile:
    """What all rows of one file say together; a row that says nothing of something contradicts no other."""
    raw_labels = sorted({each.raw_label for each in said if each.raw_label})
    raw_splits = sorted({each.raw_split for each in said if each.raw_split})
    subjects = sorted({each.subject for each in said if each.subject})
    defect = None
    if len({meaning(each) or labels.normalised(each) for each in raw_labels}) > 1:
        defect = f"two labels in {speaking}"
    elif two_splits := _two_splits(raw_splits, speaking):
        defect = two_splits
    elif len(subjects) > 1:
        defect = f"two subjects in {speaking}"
    elif not raw_labels:
        defect = labels.MISSING
    return dataclasses.replace(
        file,
        raw_label=" | ".join(raw_labels) if defect else raw_labels[0],
        raw_split=raw_splits[0] if raw_splits else file.raw_split,
        subject=subjects[0] if len(subjects) == 1 else None,
        defect=defect,
    )


def _two_splits(raw_splits: Iterable[str], speaking: str) -> str | None:
    """The defect of a file with these splits, if they mean several."""
    meant = {class_folders.side(each) or labels.normalised(each) for each in raw_splits}
    return f"two splits in {speaking}" if len(meant) > 1 else None


def _listed(names: Iterable[str], at_most: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - at_most:,} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
