"""What a table of labels says, whichever form its file has: rows of text with named columns, and what each column is.

Columns are known by their names, or by what a recipe calls them (`index.columns`). Instead of one of labels a table may
have a column a class with 0 and 1, or with counts: the largest number of a row is its label.
"""

import dataclasses
import json
import math
import shlex
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from fer import errors, plain_text
from fer.ingest import archives
from fer.ingest.layouts import ferplus, tables
from fer.ingest.naming import labels, split_names

Role = Literal["file", "label", "split", "subject", "pixels"]

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
# Columns of other names that hold names of splits and nothing else say them too.
_MAYBE_SPLIT_COLUMNS = (
    "splits", "datasplit", "datasetsplit", "splitname", "dataset", "phase", "mode", "type", "datatype", "purpose",
    "stage", "group", "role", "tag", "fold",
)  # fmt: skip
SUBJECT_COLUMNS = (
    "subject", "subjectid", "person", "personid", "identity", "identityid", "actor", "actorid", "participant",
    "participantid", "individual",
)  # fmt: skip
BOX_COLUMNS = ("bbox", "box", "facex", "faceleft", "xmin", "left")
_BY_ROLE = {
    "file": FILE_COLUMNS, "label": LABEL_COLUMNS, "split": SPLIT_COLUMNS, "subject": SUBJECT_COLUMNS,
    "pixels": ("pixels", "pixel", "pixelvalues", "pixelstring"),
}  # fmt: skip
_UNKNOWN = ("unknown", "na", "none", "nan", "null", "?", "-", "-1")  # normalised
_NO_CLASS = ("unknown", "nf", "unlabeled", "unlabelled")  # columns of votes that no image is labelled by, normalised
_MOST_SCORE_COLUMNS = 64
_ONE_HOT = "class of the largest number"
_MIN_ONES_SHARE = 0.9  # of rows that have one 1, for columns of 0 and 1 to be classes whatever they are called
TIED = " | "


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table of labels: its cells by column, all of one length, "" where there is none.

    `folder` is where its file names count from; `files` are the names of the files it was read from. `file_columns` and
    `label_columns` are candidates by rank. `defects`: row -> what is wrong with it, as a row that "has ...". `guessed`
    are columns with these roles by what they hold, whose names don't say so: what such a grid says is only proposed.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    columns: Mapping[str, Sequence[str]]
    file_columns: tuple[str, ...]
    label_columns: tuple[str, ...] = ()
    split_column: str | None = None
    subject_column: str | None = None
    numbers: Sequence[int] = ()
    defects: Mapping[int, str] = dataclasses.field(default_factory=dict)
    has_boxes: bool = False
    has_header: bool = True
    has_ties: bool = False  # a label may be several, joined by TIED
    vote_columns: tuple[str, ...] = ()  # FERPlus's ten
    guessed: Mapping[Role, str] = dataclasses.field(default_factory=dict)

    def note(self) -> str:
        """What the report says of it: how columns without names were taken, and that boxes are not used."""
        notes = []
        if not self.has_header and len(self.columns) > 2 and not self.vote_columns:
            notes.append(f"column {self.file_columns[0]} was taken for files and {self.label_columns[0]} for labels")
        if self.has_boxes:
            notes.append("its face boxes are not used: each image is taken whole")
        return f"{plain_text.quoted(self.name)}: {'; '.join(notes)}" if notes else ""


def named(names: Sequence[str], accepted: Sequence[str]) -> list[str]:
    """The `names` that are accepted, by rank."""
    normalised = [labels.normalised(name) for name in names]
    return [names[normalised.index(name)] for name in accepted if name in normalised]


def columns_of(names: Sequence[str], role: Role, chosen: Mapping[Role, str]) -> list[str]:
    """Which of a table's columns may have this role, by rank: the one that the recipe has `chosen`, if it is there."""
    own = [name for name in names if role in chosen and labels.normalised(name) == labels.normalised(chosen[role])]
    exact = [name for name in own if name.strip() == chosen[role].strip()]
    return (exact or own)[:1] or named(names, _BY_ROLE[role])


def groups_of(names: Sequence[str], groups: Sequence[str]) -> dict[str, str]:
    """Which of a table's columns are the `groups` that a recipe names: its name -> the column's."""
    by_name = {labels.normalised(name): name for name in reversed(names)}
    found = {group: group if group in names else by_name.get(labels.normalised(group)) for group in groups}
    return {group: column for group, column in found.items() if column is not None}


def known(cell: str) -> str:
    """A cell that names a subject or a group; "" where it says that none is known."""
    return "" if labels.normalised(cell) in _UNKNOWN else cell


def is_label_table(names: Sequence[str], chosen: Mapping[Role, str]) -> bool:
    """Whether a table with columns of these names has file names and labels."""
    return bool(columns_of(names, "file", chosen)) and bool(columns_of(names, "label", chosen))


def from_table(
    archive: zipfile.ZipFile,
    table: archives.Member,
    names: Sequence[str],
    chosen: Mapping[Role, str],
    known_labels: Collection[str],
    groups: Sequence[str],
) -> Grid | None:
    """The grid of a CSV or Parquet with columns of these names; None where none of them is one of files.

    `groups`: see `IndexConfig.groups`.

    Raises as `tables.read`.
    """
    files, label, split, subject = (columns_of(names, role, chosen) for role in ("file", "label", "split", "subject"))
    if not files:
        return None
    of_groups = groups_of(names, groups).values()
    scores: list[str] = []
    votes = ferplus.vote_columns(names)
    if votes:
        label, split, scores = [], [], list(votes)  # Usage stands beside the votes, and counts rows of fer2013.csv
    elif not label and len(names) <= _MOST_SCORE_COLUMNS:
        taken = {*files, *split, *subject, *of_groups}
        scores = [name for name in dict.fromkeys(names) if name.strip() and name not in taken]
    maybe_split = [] if split or votes else named(names, _MAYBE_SPLIT_COLUMNS)
    roles = [*files, *label, *split[:1], *subject[:1], *of_groups]
    read_names = list(dict.fromkeys([*roles, *scores, *maybe_split]))
    rows = list(tables.read(archive, table, read_names))
    if votes:  # a row without a face has no name
        rows = [(number, row) for number, row in rows if row is None or any(row[: len(files)])]
    defects = {place: "has more cells than columns" for place, (_, row) in enumerate(rows) if row is None}
    blank = ("",) * len(read_names)
    cells = list(zip(*(blank if row is None else row for _, row in rows), strict=True)) or [()] * len(read_names)
    columns: dict[str, Sequence[str]] = dict(zip(read_names, cells, strict=True))
    split = split[:1] or [name for name in maybe_split if _are_splits(columns[name])]
    by_score = scored({name: columns[name] for name in scores}, known_labels)
    if by_score is not None:
        columns[_ONE_HOT] = by_score
        label = [_ONE_HOT]
    return Grid(
        table.name,
        table.name.rpartition("/")[0],
        (table.name,),
        columns,
        tuple(files),
        tuple(label),
        split[0] if split else None,
        subject[0] if subject else None,
        [number for number, _ in rows],
        defects,
        has_boxes=bool(named(names, BOX_COLUMNS)),
        has_ties=by_score is not None,
        vote_columns=votes,
    )


def _are_splits(cells: Sequence[str]) -> bool:
    """Whether cells are names of splits, of two at least."""
    names = split_names.SplitNames()
    ours = [names.ours(names.of(cell)) for cell in cells if cell]
    return None not in ours and len(set(ours)) > 1


def scored(columns: Mapping[str, Sequence[str]], known_labels: Collection[str]) -> list[str] | None:
    """Each row's label by the largest of its numbers in the columns of classes, several joined by TIED; "" by none.

    The classes are the columns of numbers that have the names of known labels, two at least, with others such as
    `unknown` that stand for none; or all columns of 0 and 1 if nearly every row has one 1. None without such columns.
    """
    numbers = {name: values for name, cells in columns.items() if (values := _numbers(cells)) is not None}
    known = [name for name in numbers if labels.normalised(name) in {*known_labels, *_NO_CLASS}]
    ones = [name for name, values in numbers.items() if set(values) <= {0.0, 1.0}]
    n_rows = len(next(iter(numbers.values()), ()))
    n_single = sum(sum(row) == 1 for row in zip(*(numbers[name] for name in ones), strict=True))
    if len(ones) > 1 and n_rows and n_single >= _MIN_ONES_SHARE * n_rows:
        classes = ones
    elif sum(labels.normalised(name) not in _NO_CLASS for name in known) > 1:
        classes = known
    else:
        return None
    return [_largest(row, classes) for row in zip(*(numbers[name] for name in classes), strict=True)]


def _largest(row: Sequence[float], classes: Sequence[str]) -> str:
    most = max(row)
    best = [name.strip() for name, number in zip(classes, row, strict=True) if number == most and most > 0]
    return TIED.join(name for name in best if labels.normalised(name) not in _NO_CLASS)


def _numbers(cells: Iterable[str]) -> list[float] | None:
    """The cells as numbers from 0 on, blank ones as 0; None where one is something else."""
    values = []
    for cell in cells:
        try:
            value = float(cell or 0)
        except ValueError:
            return None
        if not 0 <= value < math.inf:
            return None
        values.append(value)
    return values


def require_columns(found: Mapping[str, Sequence[str]], chosen: Mapping[Role, str]) -> None:
    """Raise ConfigError where no table of the source (name -> its columns) has a column that the recipe names."""
    for role, name in chosen.items():
        if not any(
            labels.normalised(name) == labels.normalised(column) for names in found.values() for column in names
        ):
            shown = [
                f"{plain_text.quoted(table)} has {', '.join(map(plain_text.quoted, names[:12]))}"
                for table, names in list(found.items())[:3]
            ]
            raise errors.ConfigError(
                "index.columns must name columns of a table in the source.",
                received=f"{name!r} as the column of {role}; {'; '.join(shown) or 'no table is there'}",
                todo="take the columns' names as the table has them; those of a list without names are 1, 2, ...",
            )


def columns_setting(grid: Grid) -> str:
    """The setting that says which of the grid's columns are those of files and labels, as a command takes it."""
    roles = {"file": grid.file_columns[0], "label": grid.label_columns[0]}
    text = json.dumps(roles, ensure_ascii=not "".join(roles.values()).isprintable())
    return f"--set {shlex.quote(f'index.columns={text}')}"
