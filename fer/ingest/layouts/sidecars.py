"""A file of labels for each image: `0_exp.npy` or `S005_001_00000011_emotion.txt` with one value, or YOLO's `.txt`.

YOLO's have lines of a class's number and a box; the numbers' names are in a `data.yaml`, or in a `classes.txt` beside.
An array is read as a number or a text, and never unpickled.
"""

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
import yaml

from fer import plain_text
from fer.ingest import archives
from fer.ingest.layouts import arrays, class_folders, file_finder, label_grids
from fer.ingest.naming import labels

_SUFFIXES = (".txt", ".npy", ".label", ".lab", ".cls")
_MOST_BYTES = 4_096  # of one such file
_MOST_YAML_BYTES = 65_536
_SAMPLE = 50
_YOLO_LINE = re.compile(r"([0-9]{1,4})(?:\s+[+-]?[0-9.]+(?:e[+-]?[0-9]+)?){4,}", re.IGNORECASE)
_LAST_WORD = re.compile(r"[_.-][A-Za-z]+$")  # of `0_exp`
_NAMES_FILES = ("classes.txt", "obj.names", "class_names.txt")


def read(
    archive: zipfile.ZipFile, members: Sequence[archives.Member], finder: file_finder.FileFinder
) -> Iterator[label_grids.Grid]:
    """The grids of all such files, one for each kind.

    Raises DamagedArchive for damaged bytes.
    """
    groups: dict[str, list[archives.Member]] = defaultdict(list)
    for member in members:
        suffix = class_folders.suffix(member.name)
        if suffix in _SUFFIXES and 0 < member.size_bytes <= _MOST_BYTES:
            path = PurePosixPath(member.name)
            word = _LAST_WORD.search(path.stem)
            groups[(word[0] if word else "") + path.suffix].append(member)
    names = None
    for kind, files in sorted(groups.items()):
        stems = [file.name.removesuffix(kind) for file in files]
        sample = _spread(stems)
        if len(files) < 2 or 2 * finder.n_found("", sample) < len(sample):
            continue
        values = [_value(archives.read(archive, file)) for file in _spread(files)]
        if 2 * sum(value is not None for value in values) < len(values) or not _may_be_labels(values):
            continue
        names = _class_names(archive, members) if names is None else names
        yield _grid(archive, files, stems, kind, names)


def _grid(
    archive: zipfile.ZipFile,
    files: Sequence[archives.Member],
    stems: Sequence[str],
    kind: str,
    names: dict[int, str],
) -> label_grids.Grid:
    values = [(file, stem, _value(archives.read(archive, file))) for stem, file in zip(stems, files, strict=True)]
    is_yolo = any(has_box for _, _, value in values for _, has_box in value or ())
    used = [(file, stem, value) for file, stem, value in values if value and value[0][1] == is_yolo]
    rows = [(stem, label) for _, stem, value in used for label, _ in value]
    if is_yolo:
        rows = [(stem, names.get(int(label), label)) for stem, label in rows]
    folder = files[0].name.rpartition("/")[0]
    return label_grids.Grid(
        f"{folder}/*{kind}" if folder else f"*{kind}",
        "",
        tuple(file.name for file, _, _ in used),
        {"file": [stem for stem, _ in rows], "label": [label for _, label in rows]},
        ("file",),
        ("label",),
        numbers=range(1, len(rows) + 1),
        has_boxes=is_yolo,
        has_header=False,
    )


def _value(data: bytes) -> list[tuple[str, bool]] | None:
    """The labels that a file has, and whether each has a box; None where it holds something else."""
    if data.startswith(b"\x93NUMPY"):
        value = _of_array(data)
        return None if value is None else [(value, False)]
    text = data.decode("utf-8-sig", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    matches = [_YOLO_LINE.fullmatch(line) for line in lines]
    if lines and all(matches):
        return [(match[1], True) for match in matches if match]
    if len(lines) != 1 or len(lines[0]) > 64 or plain_text.UNPRINTABLE.search(lines[0]):
        return None
    return [(_plain(lines[0]), False)]


def _of_array(data: bytes) -> str | None:
    header = arrays.header(data)
    if header is None or header.size != 1 or header.dtype.kind not in "iufUSb":
        return None
    try:
        value = np.frombuffer(data, header.dtype, 1, header.data_at)[0]
    except ValueError:  # cut short
        return None
    return _plain(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def _plain(text: str) -> str:
    """A number without a fraction as a whole one: `3.0000000e+00` is 3."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 10_000 else text


def _may_be_labels(values: Iterable[list[tuple[str, bool]] | None]) -> bool:
    """Whether the values are few whole numbers or words, unlike those of `0_val.npy`."""
    texts = {label for value in values if value is not None for label, _ in value}
    return all(labels.is_number(text) or not re.fullmatch(r"[+-]?[0-9.eE+-]+", text) for text in texts)


def _spread(items: Sequence) -> list:
    return list(items[:: max(1, len(items) // _SAMPLE)])


def _class_names(archive: zipfile.ZipFile, members: Iterable[archives.Member]) -> dict[int, str]:
    """The names of the classes by their numbers, from YOLO's `data.yaml` or a list of names; empty without one."""
    for member in members:
        if member.size_bytes > _MOST_YAML_BYTES:
            continue
        name = PurePosixPath(member.name).name.lower()
        if name.endswith((".yaml", ".yml")):
            names = _names_in_yaml(archives.read(archive, member).decode("utf-8-sig", "replace"))
        elif name in _NAMES_FILES:
            lines = archives.read(archive, member).decode("utf-8-sig", "replace").splitlines()
            names = dict(enumerate(line.strip() for line in lines if line.strip()))
        else:
            continue
        if names:
            return names
    return {}


def _names_in_yaml(text: str) -> dict[int, str]:
    """`names` of a YAML document, a list or a mapping from numbers; empty where it has none."""
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            return {}  # an alias may stand for more than memory holds
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    found = document.get("names") if isinstance(document, dict) else None
    items = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return {
        int(number): str(name)[:64]
        for number, name in items
        if isinstance(name, str | int) and str(number).isdecimal() and len(str(number)) < 5
    }
