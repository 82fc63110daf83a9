"""How a data set lies in its archive: class folders, a table of pixels, labels in tables, or labels in names.

See `class_folders`, `pixel_tables`, `label_forms`, `label_tables` and, for FERPlus, `ferplus`.
"""

import dataclasses
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Literal

from fer import errors, plain_text
from fer.images import headers
from fer.ingest import archives
from fer.ingest.layouts import (
    class_folders,
    ferplus,
    file_finder,
    groups,
    label_forms,
    label_grids,
    label_tables,
    other_files,
    pixel_csv,
    pixel_tables,
    split_lists,
    tables,
)
from fer.ingest.naming import label_advice, labels, path_patterns, split_names, text_encodings

CLASS_FOLDERS = "class folders"
FER2013_CSV = "fer2013 csv"
TABLE_OF_IMAGES = "table of images"
LABEL_TABLE = other_files.LABEL_TABLE
LABEL_PATTERN = "label pattern"
VOTES = other_files.VOTES
_LOOKED_INTO = 1_000  # files where none is an image by its name
_MOST_DIFFERING_SHARE = 0.05  # of the images that a folder and a table label
_NO_LABEL_BY_PATTERN = "index.label_pattern finds no label in its path"

LabelsFrom = Literal["most", "folders", "tables"]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a recipe says of how a source is to be read: see `IndexConfig`."""

    official: Mapping[str, split_names.Split] = dataclasses.field(default_factory=dict)
    columns: Mapping[label_grids.Role, str] = dataclasses.field(default_factory=dict)
    label_pattern: str | None = None
    labels_from: LabelsFrom = "most"
    wants_votes: bool = False
    groups: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Layout:
    """How an archive is laid out: `files` or `tables`, or neither where it holds FERPlus's votes alone.

    `splits` says which names stand for splits; `ignored`: kind of other file -> count; `hint` ends the error for labels
    that are not known; `notes` are for the report: what was chosen of several.
    """

    name: str
    splits: split_names.SplitNames
    files: tuple[class_folders.ImageFile, ...] = ()
    tables: tuple[pixel_tables.PixelTable, ...] = ()
    votes: ferplus.Votes | None = None
    ignored: Counter[str] = dataclasses.field(default_factory=Counter)
    hint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> set[str]:
        """The groups of `Reading.groups` that files or tables have."""
        of_tables = {group for table in self.tables for group in table.groups}
        return of_tables.union(group for file in self.files for group, _ in file.groups)


@dataclasses.dataclass(frozen=True)
class _Found:
    """What an archive holds: its files, images among them, and the tables with the names of their columns."""

    archive: zipfile.ZipFile
    members: Sequence[archives.Member]
    files: tuple[class_folders.ImageFile, ...]
    columns: Mapping[archives.Member, Sequence[str]]
    splits: split_names.SplitNames
    n_in_folders: int  # images in the folder of a known label


def detect(
    archive: zipfile.ZipFile, members: Sequence[archives.Member], decisions: labels.Decisions, reading: Reading
) -> Layout:
    """Detect the layout of these members of an archive from `archives.open_safe`; read its votes if they are wanted.

    Labels come from where most images have one: folders of known labels, tables of labels, or tables that hold images;
    of equals from tables of labels, then folders. With a pattern they come from the images' paths alone. In folders of
    known labels a file may be an image by its first bytes alone.
    Raises SourceError where there is nothing of these, where a table can't be read, and where folders win but tables
    say something else of more than a few images.
    """
    splits = split_names.SplitNames(
        reading.official,
        [member.name for member in members if class_folders.suffix(member.name) in class_folders.IMAGE_SUFFIXES],
        [member.name for member in members if tables.is_table(member) or split_lists.may_be(member)],
        decisions.known,
    )
    files = tuple(class_folders.image_file(member, splits) for member in _images(archive, members, decisions, splits))
    if not files:
        files = tuple(class_folders.image_file(member, splits) for member in _by_content(archive, members))
    n_in_folders = sum(_is_known(file, decisions) for file in files)
    columns, damaged = _columns_of(archive, members, reading)
    found = _Found(archive, members, files, columns, splits, n_in_folders)
    finder = label_forms.finder(members, splits)
    grids: list[label_grids.Grid] = []
    if files:
        grids = label_forms.find(archive, members, columns, reading.columns, decisions.known, finder, reading.groups)
        grids = split_lists.with_lists(archive, members, grids, finder, splits)
    if reading.label_pattern is not None:
        return _with_groups(_by_pattern(found, reading.label_pattern, grids), found, grids, reading)
    usable = [grid for grid in grids if grid.label_columns and not grid.guessed]
    labelled = _labelled(usable, found, finder, decisions)
    pixels = pixel_tables.find(archive, members, columns, reading.columns, reading.groups)
    if reading.columns and not pixels:
        by_name = {table.name: names for table, names in columns.items()} | {
            grid.name: [*grid.columns] for grid in grids
        }
        label_grids.require_columns(by_name, reading.columns)
    needed = [error for table, error in damaged.items() if not (pixels and _is_parquet(table))]
    if needed and not n_in_folders:
        raise needed[0]
    if sum(table.n_rows for table in pixels) > max(n_in_folders, labelled.n_named) or (pixels and not files):
        return _of_pixels(found, pixels, reading)
    if labelled.tables and _tables_win(labelled, found, decisions, reading):
        layout = _of_label_tables(labelled, grids, found, decisions)
        return _with_groups(_with_votes(layout, found, grids, reading), found, grids, reading)
    if n_in_folders:
        layout = _of_class_folders(found, grids, labelled, decisions, reading)
        return _with_groups(_with_votes(layout, found, grids, reading), found, grids, reading)
    vote_tables = [table for table, names in columns.items() if ferplus.is_votes(names)]
    if vote_tables and reading.wants_votes:
        votes = ferplus.read(archive, vote_tables[0], columns[vote_tables[0]])
        return Layout(VOTES, splits, votes=votes, ignored=_ignored(found, [vote_tables[0].name]))
    hint = label_forms.hint(archive, members, columns, [grid for grid in grids if not grid.vote_columns])
    if not files:
        raise other_files.no_images(members, hint, has_votes=bool(vote_tables))
    garbled = text_encodings.garbled(member.name for member in members)
    hints = [part for part in (hint, garbled, _pattern_hint(files, decisions)) if part]
    ignored = _ignored(found, [file.path for file in files])
    return Layout(CLASS_FOLDERS, splits, files, ignored=ignored, hint="; ".join(hints))


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


def _columns_of(
    archive: zipfile.ZipFile, members: Iterable[archives.Member], reading: Reading
) -> tuple[dict[archives.Member, tuple[str, ...]], dict[archives.Member, archives.DamagedArchive]]:
    """Table -> the names of its columns, and the errors of those that are damaged; one that can't be read is left out.

    A file of another suffix counts if it holds pixels.
    """
    columns = {}
    damaged = {}
    for member in members:
        try:
            if tables.is_table(member):
                columns[member] = tables.column_names(archive, member)
            elif class_folders.suffix(member.name) in pixel_csv.OTHER_SUFFIXES and pixel_csv.may_be(archive, member):
                names = tables.column_names(archive, member)
                if pixel_csv.columns(names, reading.columns) is not None:
                    columns[member] = names
        except archives.DamagedArchive as error:
            damaged[member] = error
        except errors.SourceError:
            continue
    return columns, damaged


def _is_parquet(member: archives.Member) -> bool:
    return class_folders.suffix(member.name) == ".parquet"


def _by_pattern(found: _Found, pattern: str, grids: Sequence[label_grids.Grid]) -> Layout:
    """Images with the labels that a pattern finds in their paths, and the splits that tables beside them say."""
    finder = path_patterns.PathPattern("index.label_pattern", pattern)
    files = []
    for file in found.files:
        label = finder.find(file.path)
        defect = _NO_LABEL_BY_PATTERN if label is None else None
        files.append(dataclasses.replace(file, raw_label=label, defect=defect))
    if all(file.raw_label is None for file in files):
        raise errors.ConfigError(
            "index.label_pattern must find labels in the images' paths.",
            received=f"none in {len(files):,} paths, e.g. {plain_text.quoted(files[0].path)}" if files else "no image",
            todo="correct the regular expression: its first group is the label",
        )
    joined, used = _with_splits(tuple(files), grids, found)
    ignored = _ignored(found, [file.path for file in joined] + [name for grid in used for name in grid.files])
    return Layout(LABEL_PATTERN, found.splits, joined, ignored=ignored)


def _labelled(
    grids: Sequence[label_grids.Grid], found: _Found, finder: file_finder.FileFinder, decisions: labels.Decisions
) -> label_tables.LabelledFiles:
    """The files by the tables of labels; by those of votes only where nothing else labels an image."""
    nothing = label_tables.LabelledFiles((), (), 0)
    for is_votes in (False, True):
        of_kind = [grid for grid in grids if bool(grid.vote_columns) == is_votes]
        if of_kind and not (is_votes and found.n_in_folders):
            try:
                labelled = label_tables.read(
                    of_kind, found.members, finder, decisions.known, decisions.meaning, found.splits
                )
            except errors.SourceError:
                if not found.n_in_folders:
                    raise
                return nothing  # folders label the images; what can't be joined can still say nothing else
            if labelled.tables:
                return labelled
    return nothing


def _tables_win(
    labelled: label_tables.LabelledFiles, found: _Found, decisions: labels.Decisions, reading: Reading
) -> bool:
    """Whether labels come from tables rather than from folders: who knows more images, or names far more."""
    if reading.labels_from != "most":
        return reading.labels_from == "tables"
    n_known = sum(file.member is not None and _is_known(file, decisions) for file in labelled.files)
    return n_known >= found.n_in_folders or labelled.n_named > 2 * found.n_in_folders


def _of_label_tables(
    labelled: label_tables.LabelledFiles,
    grids: Sequence[label_grids.Grid],
    found: _Found,
    decisions: labels.Decisions,
) -> Layout:
    """Images with the labels of tables, and the splits that these or other tables beside them say."""
    files, of_splits = _with_splits(labelled.files, [grid for grid in grids if not grid.label_columns], found)
    used = [name for grid in (*labelled.tables, *of_splits) for name in grid.files]
    used += [file.path for file in labelled.files if file.member is not None]
    ignored = _ignored(found, used)
    ignored["second row of a label table for the same file"] = labelled.n_repeated
    notes = [grid.note() for grid in labelled.tables if grid.note()]
    notes += _differences(labelled, found, decisions, "the table's label is taken")
    return Layout(LABEL_TABLE, found.splits, files, ignored=+ignored, notes=tuple(notes))


def _with_splits(
    files: tuple[class_folders.ImageFile, ...], grids: Sequence[label_grids.Grid], found: _Found
) -> tuple[tuple[class_folders.ImageFile, ...], tuple[label_grids.Grid, ...]]:
    """The files with the splits that those of the tables say which have some, and these tables."""
    with_splits = [
        grid for grid in grids if not grid.guessed and (grid.split_column or found.splits.of_table(grid.name))
    ]
    if not with_splits:
        return files, ()
    joined = label_tables.with_splits(files, with_splits, found.splits)
    return joined.files, joined.tables


def _of_class_folders(
    found: _Found,
    grids: Sequence[label_grids.Grid],
    labelled: label_tables.LabelledFiles,
    decisions: labels.Decisions,
    reading: Reading,
) -> Layout:
    """Images with the labels of their folders, and the splits that tables beside them say."""
    files, used = _with_splits(found.files, grids, found)
    notes = _differences(labelled, found, decisions, "the folder's label is taken")
    n_differing, n_both = _differing(labelled, found, decisions)
    if reading.labels_from == "most" and n_differing > _MOST_DIFFERING_SHARE * n_both:
        raise errors.LabelError(
            "Class folders and a table of labels must say the same of an image.",
            received=notes[0],
            todo="say which is right: --set index.labels_from=tables or --set index.labels_from=folders",
        )
    ignored = _ignored(found, [file.path for file in files] + [name for grid in used for name in grid.files])
    hints = [text_encodings.garbled(file.path for file in files)]
    if labelled.tables:
        hints.append(f"the labels in {_names(labelled)} are not used, as class folders label more images")
    hint = "; ".join(filter(None, hints))
    return Layout(CLASS_FOLDERS, found.splits, files, ignored=ignored, hint=hint, notes=tuple(notes))


def _differing(labelled: label_tables.LabelledFiles, found: _Found, decisions: labels.Decisions) -> tuple[int, int]:
    """For how many images a table and the folder name another class, and how many have one by both."""
    by_folder = {file.path: decisions.meaning(file.raw_label or "") for file in found.files}
    pairs = [(by_folder.get(file.path), decisions.meaning(file.raw_label or "")) for file in labelled.files]
    both = [pair for pair in pairs if None not in pair]
    return sum(one != other for one, other in both), len(both)


def _differences(
    labelled: label_tables.LabelledFiles, found: _Found, decisions: labels.Decisions, taken: str
) -> list[str]:
    """The note on images that are labelled twice and differently, if there are any; `taken` says which label is."""
    n_differing, n_both = _differing(labelled, found, decisions)
    if not n_differing:
        return []
    return [
        f"{n_differing:,} of {n_both:,} images have another class by {_names(labelled)} than by their folder: {taken}"
    ]


def _names(labelled: label_tables.LabelledFiles) -> str:
    more = f" and {len(labelled.tables) - 1:,} more" if len(labelled.tables) > 1 else ""
    return plain_text.quoted(labelled.tables[0].name) + more


def _pattern_hint(files: Sequence[class_folders.ImageFile], decisions: labels.Decisions) -> str:
    """What the error for images without a known label says of labels in their names."""
    if line := label_advice.pattern_line([file.path for file in files], decisions.meanings):
        return f"names of files or folders seem to say the label: {line}"
    return (
        f"if names of files or folders say the label, as {plain_text.quoted(files[0].path)} may, set "
        "index.label_pattern, a regular expression whose first group is the label"
    )


def _of_pixels(found: _Found, pixels: tuple[pixel_tables.PixelTable, ...], reading: Reading) -> Layout:
    vote_tables = [table for table, names in found.columns.items() if ferplus.is_votes(names)]
    beside = _beside(vote_tables, pixels[0].name) if reading.wants_votes and vote_tables else None
    votes = None if beside is None else ferplus.read(found.archive, beside, found.columns[beside])
    used = [name for table in pixels for name in table.files] + ([] if beside is None else [beside.name])
    name = FER2013_CSV if any(table.is_fer2013 for table in pixels) else TABLE_OF_IMAGES
    return Layout(name, found.splits, (), pixels, votes, _ignored(found, used))


def _beside(vote_tables: Sequence[archives.Member], table: str) -> archives.Member:
    """The votes in the folder of the table of pixels, or else the first."""
    folder = PurePosixPath(table).parent
    return next((votes for votes in vote_tables if PurePosixPath(votes.name).parent == folder), vote_tables[0])


def _with_votes(layout: Layout, found: _Found, grids: Sequence[label_grids.Grid], reading: Reading) -> Layout:
    """The layout with the votes that tables have of its files, if they are wanted."""
    with_votes = [grid for grid in grids if grid.vote_columns]
    if not reading.wants_votes or not with_votes:
        return layout
    counts: dict[str, tuple[int, ...]] = {}
    for grid in with_votes:
        counts |= label_tables.votes(grid, layout.files, found.splits)
    kept = _kinds(found, {name for grid in with_votes for name in grid.files})
    files = tuple(dataclasses.replace(file, votes=counts.get(file.path)) for file in layout.files)
    return dataclasses.replace(layout, files=files, ignored=layout.ignored - kept)


def _with_groups(layout: Layout, found: _Found, grids: Sequence[label_grids.Grid], reading: Reading) -> Layout:
    """The layout with the groups that tables name of its files."""
    named = groups.of_files(layout.files, grids, reading.groups, found.splits)
    of_labels = layout.name == LABEL_TABLE
    others = [grid for grid in named.grids if not (grid.split_column or (of_labels and grid.label_columns))]
    read = _kinds(found, {name for grid in others for name in grid.files})
    return dataclasses.replace(layout, files=named.files, ignored=layout.ignored - read)


def _ignored(found: _Found, used: Iterable[str]) -> Counter[str]:
    return _kinds(found, {member.name for member in found.members}.difference(used))


def _kinds(found: _Found, names: Collection[str]) -> Counter[str]:
    """What files of these names are, counted by kind."""
    return Counter(
        other_files.kind(member, found.columns.get(member, ())) for member in found.members if member.name in names
    )
