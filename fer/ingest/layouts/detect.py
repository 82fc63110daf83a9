"""How a data set lies in its archive: class folders, the CSV of FER2013, or a table of labels beside images.

See `class_folders`, `pixel_csv`, `label_tables` and, for FERPlus, `ferplus`.
"""

import dataclasses
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath

from fer import errors
from fer.images import headers
from fer.ingest import archives, labels, split_names, text_encodings
from fer.ingest.layouts import class_folders, ferplus, label_tables, pixel_csv, tables

CLASS_FOLDERS = "class folders"
FER2013_CSV = "fer2013 csv"
LABEL_TABLE = "label table"
VOTES = "FERPlus votes"
NESTED = "nested archive"
_LOOKED_INTO = 1_000  # files where none is an image by its name
_MAX_SUFFIX_CHARS = 16  # of one that is counted by itself
_NESTED = re.compile(r"(\.tar)?\.(zip|tar|t?gz|tgz|bz2|xz|zst|7z|rar)")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How an archive is laid out: `files` or `tables`, or neither where it holds FERPlus's votes alone.

    `splits` says which names stand for splits; `ignored`: kind of other file -> count; `hint` ends the error for labels
    that are not known.
    """

    name: str
    splits: split_names.SplitNames
    files: tuple[class_folders.ImageFile, ...] = ()
    tables: tuple[archives.Member, ...] = ()
    votes: ferplus.Votes | None = None
    ignored: Counter[str] = dataclasses.field(default_factory=Counter)
    hint: str = ""


def detect(
    archive: zipfile.ZipFile,
    members: Sequence[archives.Member],
    decisions: labels.Decisions,
    official: Mapping[str, split_names.Split],
    *,
    wants_votes: bool = False,
) -> Layout:
    """Detect the layout of these members of an archive from `archives.open_safe`; read its votes if they are wanted.

    `official` are the names of splits that the user declares.

    Class folders, if there are images and one of their folders is a known label, with the splits that tables beside
    them say; else the CSVs, if some hold pixels; else images with the labels that tables give them; else whatever
    images there are. In folders of known labels a file may be an image by its first bytes alone.
    Raises SourceError where there is nothing of these, and where a table can't be read.
    """
    splits = split_names.SplitNames(
        official,
        [member.name for member in members if class_folders.suffix(member.name) in class_folders.IMAGE_SUFFIXES],
        [member.name for member in members if tables.is_table(member)],
        decisions.known,
    )
    files = tuple(class_folders.image_file(member, splits) for member in _images(archive, members, decisions, splits))
    if not files:
        files = tuple(class_folders.image_file(member, splits) for member in _by_content(archive, members))
    images = [file.path for file in files]
    if any(_is_known(file, decisions) for file in files):
        return _class_folders(archive, members, files, splits)
    columns = _csv_columns(archive, members, must_be_whole=True)
    vote_tables = [table for table, names in columns.items() if ferplus.is_votes(names)]
    if pixel_tables := _pixel_tables(columns):
        beside = _beside(vote_tables, pixel_tables[0]) if wants_votes and vote_tables else None
        votes = None if beside is None else ferplus.read(archive, beside, columns[beside])
        used = [table.name for table in (*pixel_tables, beside) if table is not None]
        return Layout(FER2013_CSV, splits, (), pixel_tables, votes, _ignored(members, used, columns))
    if files:
        columns |= _columns_of(archive, filter(_is_parquet, members), must_be_whole=True)
        labelled = _labelled(archive, members, columns, decisions, splits)
        if labelled.tables:
            used = [table.name for table in labelled.tables] + [file.path for file in labelled.files if file.member]
            ignored = _ignored(members, used, columns)
            ignored["second row of a label table for the same file"] = labelled.n_repeated
            return Layout(LABEL_TABLE, splits, labelled.files, ignored=+ignored)
    if vote_tables and wants_votes:
        votes = ferplus.read(archive, vote_tables[0], columns[vote_tables[0]])
        return Layout(VOTES, splits, votes=votes, ignored=_ignored(members, [vote_tables[0].name], columns))
    if not files:
        raise _no_images(members, has_votes=bool(vote_tables))
    hint = _hint(columns) + _hint_of_names(member.name for member in members)
    return Layout(CLASS_FOLDERS, splits, files, ignored=_ignored(members, images, columns), hint=hint)


def _images(
    archive: zipfile.ZipFile,
    members: Iterable[archives.Member],
    decisions: labels.Decisions,
    splits: split_names.SplitNames,
) -> Iterator[archives.Member]:
    """The files that are images by their suffix, or by how they begin where they lie in the folder of a known label."""
    for member in members:
        if class_folders.suffix(member.name) in class_folders.IMAGE_SUFFIXES:
            yield member
        elif not tables.is_table(member) and _is_known(class_folders.image_file(member, splits), decisions):
            start = archives.read_start(archive, member, headers.START_BYTES)
            if headers.is_start_of_image(start):
                yield member


def _by_content(archive: zipfile.ZipFile, members: Iterable[archives.Member]) -> Iterator[archives.Member]:
    """Of the first files that are no tables, those that are images by how they begin."""
    for member in islice((member for member in members if not tables.is_table(member)), _LOOKED_INTO):
        if headers.is_start_of_image(archives.read_start(archive, member, headers.START_BYTES)):
            yield member


def _is_known(file: class_folders.ImageFile, decisions: labels.Decisions) -> bool:
    return labels.normalised(file.raw_label or "") in decisions.known


def _class_folders(
    archive: zipfile.ZipFile,
    members: Sequence[archives.Member],
    files: tuple[class_folders.ImageFile, ...],
    splits: split_names.SplitNames,
) -> Layout:
    columns = _csv_columns(archive, members) | _columns_of(archive, filter(_is_parquet, members))
    with_splits = {table: names for table, names in columns.items() if label_tables.has_splits(table, names, splits)}
    used: tuple[archives.Member, ...] = ()
    if with_splits:
        labelled = label_tables.with_splits(archive, files, with_splits, splits)
        files, used = labelled.files, labelled.tables
    ignored = _ignored(members, [file.path for file in files] + [table.name for table in used], columns)
    unused = next((table for table, names in columns.items() if label_tables.is_label_table(names)), None)
    hint = "" if unused is None else f"; the labels in {unused.name!r} are not used, as a folder is named like a class"
    hint += _hint_of_names(file.path for file in files)
    return Layout(CLASS_FOLDERS, splits, files, ignored=ignored, hint=hint)


def _csv_columns(
    archive: zipfile.ZipFile, members: Iterable[archives.Member], *, must_be_whole: bool = False
) -> dict[archives.Member, tuple[str, ...]]:
    return _columns_of(
        archive,
        (member for member in members if tables.is_table(member) and not _is_parquet(member)),
        must_be_whole=must_be_whole,
    )


def _columns_of(
    archive: zipfile.ZipFile, candidates: Iterable[archives.Member], *, must_be_whole: bool = False
) -> dict[archives.Member, tuple[str, ...]]:
    """Table -> the names of its columns; a file that can't be read as a table is left out.

    With `must_be_whole`, DamagedArchive is raised for damaged bytes.
    """
    columns = {}
    for member in candidates:
        try:
            columns[member] = tables.column_names(archive, member)
        except errors.SourceError as error:
            if must_be_whole and isinstance(error, archives.DamagedArchive):
                raise
    return columns


def _is_parquet(member: archives.Member) -> bool:
    return class_folders.suffix(member.name) == ".parquet"


def _pixel_tables(columns: Mapping[archives.Member, Sequence[str]]) -> tuple[archives.Member, ...]:
    """The CSVs with pixels: those with the split, if there are any, since the others then are parts of them."""
    candidates = [table for table, names in columns.items() if pixel_csv.is_pixel_table(names)]
    return tuple(table for table in candidates if pixel_csv.has_split(columns[table])) or tuple(candidates)


def _beside(vote_tables: Sequence[archives.Member], table: archives.Member) -> archives.Member:
    """The votes in the folder of the table of pixels, or else the first."""
    folder = PurePosixPath(table.name).parent
    return next((votes for votes in vote_tables if PurePosixPath(votes.name).parent == folder), vote_tables[0])


def _labelled(
    archive: zipfile.ZipFile,
    members: Iterable[archives.Member],
    columns: Mapping[archives.Member, Sequence[str]],
    decisions: labels.Decisions,
    splits: split_names.SplitNames,
) -> label_tables.LabelledFiles:
    candidates = {table: names for table, names in columns.items() if label_tables.is_label_table(names)}
    return label_tables.read(archive, members, candidates, decisions.known, decisions.meaning, splits)


def _ignored(
    members: Iterable[archives.Member], used: Iterable[str], columns: Mapping[archives.Member, Sequence[str]]
) -> Counter[str]:
    names = set(used)
    return Counter(_kind(member, columns.get(member, ())) for member in members if member.name not in names)


def _kind(member: archives.Member, columns: Sequence[str] = ()) -> str:
    if ferplus.is_votes(columns):
        return VOTES
    if label_tables.is_label_table(columns):
        return LABEL_TABLE
    nested = _NESTED.search(PurePosixPath(member.name).name.lower())
    if nested and nested.end() == len(PurePosixPath(member.name).name):
        return f"{NESTED} ({nested[0]})"
    suffix = class_folders.suffix(member.name) or "no suffix"
    return suffix if len(suffix) <= _MAX_SUFFIX_CHARS else f"{suffix[:_MAX_SUFFIX_CHARS]}..."


def _hint(columns: Mapping[archives.Member, Sequence[str]]) -> str:
    """What the error for images without a known label says of the tables beside them."""
    for table, names in columns.items():
        if label_tables.is_label_table(names):
            return f"; the table {table.name!r} names no file of the source"
    for table, names in columns.items():
        return (
            f"; the table {table.name!r} has the columns {', '.join(map(archives.quoted, names[:12]))}: for its labels "
            "to be used, it must have one of files (named file, path, image or the like) and one of labels (label, "
            "emotion or the like)"
        )
    return ""


def _hint_of_names(names: Iterable[str]) -> str:
    garbled = text_encodings.garbled(names)
    return "" if garbled is None else f"; {garbled}"


def _no_images(members: Sequence[archives.Member], *, has_votes: bool) -> errors.SourceError:
    kinds = Counter(map(_kind, members))
    shown = ", ".join(f"{kind}: {count:,}" for kind, count in kinds.most_common(5))
    todo = f"give a source of {', '.join(sorted(suffix[1:] for suffix in class_folders.READ_SUFFIXES))} files"
    if has_votes:
        todo = "set index.votes to soft or majority, and give FER2013's fer2013.csv as well"
    elif any(kind.startswith(NESTED) for kind in kinds):
        names = [archives.quoted(member.name) for member in members if _kind(member).startswith(NESTED)]
        todo = f"unpack the archive inside the source ({', '.join(names[:3])}), and give the folder of what was in it"
    return errors.SourceError(
        "The source must hold images in class folders or with a table of labels, or a CSV with the columns emotion and "
        "pixels.",
        received=f"{len(members):,} files, none an image ({shown})",
        todo=todo,
    )
