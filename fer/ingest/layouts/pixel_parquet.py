"""Parquet files with the images inside, as data hubs write them.

The image is a struct `{bytes, path}` or bytes, numbers in lists, or text as in FER2013's CSV. Labels that are numbers
have names in the file's metadata: `huggingface`, `info.features.label.names`.
"""

import dataclasses
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fer.ingest import archives
from fer.ingest.layouts import label_grids, pixel_csv, tables
from fer.ingest.naming import labels, split_names
from fer.ingest.parquet import opening

_METADATA = b"huggingface"
_MOST_METADATA_BYTES = 1 << 20
_MOST_NAMES = 10_000
_BATCH_ROWS = 64  # of images, which may have MiB each
_NO_IMAGE = "the row holds no image"
_NO_PIXELS = "the row's pixels are no square or picture of numbers within 0-255"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns hold what; `image` is a path within the schema, and `names` the classes by their numbers."""

    label: str
    image: str
    usage: str | None
    is_text: bool  # pixels as text
    names: tuple[str, ...] = ()
    groups: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # of `IndexConfig.groups`: column, names of its values

    @property
    def is_fer2013(self) -> bool:
        """Whether the labels are FER2013's numbers."""
        return not self.names and labels.normalised(self.label) == "emotion"


def columns(
    archive: zipfile.ZipFile,
    table: archives.Member,
    chosen: Mapping[label_grids.Role, str],
    groups: Sequence[str] = (),
) -> Columns | None:
    """Where a Parquet file has labels and images; None where it has none.

    Raises SourceError where it can't be read as one, DamagedArchive for damaged bytes.
    """
    schema = opening.schema(archive, table)
    plain = [field.name for field in schema if tables.is_plain(field.type)]
    names = _class_names(schema.metadata or {})
    by_metadata = [name for name in plain if name in names]
    label = label_grids.columns_of(plain, "label", chosen)[:1] or by_metadata[:1]
    usage = label_grids.columns_of(plain, "split", chosen)[:1]
    if not label:
        return None
    image = _image(schema, chosen)
    if image is None:
        return None
    path, is_text = image
    of_groups = tuple(
        (group, column, names.get(column, ())) for group, column in label_grids.groups_of(plain, groups).items()
    )
    return Columns(label[0], path, usage[0] if usage else None, is_text, names.get(label[0], ()), of_groups)


def unlabelled(archive: zipfile.ZipFile, table: archives.Member) -> Columns | None:
    """Where a Parquet file has images, whatever else it has; None where it has none. Raises as `columns`."""
    image = _image(opening.schema(archive, table), {})
    return None if image is None else Columns("", image[0], None, image[1])


def pictures(
    path: Path, table: archives.Member, places: Columns, first: int, n_rows: int
) -> Iterator[tuple[str, bytes, str | None]]:
    """The paths, files and defects of the images in `n_rows` rows of `table` from number `first`, as of `read`.

    Of text the files are PGMs. Raises as `columns`.
    """
    with zipfile.ZipFile(path) as archive, opening.opened(archive, table, [], [places.image]) as file:
        starts = np.cumsum([0, *(file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups))])
        groups = [n for n in range(len(starts) - 1) if starts[n] < first + n_rows and starts[n + 1] > first]
        number = int(starts[groups[0]]) if groups else 0
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=[places.image], use_threads=False):
            for value in _values(batch, places.image):
                if first <= number < first + n_rows:
                    yield f"{table.name}#{number + 1}", *_file(value, places)
                number += 1
            if number >= first + n_rows:
                return


def _file(value: Any, places: Columns) -> tuple[bytes, str | None]:
    data, defect = _picture(value, places)
    if places.is_text and defect is None:
        try:
            return pixel_csv.as_pgm(data), None
        except pixel_csv.NoPixels as error:
            return data, str(error)
    return data, defect


def _image(schema: pa.Schema, chosen: Mapping[label_grids.Role, str]) -> tuple[str, bool] | None:
    """The path of the column of images, and whether it is text; files before numbers, and numbers before text."""
    fields = [field for field in schema if "pixels" not in chosen or field.name == chosen["pixels"]]
    for field in fields:
        if pa.types.is_struct(field.type) and "bytes" in (child.name for child in field.type):
            return f"{field.name}.bytes", False
    for field in fields:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return field.name, False
    texts = label_grids.columns_of([field.name for field in fields if tables.is_text(field.type)], "pixels", chosen)
    if texts:
        return texts[0], True
    for field in fields:
        if _is_list(field.type) and labels.normalised(field.name) in ("pixels", "pixel", "image", "img", "pixelvalues"):
            return field.name, False
    return None


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Column -> the names of its classes by number, from a file's metadata."""
    text = metadata.get(_METADATA, b"")
    if len(text) > _MOST_METADATA_BYTES:
        return {}
    try:
        features = json.loads(text)["info"]["features"]
        named = {
            name: feature["names"]
            for name, feature in features.items()
            if isinstance(feature, dict) and "names" in feature
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {
        column: tuple(str(name)[: tables.MAX_CELL_CHARS] for name in names)
        for column, names in named.items()
        if isinstance(names, list) and len(names) <= _MOST_NAMES
    }


def read(
    path: Path, table: archives.Member, places: Columns, splits: split_names.SplitNames
) -> Iterator[pixel_csv.Row]:
    """Stream the rows of `table` in the archive `path`. Raises as `columns`."""
    split_of_table = splits.of_table(table.name) or splits.of_folders(table.name)
    texts = [places.label] if places.usage is None else [places.label, places.usage]
    texts = list(dict.fromkeys([*texts, *(column for _, column, _ in places.groups)]))
    number = 0
    with (
        zipfile.ZipFile(path) as archive,
        opening.opened(archive, table, texts, [places.image]) as file,
    ):
        n_rows = max(file.metadata.num_rows, 1)
        for batch in file.iter_batches(_BATCH_ROWS, columns=[*texts, places.image], use_threads=False):
            raw_labels = tables.texts(batch.column(places.label), table)
            usages = tables.texts(batch.column(places.usage), table) if places.usage else [""] * len(raw_labels)
            groups = [
                (group, [_named(cell, names) for cell in tables.texts(batch.column(column), table)])
                for group, column, names in places.groups
            ]
            pictures = _values(batch, places.image)
            for place, (raw_label, usage, value) in enumerate(zip(raw_labels, usages, pictures, strict=True)):
                data, reason = _picture(value, places)
                label = _named(raw_label, places.names)
                split = splits.of(usage) or usage or None if places.usage else split_of_table
                yield pixel_csv.Row(
                    f"{table.name}#{number + 1}",
                    number,
                    label,
                    split,
                    data,
                    pixel_csv.n_numbers(data) if places.is_text else 0,
                    reason if label else labels.MISSING,
                    number * table.size_bytes // n_rows,
                    pixel_csv.groups_of_cells((group, cells[place]) for group, cells in groups),
                )
                number += 1


def _values(batch: pa.RecordBatch, image: str) -> Iterator[Any]:
    name, _, child = image.partition(".")
    column = batch.column(name)
    if child:
        column = column.field(child)
    return (value.as_py() for value in column)


def _named(raw_label: str, names: tuple[str, ...]) -> str:
    place = int(raw_label) if raw_label.isascii() and raw_label.isdigit() and len(raw_label) < 6 else len(names)
    return names[place] if place < len(names) else raw_label


def _picture(value: Any, places: Columns) -> tuple[bytes, str | None]:
    """An image's file, or its pixels as text, and why it is none."""
    if value is None:
        return b"", _NO_IMAGE
    if places.is_text:
        return pixel_csv.plain_text(str(value)), None
    if isinstance(value, bytes):
        return value, None
    try:
        return pixel_csv.as_pnm(np.array(value)), None
    except (ValueError, OverflowError):
        return b"", _NO_PIXELS
