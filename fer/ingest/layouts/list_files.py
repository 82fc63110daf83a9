"""Lists of labels as research sets have them: one line an image, its name and its label, often without a header.

`train_00001.jpg 5`, `0.jpg,happy`, `a.jpg 0 10 12 90 95 55.2 3` with a face's box before the label. Cells are divided
by commas, semicolons, tabs or blanks. Columns of a list without a header are called 1, 2, ... That of files is the one
that names most of them; that of labels is the one with most known labels, or else the last of few different values.
"""

import csv
import functools
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from fer.ingest import archives
from fer.ingest.layouts import class_folders, ferplus, file_finder, label_grids, tables
from fer.ingest.naming import labels

SUFFIXES = ("", ".txt", ".lst", ".list", ".dat", ".data", ".csv", ".tsv")
_MOST_BYTES = 256 * 2**20
_START_BYTES = 16_384
_SAMPLE_LINES = 100
_MOST_COLUMNS = 64
_MOST_LABELS = 100  # different values in a column of labels; none has more classes
_FERPLUS_NAME = re.compile(r"(?:.*/)?fer[0-9]{7}\.png")
_Finds = Callable[[Collection[str]], int]  # for how many of some names there is a file
_BLANKS, _LAST_BLANK, _FIRST_BLANK = "blanks", "last blank", "first blank"  # the last two for names with blanks


def read(
    archive: zipfile.ZipFile,
    member: archives.Member,
    chosen: Mapping[label_grids.Role, str],
    known_labels: Collection[str],
    finder: file_finder.FileFinder,
) -> label_grids.Grid | None:
    """The grid of a list of labels; None where the file is none.

    Raises SourceError for a longer list or longer cells than a table may have, DamagedArchive for damaged bytes.
    """
    if class_folders.suffix(member.name) not in SUFFIXES or not 0 < member.size_bytes <= _MOST_BYTES:
        return None
    start = archives.read_start(archive, member, _START_BYTES)
    whole_lines = start if len(start) < _START_BYTES else start[: max(start.rfind(b"\n"), start.rfind(b"\r")) + 1]
    encoding = tables.encoding_of(archive, member) or "utf-8-sig"
    sample = _lines(whole_lines, encoding)[:_SAMPLE_LINES]
    if not sample or "\0" in sample[0]:
        return None
    delimiter = _delimiter(sample)
    if delimiter is None:
        return None
    rows = _rows(sample, delimiter)
    n_columns = Counter(map(len, rows)).most_common(1)[0][0]
    n_found = functools.partial(finder.n_found, member.name.rpartition("/")[0])
    has_header = not _names_files(rows[0], n_found) and len(rows) > 1
    if not 2 <= n_columns <= _MOST_COLUMNS or not _file_columns(rows[has_header:], n_columns, n_found, has_header):
        return None
    rows = _rows(_lines(archives.read(archive, member), encoding), delimiter)
    tables.require_few_rows(len(rows), member)
    if any(len(cell) > tables.MAX_CELL_CHARS for row in rows for cell in row):
        raise tables.too_long(member)
    names = tuple(rows[0]) if has_header else tuple(str(n + 1) for n in range(n_columns))
    if len(set(names)) < len(names):
        return None
    return _grid(member, rows[has_header:], names, has_header, chosen, known_labels, n_found)


def _grid(
    member: archives.Member,
    rows: Sequence[list[str]],
    names: tuple[str, ...],
    has_header: bool,
    chosen: Mapping[label_grids.Role, str],
    known_labels: Collection[str],
    n_found: _Finds,
) -> label_grids.Grid:
    """The grid of a list's rows, without its header."""
    n_columns = len(names)
    padded = [row[:n_columns] + [""] * (n_columns - len(row)) for row in rows]
    columns: dict[str, Sequence[str]] = {name: [row[place] for row in padded] for place, name in enumerate(names)}
    guessed: dict[label_grids.Role, str] = {}
    file = label_grids.columns_of(names, "file", chosen)[:1]
    if not file:
        places = _file_columns(padded[:_SAMPLE_LINES], n_columns, n_found, has_header)
        file = [next((names[place] for place in places if names[place]), names[places[0]])]
        guessed["file"] = file[0]
    label = label_grids.columns_of(names, "label", chosen)
    rest = {name: cells for name, cells in columns.items() if name not in file}
    votes = () if label else _votes(rest, columns[file[0]])
    if votes:
        numbers = dict(zip(ferplus.CATEGORIES, (columns[name] for name in votes), strict=True))
        columns["votes"], label = label_grids.scored(numbers, ferplus.CATEGORIES) or [], ["votes"]
    if not label and (label := _label_column(rest, known_labels, only_known=has_header)):
        guessed["label"] = label[0]
    split, subject = (
        label_grids.columns_of(names, role, chosen) if has_header or role in chosen else []
        for role in ("split", "subject")
    )
    return label_grids.Grid(
        member.name,
        member.name.rpartition("/")[0],
        (member.name,),
        columns,
        tuple(file),
        tuple(label),
        split[0] if split else None,
        subject[0] if subject else None,
        range(1, len(rows) + 1),
        {place: "has more cells than columns" for place, row in enumerate(rows) if any(row[n_columns:])},
        has_boxes=n_columns > 5 and not votes and _has_boxes(rest),
        has_header=has_header,
        has_ties=bool(votes),
        vote_columns=votes,
        guessed={role: column for role, column in guessed.items() if has_header},
    )


def _lines(data: bytes, encoding: str) -> list[str]:
    text = data.decode(encoding, errors="replace")
    return [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]


def _delimiter(sample: Sequence[str]) -> str | None:
    """What divides the lines into the same number of cells, two or more, in nearly all of them."""
    for delimiter in ("\t", ",", ";", _BLANKS, _LAST_BLANK, _FIRST_BLANK):
        n_cells = Counter(map(len, _rows(sample, delimiter))).most_common(1)[0]
        if n_cells[0] > 1 and n_cells[1] >= 0.9 * len(sample):
            return delimiter
    return None


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == _BLANKS:
        return [line.split() for line in lines]
    if delimiter in (_LAST_BLANK, _FIRST_BLANK):
        return [line.rsplit(None, 1) if delimiter == _LAST_BLANK else line.split(None, 1) for line in lines]
    try:
        return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
    except csv.Error:  # a cell beyond csv's limit
        return [[cell.strip() for cell in line.split(delimiter)] for line in lines]


def _names_files(row: Sequence[str], n_found: _Finds) -> bool:
    return any(class_folders.suffix(cell) in class_folders.IMAGE_SUFFIXES for cell in row) or (
        not any(labels.normalised(cell) in label_grids.FILE_COLUMNS for cell in row) and n_found(row) > 0
    )


def _file_columns(rows: Sequence[list[str]], n_columns: int, n_found: _Finds, with_numbers: bool) -> list[int]:
    """The columns, by how many files they name, that name one in most of these rows.

    Numbers alone may count rows: they are only taken `with_numbers`, where what comes of it is proposed.
    """
    found = []
    for place in range(n_columns):
        cells = [row[place] for row in rows if place < len(row)]
        is_named = with_numbers or not all(map(labels.is_number, cells))
        if cells and is_named and (n := n_found(cells)) * 2 >= len(cells):
            found.append((-n, place))
    return [place for _, place in sorted(found)]


def _label_column(
    columns: Mapping[str, Sequence[str]], known_labels: Collection[str], *, only_known: bool
) -> list[str]:
    """The column of labels: of most known ones, or else of text, or else the last; each with few different values."""
    candidates = []
    for place, (name, cells) in enumerate(columns.items()):
        distinct = set(cells) - {""}
        n_known = sum(labels.normalised(cell) in known_labels for cell in cells)
        if not 0 < len(distinct) <= _MOST_LABELS or (only_known and not n_known):
            continue
        is_text = not any(_is_numeric(value) for value in distinct)
        is_whole = all(labels.is_number(value) for value in distinct)
        candidates.append((n_known, is_text, is_whole, place, name))
    return [max(candidates)[-1]] if candidates else []


def _is_numeric(cell: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?", cell) is not None


def _has_boxes(columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether four or more columns hold numbers of many values, as the edges of boxes are."""
    return sum(all(_is_numeric(cell) for cell in cells[:_SAMPLE_LINES]) for cells in columns.values()) >= 4


def _votes(columns: Mapping[str, Sequence[str]], files: Sequence[str]) -> tuple[str, ...]:
    """The columns of FERPlus's ten votes, which end the rows of a list of its images; none where these are not."""
    last = tuple(columns)[-len(ferplus.CATEGORIES) :]
    is_ferplus = len(last) == len(ferplus.CATEGORIES) and all(map(_FERPLUS_NAME.fullmatch, files[:_SAMPLE_LINES]))
    return last if is_ferplus and all(map(labels.is_number, (cell for name in last for cell in columns[name]))) else ()
