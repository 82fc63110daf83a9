"""Labels in JSON: a list of records or one record a line (JSON Lines), a mapping from files to labels, or COCO's form.

COCO has `images` (id, file_name), `annotations` (image_id, category_id) and `categories` (id, name).
"""

import json
import math
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fer.ingest import archives
from fer.ingest.layouts import class_folders, label_grids, tables

LINES = (".jsonl", ".ndjson")
SUFFIXES = (*LINES, ".json")
MOST_BYTES = 32 * 2**20  # of a document, which takes up to 25 times as much memory once it is read
_MOST_LINES_BYTES = 512 * 2**20
_MOST_LINE_BYTES = 1 << 20
_MOST_FIELDS = 64


def read(
    archive: zipfile.ZipFile, member: archives.Member, chosen: Mapping[label_grids.Role, str]
) -> label_grids.Grid | None:
    """The grid of a JSON file; None where it is too large, no JSON, or of no form with files in it.

    Raises SourceError for more rows or longer cells than a table may have, DamagedArchive for damaged bytes.
    """
    suffix = class_folders.suffix(member.name)
    most_bytes = _MOST_LINES_BYTES if suffix in LINES else MOST_BYTES
    if suffix not in SUFFIXES or member.size_bytes > most_bytes:
        return None
    try:
        records = list(
            _of_lines(archive, member) if suffix in LINES else _records(_parsed(archives.read(archive, member)))
        )
    except (ValueError, RecursionError):
        return None
    tables.require_few_rows(len(records), member)
    names = list(dict.fromkeys(name for record in records for name in record))[:_MOST_FIELDS]
    columns = {name: [record.get(name, "") for record in records] for name in names}
    if any(len(cell) > tables.MAX_CELL_CHARS for cells in columns.values() for cell in cells):
        raise tables.too_long(member)
    files, label, split, subject = (
        label_grids.columns_of(names, role, chosen) for role in ("file", "label", "split", "subject")
    )
    if not files:
        return None
    return label_grids.Grid(
        member.name,
        member.name.rpartition("/")[0],
        (member.name,),
        columns,
        tuple(files),
        tuple(label),
        split[0] if split else None,
        subject[0] if subject else None,
        range(1, len(records) + 1),
        has_boxes=bool(label_grids.named(names, label_grids.BOX_COLUMNS)),
    )


def _parsed(data: bytes) -> Any:
    return json.loads(data.decode("utf-8-sig"), parse_int=_short, parse_constant=lambda name: name)


def _short(digits: str) -> int | str:
    """A whole number; one of thousands of digits, which would take its time, stays text."""
    return int(digits) if len(digits) < 20 else digits[:20]


def _of_lines(archive: zipfile.ZipFile, member: archives.Member) -> Iterator[dict[str, str]]:
    with archives.damage(repr(member.name)):
        file = archive.open(member.name)
    with file:
        while True:
            with archives.damage(repr(member.name)):
                line = file.readline(_MOST_LINE_BYTES)
            if not line:
                return
            if line.strip():
                yield _record(_parsed(line))


def _records(document: Any) -> Iterator[dict[str, str]]:
    """The records of a document, whichever form it has."""
    if isinstance(document, list):
        yield from map(_record, document)
    elif isinstance(document, dict) and isinstance(document.get("images"), list) and "annotations" in document:
        yield from _of_coco(document)
    elif isinstance(document, dict):
        for name, value in document.items():
            if isinstance(value, dict):
                yield {"file": name} | _record(value)
            elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
                yield from ({"file": item.strip(), "label": name} for item in value)  # label -> files
            elif isinstance(value, list):
                yield from map(_record, value)
            else:
                yield {"file": name, "label": _cell(value)}


def _record(value: Any) -> dict[str, str]:
    """The fields of a record that are text or numbers, and those of what it holds, by their own names."""
    if not isinstance(value, dict):
        raise ValueError("no record")
    fields: dict[str, str] = {}
    for name, field in value.items():
        if isinstance(field, dict):
            fields = {inner: _cell(content) for inner, content in field.items() if _is_cell(content)} | fields
        elif _is_cell(field):
            fields[name] = _cell(field)
        elif isinstance(field, list) and len(field) == 1 and _is_cell(field[0]):
            fields[name] = _cell(field[0])
        elif isinstance(field, list):
            fields.setdefault(name, "") if name in label_grids.BOX_COLUMNS else None
    return fields


def _is_cell(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _of_coco(document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """A record for each annotation of an image, and one without a label for an image that has none."""
    names = {_key(category.get("id")): category.get("name", "") for category in _dicts(document.get("categories"))}
    labels_of: dict[str, list[str]] = defaultdict(list)
    for annotation in _dicts(document["annotations"]):
        category = annotation.get("category_id")
        labels_of[_key(annotation.get("image_id"))].append(_cell(names.get(_key(category), category)))
    for image in _dicts(document["images"]):
        for label in labels_of.get(_key(image.get("id")), [""]):
            yield {"file_name": _cell(image.get("file_name")), "label": label, "bbox": ""}


def _dicts(value: Any) -> Iterable[dict[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _key(value: Any) -> str:
    return str(value)[:64]
