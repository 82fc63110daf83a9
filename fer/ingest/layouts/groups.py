"""Groups of people or of conditions that columns of tables name: `IndexConfig.groups`."""

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from fer import errors, plain_text
from fer.ingest.layouts import class_folders, label_grids, label_tables
from fer.ingest.naming import split_names

_SHOWN_TABLES = 3
_SHOWN_COLUMNS = 12


class Named(NamedTuple):
    """Files with their groups, and the tables that name some."""

    files: tuple[class_folders.ImageFile, ...]
    grids: tuple[label_grids.Grid, ...]


def of_files(
    files: tuple[class_folders.ImageFile, ...],
    grids: Iterable[label_grids.Grid],
    groups: Sequence[str],
    splits: split_names.SplitNames,
) -> Named:
    """The files with the groups that the tables name of them; one with two of one column has none of it.

    Raises SourceError for a name in a table that fits several files.
    """
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    used = []
    for grid in grids:
        columns = label_grids.groups_of(list(grid.columns), groups)
        places = label_tables.named_files(grid, files, splits) if columns and not grid.guessed else []
        used += [grid] if places else []
        for place, path in places:
            for group, column in columns.items():
                if value := label_grids.known(grid.columns[column][place].strip()):
                    values[path][group].add(value)
    if not values:
        return Named(files, tuple(used))
    return Named(tuple(dataclasses.replace(file, groups=_certain(values[file.path])) for file in files), tuple(used))


def _certain(values: Mapping[str, Collection[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((group, next(iter(found))) for group, found in sorted(values.items()) if len(found) == 1)


def require_all(groups: Sequence[str], found: Collection[str], columns: Mapping[str, Sequence[str]]) -> None:
    """Raise ConfigError for one of the `groups` that is not `found`; `columns`: those of each table in the sources."""
    missing = [group for group in groups if group not in found]
    if missing:
        shown = [
            f"{plain_text.quoted(table)} has {', '.join(map(plain_text.quoted, names[:_SHOWN_COLUMNS]))}"
            for table, names in list(columns.items())[:_SHOWN_TABLES]
        ]
        raise errors.ConfigError(
            "index.groups must name columns of tables that name the images, or hold them.",
            received=f"{missing[0]!r}; {'; '.join(shown) or 'no table is there'}",
            todo="take the columns' names as the tables have them",
        )
