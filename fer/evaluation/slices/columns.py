"""What divides the images of an evaluation into groups, from what earlier stages know of each of them.

Of a measured property the lowest and the highest fifth of these images are slices; of an issue that curation found, of
a source, a subject or a group that tables or paths name, the images that have it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import curation as curation_contract
from data_contracts import files
from fer import errors
from fer.evaluation.slices.config import SlicesConfig
from fer.ingest.naming import path_patterns

Kind = Literal["property", "issue", "source", "subject", "group"]
_FIFTH = 0.2
_MOST_NUMBERS = 10  # different ones; a column with more, such as ages, is divided
_PROPERTIES = {  # name -> what the lowest and the highest fifth are called, and the format of the bounds
    "brightness": ("dark", "bright", "{:.0f}"),
    "contrast": ("low contrast", "high contrast", "{:.0f}"),
    "sharpness": ("blurred", "sharp", "{:.2f}"),
    "side in pixels": ("small", "large", "{:.0f}"),
    "face detector's score": ("unclear face", "clear face", "{:.2f}"),
}


class Column(NamedTuple):
    """A division of N images: `groups` (N,) object names the group of each, None where it is not known.

    `slices` are the groups that are looked at; the others are only what these are compared with.
    """

    name: str
    kind: Kind
    groups: np.ndarray
    slices: tuple[str, ...]


def read(
    image_ids: Sequence[str], validation: Path, inspection: Path, curation: Path, config: SlicesConfig
) -> tuple[list[Column], list[str]]:
    """The columns of these images, from the folders of three stages; and sentences on what divides none.

    Raises ConfigError for a pattern that takes too long, IntegrityError if an image is unknown to the stages.
    """
    names = ["image_id", "source", "path", "subject", "groups", "width", "height", "mean", "std", "sharpness"]
    accepted = _rows(validation / files.ACCEPTED, names, image_ids)
    findings = _rows(inspection / files.FINDINGS, ["image_id", "face_score"], image_ids)
    issues = _rows(curation / files.CURATION, ["image_id", "issues"], image_ids)["issues"].to_pylist()
    side = pc.min_element_wise(accepted["width"], accepted["height"])
    values = (accepted["mean"], accepted["std"], accepted["sharpness"], side, findings["face_score"])
    columns = [_fifths(name, _numbers(value)) for name, value in zip(_PROPERTIES, values, strict=True)]
    for issue in curation_contract.ISSUES:
        words = issue.replace("_", " ")
        columns.append(_named(f"issue: {words}", "issue", [words if issue in found else "none" for found in issues]))
    columns.append(_named("source", "source", accepted["source"].to_pylist()))
    columns.append(_named("subject", "subject", [_pseudonym(one) for one in accepted["subject"].to_pylist()]))
    columns += _of_tables([dict(groups or ()) for groups in accepted["groups"].to_pylist()])
    paths = accepted["path"].to_pylist()
    for name, pattern in config.patterns.items():
        finder = path_patterns.PathPattern(f"slices.patterns, {name}", pattern)
        columns.append(_named(name, "group", [finder.find(path) for path in paths]))
    return [column for column in columns if column.slices], _missing(columns, config)


def slice_name(kind: Kind, column: str, group: str) -> str:
    """A slice in words."""
    return {"property": group, "issue": column}.get(kind, f"{column} {group}")  # an issue's column has its name


def members(columns: Sequence[Column], min_slice_size: int) -> dict[str, np.ndarray]:
    """The slices of `min_slice_size` images or more, but not all: name -> (N,) bool."""
    found = {
        slice_name(column.kind, column.name, group): np.asarray(column.groups == group, bool)
        for column in columns
        for group in column.slices
    }
    return {name: of for name, of in found.items() if min_slice_size <= of.sum() < len(of)}


def _missing(columns: Sequence[Column], config: SlicesConfig) -> list[str]:
    found = {column.name for column in columns if column.slices}
    missing = []
    if "source" not in found:
        missing.append("sources: all images are of one")
    if "subject" not in found:
        missing.append("people: the data does not say who is shown")
    missing += [f"{name}: no path that slices.patterns matches" for name in config.patterns if name not in found]
    if not any(column.kind == "group" for column in columns) and not config.patterns:
        missing.append(
            "groups of people, as by age, gender or origin: the data names no group (index.groups, slices.patterns)"
        )
    return missing


def _of_tables(groups: Sequence[Mapping[str, str]]) -> list[Column]:
    """The columns that tables name (column -> group, of each image); one of many numbers is divided at its fifths."""
    names = sorted({name for of_image in groups for name in of_image})
    columns = []
    for name in names:
        cells = [of_image.get(name) for of_image in groups]
        numbers = _as_numbers(cells)
        known = np.unique(numbers[np.isfinite(numbers)])
        is_of_numbers = len(known) > _MOST_NUMBERS and all(
            cell is None or np.isfinite(number) for cell, number in zip(cells, numbers, strict=True)
        )
        columns.append(_named(name, "group", _in_fifths(numbers) if is_of_numbers else cells))
    return columns


def _as_numbers(cells: Sequence[str | None]) -> np.ndarray:
    """(N,) float64, NaN for what is no number."""

    def number(cell: str | None) -> float:
        try:
            return float(cell) if cell is not None else np.nan
        except ValueError:
            return np.nan

    return np.array([number(cell) for cell in cells], np.float64)


def _in_fifths(numbers: np.ndarray) -> list[str | None]:
    """The fifth that each number lies in, named by its smallest and largest; None for NaN."""
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], [_FIFTH, 2 * _FIFTH, 3 * _FIFTH, 4 * _FIFTH]))
    fifths = np.searchsorted(edges, numbers, side="left")
    names = {}
    for fifth in np.unique(fifths[known]):
        members = numbers[known & (fifths == fifth)]
        names[fifth] = f"{members.min():g} to {members.max():g}"
    return [names[fifth] if is_known else None for fifth, is_known in zip(fifths, known, strict=True)]


def _rows(path: Path, columns: list[str], image_ids: Sequence[str]) -> pa.Table:
    """The rows of these images, in their order."""
    table = pq.read_table(path, columns=columns)
    places = pc.index_in(pa.array(image_ids, pa.string()), table["image_id"].combine_chunks())
    if places.null_count:
        raise errors.IntegrityError(
            "The evaluated images must be among those that were accepted.",
            received=f"{places.null_count:,} of {len(image_ids):,} that {path} lacks",
            todo="run the same command again",
        )
    return table.take(places)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)  # NaN for null


def _fifths(name: str, values: np.ndarray) -> Column:
    lowest, highest, form = _PROPERTIES[name]
    groups = np.full(len(values), None, object)
    known = np.isfinite(values)
    if not known.any():
        return Column(name, "property", groups, ())
    low, high = np.quantile(values[known], [_FIFTH, 1 - _FIFTH])
    groups[known] = "between"
    bounds = {
        f"{lowest} (below {form.format(low)})": known & (values < low),
        f"{highest} (above {form.format(high)})": known & (values > high),
    }
    for group, is_member in bounds.items():
        groups[is_member] = group
    return Column(name, "property", groups, tuple(group for group, is_member in bounds.items() if is_member.any()))


def _named(name: str, kind: Kind, groups: Sequence[str | None]) -> Column:
    """A column of named groups; of an issue those that have it are a slice. A group that has all divides nothing."""
    found = sorted({group for group in groups if group is not None})
    divides = len(found) + (None in groups) > 1
    slices = tuple(group for group in found if kind != "issue" or group != "none") if divides else ()
    return Column(name, kind, np.array(groups, object), slices)


def _pseudonym(subject: str | None) -> str | None:
    """What stands for a person in reports and releases."""
    return None if subject is None else hashlib.sha256(subject.encode()).hexdigest()[:8]
