"""How a data set lies in its archive: class folders, the CSV of FER2013, or a table of labels beside images.

See `class_folders`, `pixel_csv`, `label_tables` and, for FERPlus, `ferplus`.
"""

import dataclasses
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from fer import errors
from fer.images import headers
from fer.ingest import archives, labels
from fer.ingest.layouts import class_folders, ferplus, label_tables, pixel_csv, tables

CLASS_FOLDERS = "class folders"
FER2013_CSV = "fer2013 csv"
LABEL_TABLE = "label table"
VOTES = "FERPlus votes"
_MAX_SUFFIX_CHARS = 16  # of one that is counted by itself
_NESTED = re.compile(r"(\.tar)?\.(zip|tar|t?gz|tgz|bz2|xz|zst|7z|rar)")


@dataclasses.dataclass(frozen=True)
class Layout:
    """What `find` made of an archive: `files` or `tables`, or neither where it holds FERPlus's votes alone.

    `ignored` counts, by kind, what else there is; `hint` is what to say where no label is known.
    """

    name: str
    files: tuple[class_folders.ImageFile, ...] = ()
    tables: tuple[archives.Member, ...] = ()
    cast: ferplus.Votes | None = None
    ignored: Counter[str] = dataclasses.field(default_factory=Counter)
    hint: str = ""


def find(archive: zipfile.ZipFile, decisions: labels.Decisions, *, wants_votes: bool = False) -> Layout:
    """Tell the layout of an archive from `archives.open_safe`; read its votes if they are wanted.

    Class folders, if there are images and one of their folders is a known label, with the splits that tables beside
    them say; else the CSVs, if some hold pixels; else images with the labels that tables give them; else whatever
    images there are. In folders of known labels a file may be an image by its first bytes alone.
    Raises SourceError where there is nothing of these, and where a table can't be read.
    """
    members = archives.list_members(archive)
    files = tuple(map(class_folders.image_file, _images(archive, members, decisions)))
    images = [each.path for each in files]
    if any(_is_known(each, decisions) for each in files):
        return _class_folders(archive, members, files)
    columns = _csv_columns(archive, members, must_be_whole=True)
    cast = [each for each, names in columns.items() if ferplus.is_votes(names)]
    if found := _pixel_tables(columns):
        beside = _beside(cast, found[0]) if wants_votes and cast else None
        read = None if beside is None else ferplus.read(archive, beside, columns[beside])
        used = [each.name for each in (*found, beside) if each is not None]
        return Layout(FER2013_CSV, (), found, read, _ignored(members, used, columns))
    if files:
        columns |= _columns_of(archive, filter(_is_parquet, members), must_be_whole=True)
        labelled = _labelled(archive, members, columns, decisions)
        if labelled.tables:
            used = [each.name for each in labelled.tables] + [each.path for each in labelled.files if each.member]
            ignored = _ignored(members, used, columns)
            ignored["second row of a label table for the same file"] = labelled.n_repeated
            return Layout(LABEL_TABLE, labelled.files, ignored=+ignored)
    if cast and wants_votes:
        read = ferplus.read(archive, cast[0], columns[cast[0]])
        return Layout(VOTES, cast=read, ignored=_ignored(members, [cast[0].name], columns))
    if not files:
        raise _nothing(members, bool(cast))
    return Layout(CLASS_FOLDERS, files, ignored=_ignored(members, images, columns), hint=_hint(columns))


def _images(
    archive: zipfile.ZipFile, members: Iterable[archives.Member], decisions: labels.Decisions
) -> Iterator[archives.Member]:
    """The files that are images by their suffix, or by how they begin where they lie in the folder of a known label."""
    for each in members:
        if class_folders.suffix(each.name) in class_folders.IMAGE_SUFFIXES:
            yield each
        elif not tables.is_table(each) and _is_known(class_folders.image_file(each), decisions):
            start = archives.read_start(archive, each, headers.START_BYTES)
            if headers.is_start_of_image(start):
                yield each


def _is_known(file: class_folders.ImageFile, decisions: labels.Decisions) -> bool:
    return labels.normalised(file.raw_label or "") in decisions.known


def _class_folders(
    archive: zipfile.ZipFile, members: Sequence[archives.Member], files: tuple[class_folders.ImageFile, ...]
) -> Layout:
    columns = _csv_columns(archive, members) | _columns_of(archive, filter(_is_parquet, members))
    with_splits = {each: names for each, names in columns.items() if label_tables.has_splits(each, names)}
    used: tuple[archives.Member, ...] = ()
    if with_splits:
        said = label_tables.with_splits(archive, files, with_splits)
        files, used = said.files, said.tables
    ignored = _ignored(members, [each.path for each in files] + [each.name for each in used], columns)
    unused = next((each for each, names in columns.items() if label_tables.is_label_table(names)), None)
    hint = "" if unused is None else f"; the labels in {unused.name!r} are not used, as a folder is named like a class"
    return Layout(CLASS_FOLDERS, files, ignored=ignored, hint=hint)


def _csv_columns(
    archive: zipfile.ZipFile, members: Iterable[archives.Member], *, must_be_whole: bool = False
) -> dict[archives.Member, tuple[str, ...]]:
    return _columns_of(
        archive,
        (each for each in members if tables.is_table(each) and not _is_parquet(each)),
        must_be_whole=must_be_whole,
    )


def _columns_of(
    archive: zipfile.ZipFile, found: Iterable[archives.Member], *, must_be_whole: bool = False
) -> dict[archives.Member, tuple[str, ...]]:
    """The columns of each of the tables; what can't be read as one counts as a file like any.

    With `must_be_whole`, DamagedArchive is raised for damaged bytes.
    """
    columns = {}
    for member in found:
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
    found = [each for each, names in columns.items() if pixel_csv.is_pixel_table(names)]
    return tuple(each for each in found if pixel_csv.has_split(columns[each])) or tuple(found)


def _beside(cast: Sequence[archives.Member], table: archives.Member) -> archives.Member:
    """The votes in the folder of the table of pixels, or else the first."""
    folder = PurePosixPath(table.name).parent
    return next((each for each in cast if PurePosixPath(each.name).parent == folder), cast[0])


def _labelled(
    archive: zipfile.ZipFile,
    members: Iterable[archives.Member],
    columns: Mapping[archives.Member, Sequence[str]],
    decisions: labels.Decisions,
) -> label_tables.Labelled:
    candidates = {each: names for each, names in columns.items() if label_tables.is_label_table(names)}
    return label_tables.read(archive, members, candidates, decisions.known, decisions.meaning)


def _ignored(
    members: Iterable[archives.Member], used: Iterable[str], columns: Mapping[archives.Member, Sequence[str]]
) -> Counter[str]:
    names = set(used)
    return Counter(_kind(each, columns.get(each, ())) for each in members if each.name not in names)


def _kind(member: archives.Member, columns: Sequence[str] = ()) -> str:
    if ferplus.is_votes(columns):
        return VOTES
    if label_tables.is_label_table(columns):
        return LABEL_TABLE
    nested = _NESTED.search(PurePosixPath(member.name).name.lower())
    if nested and nested.end() == len(PurePosixPath(member.name).name):
        return f"nested archive ({nested[0]})"
    suffix = class_folders.suffix(member.name) or "no suffix"
    return suffix if len(suffix) <= _MAX_SUFFIX_CHARS else f"{suffix[:_MAX_SUFFIX_CHARS]}..."


def _hint(columns: Mapping[archives.Member, Sequence[str]]) -> str:
    """What to say of the tables beside images without a known label."""
    for table, names in columns.items():
        if label_tables.is_label_table(names):
            return f"; the table {table.name!r} names no file of the source"
    for table, names in columns.items():
        return (
            f"; the table {table.name!r} has the columns {', '.join(map(archives.shown, names[:12]))}: for its labels "
            "to be used, it must have one of files (named file, path, image or the like) and one of labels (label, "
            "emotion or the like)"
        )
    return ""


def _nothing(members: Sequence[archives.Member], has_votes: bool) -> errors.SourceError:
    kinds = Counter(map(_kind, members))
    shown = ", ".join(f"{kind}: {count:,}" for kind, count in kinds.most_common(5))
    todo = f"give a source of {', '.join(sorted(each[1:] for each in class_folders.IMAGE_SUFFIXES))} files"
    if has_votes:
        todo = "set index.votes to soft or majority, and give FER2013's fer2013.csv as well"
    elif any(each.startswith("nested archive") for each in kinds):
        todo = "unpack the archive inside the source, and give what was in it"
    return errors.SourceError(
        "The source must hold images in class folders or with a table of labels, or a CSV with the columns emotion and "
        "pixels.",
        received=f"{len(members):,} files, none an image ({shown})",
        todo=todo,
    )
