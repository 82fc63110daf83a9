"""Predictions as files: JSON, JSON Lines, CSV, Parquet; and pictures with what was found in them."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TextIO, get_args

import numpy as np

from fer import errors
from fer.engine import disk
from fer.images import colours, decode, encode
from fer.serving import drawing, pictures
from fer.serving.predicting import Answer, Prediction

Format = Literal["table", "json", "jsonl", "csv", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet",
}  # fmt: skip
_ROWS_AT_ONCE = 10_000
_JPEG_QUALITY = 92
_PIXEL_COLUMNS = ("left", "upper", "width", "height")
_EYE_COLUMNS = ("left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y")


def format_of(output: Path | None, asked: str | None) -> Format:
    """The format that is asked for, or else that of the output's suffix, or else a table. Raises ConfigError."""
    formats: tuple[Format, ...] = get_args(Format)
    if asked is not None:
        found = next((one for one in formats if one == asked), None)
        if found is None:
            raise errors.ConfigError(f"--format must be one of {', '.join(formats)}.", received=asked)
        return found
    if output is None:
        return "table"
    if output.suffix.lower() not in SUFFIXES:
        raise errors.ConfigError(
            f"The format must be told, by --format or by a suffix: {', '.join(SUFFIXES)}.", received=str(output)
        )
    return SUFFIXES[output.suffix.lower()]


def write(predictions: Iterable[Prediction], form: Format, classes: Sequence[str], output: Path | None = None) -> int:
    """Write predictions in a format other than "table", as they come, to the file, whole or not at all, or to standard
    output; returns how many.

    `classes` are the columns of CSV and Parquet that hold the probabilities. Raises ConfigError for Parquet without a
    file, WorkspaceError where the disk takes no more.
    """
    if output is None:
        if form == "parquet":
            raise errors.ConfigError(
                "Parquet must be written to a file.", received="no --output", todo="--output FILE.parquet"
            )
        return _write_text(predictions, form, classes, sys.stdout)
    with disk.workspace_errors(output.parent), disk.replacing(output) as staging:
        if form == "parquet":
            return _write_parquet(predictions, classes, staging)
        with staging.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            return _write_text(predictions, form, classes, file)


def _write_text(predictions: Iterable[Prediction], form: Format, classes: Sequence[str], file: TextIO) -> int:
    if form == "json":
        documents = [prediction.as_dict() for prediction in predictions]
        file.write(json.dumps(documents, indent=1) + "\n")
        return len(documents)
    count = 0
    if form == "csv":
        columns = list(_columns(classes))
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
    for prediction in predictions:
        if form == "csv":
            row = _flat(prediction, classes)
            table.writerow(_cell(row[name]) for name in columns)
        else:
            file.write(json.dumps(prediction.as_dict()) + "\n")
        file.flush()  # whoever reads a pipe has each as it comes
        count += 1
    return count


def _columns(classes: Sequence[str]) -> dict[str, str]:
    """The columns of a flat file, each with the type of its values."""
    return {
        "path": "string", "finding": "string", "face": "int32", "label": "string", "confidence": "float",
        "frame": "int32", "time_s": "double", "set": "names",
        "coverage": "double", "unsure": "bool", "unlike": "bool", "taken": "string", "note": "string",
        **dict.fromkeys(_PIXEL_COLUMNS, "int32"), "face_score": "double", **dict.fromkeys(_EYE_COLUMNS, "double"),
        **{f"p_{name}": "float" for name in classes}, "error": "string",
    }  # fmt: skip


def _flat(prediction: Prediction, classes: Sequence[str]) -> dict[str, Any]:
    """One row."""
    eyes: list[float | None] = [at for eye in prediction.eyes or () for at in eye]
    return {
        **{name: getattr(prediction, name) for name in _columns(()) if hasattr(prediction, name)},
        "path": os.fsencode(prediction.path).decode("utf-8", "backslashreplace"),
        **dict(zip(_PIXEL_COLUMNS, prediction.box or [None] * 4, strict=True)),
        **dict(zip(_EYE_COLUMNS, eyes or [None] * 4, strict=True)),
        **{f"p_{name}": prediction.probabilities.get(name) for name in classes},
    }


def _cell(value: Any) -> Any:
    """A value of CSV; the names of a set are separated by spaces."""
    if value is None:
        return ""
    return " ".join(value) if isinstance(value, tuple) else value


def _write_parquet(predictions: Iterable[Prediction], classes: Sequence[str], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"string": pa.string(), "int32": pa.int32(), "double": pa.float64(), "bool": pa.bool_(),
             "float": pa.float32(), "names": pa.list_(pa.string())}  # fmt: skip
    schema = pa.schema([(name, types[kind]) for name, kind in _columns(classes).items()])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for rows in _batches(_flat(prediction, classes) for prediction in predictions):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def annotate(answers: Iterable[Answer], folder: Path, common: Path | None) -> Iterator[Answer]:
    """Pass the answers on, each once its picture is written to `folder` with its faces drawn, in colour.

    A picture keeps its place below `common`, the folder of all of them, and its name if that ends in .jpg, .jpeg or
    .png; else ".png" is added. What can't be decoded has no such picture. Raises ConfigError rather than write over a
    picture that is there, WorkspaceError where the disk takes no more.
    """
    written: set[Path] = set()
    for answer in answers:
        if answer.result is not None:
            path = folder / _place(answer.picture.name, common)
            if path in written or _is_input(path, answer.picture.name):
                raise errors.ConfigError(
                    "Each annotated picture must have a place of its own, beside the pictures.",
                    received=str(path),
                    todo="give --annotated another folder, an empty one",
                )
            written.add(path)
            pixels = drawing.annotated(_colours(answer), answer.result.faces)
            data = encode.png(pixels) if path.suffix.lower() == ".png" else encode.jpeg(pixels, _JPEG_QUALITY)
            with disk.workspace_errors(folder):
                path.parent.mkdir(parents=True, exist_ok=True)
                disk.write(path, data)
        yield answer


def _place(name: str, common: Path | None) -> Path:
    """Where below the folder the picture of this name goes: no part of it leads upwards."""
    path = Path("stdin" if name == pictures.STDIN else name)
    if common is not None and path.is_relative_to(common):
        path = path.relative_to(common)
    elif path.is_absolute() or ".." in path.parts:
        path = Path(path.name)
    is_kept = PurePosixPath(name).suffix.lower() in (".jpg", ".jpeg", ".png")
    return path if is_kept else path.with_name(f"{path.name}.png")


def _is_input(path: Path, name: str) -> bool:
    """Whether the file that would be written is the picture itself."""
    try:
        return path.samefile(name)
    except OSError:
        return False


def _colours(answer: Answer) -> np.ndarray:
    """The picture as it was looked at, in colour where that can be had: (H, W, 3) BGR or (H, W) uint8."""
    grey = decode.decode(answer.picture.data)
    in_colour = colours.in_colour(answer.picture.data, grey.shape)
    return grey if in_colour is None else in_colour
