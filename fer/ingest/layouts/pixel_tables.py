"""Tables that hold the images themselves, whichever form they have: what each is, and its rows in a stream."""

import dataclasses
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fer.ingest import archives
from fer.ingest.layouts import class_folders, label_grids, pixel_arrays, pixel_csv, pixel_parquet
from fer.ingest.naming import split_names
from fer.ingest.parquet import opening

Row = pixel_csv.Row


@dataclasses.dataclass(frozen=True)
class PixelTable:
    """A table of images. `n_rows` is about how many it has; `is_encoded`: its images are files, not numbers."""

    member: archives.Member
    columns: pixel_csv.Columns | pixel_parquet.Columns | pixel_arrays.Columns
    n_rows: int
    is_encoded: bool = False

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.member.name

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that it is read from."""
        if isinstance(self.columns, pixel_arrays.Columns):
            return (self.name, self.columns.labels.member.name)
        return (self.name,)

    @property
    def size_bytes(self) -> int:
        """The size of its file."""
        return self.member.size_bytes

    @property
    def groups(self) -> tuple[str, ...]:
        """Those of `IndexConfig.groups` that it has a column of."""
        columns = self.columns
        return () if isinstance(columns, pixel_arrays.Columns) else tuple(group for group, *_ in columns.groups)

    @property
    def is_fer2013(self) -> bool:
        """Whether its labels are FER2013's numbers."""
        return self.columns.is_fer2013


def find(
    archive: zipfile.ZipFile,
    members: Sequence[archives.Member],
    columns: Mapping[archives.Member, Sequence[str]],
    chosen: Mapping[label_grids.Role, str],
    groups: Sequence[str] = (),
) -> tuple[PixelTable, ...]:
    """The tables among `columns` (table -> the names of its columns) and the arrays that hold images and their labels.

    Those with the split, if there are any, since the others then are parts of them.
    """
    found = [
        PixelTable(member, places, n_rows, is_encoded=True)
        for member, places, n_rows in pixel_arrays.find(archive, members)
    ]
    for table, names in columns.items():
        if class_folders.suffix(table.name) == ".parquet":
            of_parquet = pixel_parquet.columns(archive, table, chosen, groups)
            if of_parquet is not None:
                n_rows = opening.n_rows(archive, table)
                found.append(PixelTable(table, of_parquet, n_rows, is_encoded=not of_parquet.is_text))
            continue
        places = pixel_csv.columns(names, chosen, groups)
        if places is not None:
            found.append(PixelTable(table, places, pixel_csv.about_n_rows(archive, table)))
    return tuple(table for table in found if table.columns.usage is not None) or tuple(found)


def read(path: Path, table: PixelTable, splits: split_names.SplitNames) -> Iterator[Row]:
    """Stream the rows of a table in the archive `path`.

    Raises SourceError where it can't be read, DamagedArchive for damaged bytes.
    """
    if isinstance(table.columns, pixel_parquet.Columns):
        yield from pixel_parquet.read(path, table.member, table.columns, splits)
    elif isinstance(table.columns, pixel_arrays.Columns):
        yield from pixel_arrays.read(path, table.member, table.columns, splits)
    else:
        yield from pixel_csv.read(path, table.member, table.columns, splits)
