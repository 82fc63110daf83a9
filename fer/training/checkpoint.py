"""A training's checkpoint: one file of NumPy arrays and a JSON record, replaced as a whole after each epoch.

A kill at any moment leaves the last one whole. Nothing in it is pickled.
"""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer.engine import disk

_RECORD = "record"


class Checkpoint(NamedTuple):
    """`record` is what JSON can say; `arrays` are lists of arrays by name, of weights or of an optimiser's state."""

    record: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]


def write(path: Path, latest: Checkpoint, *, keep_previous: bool = False) -> None:
    """Replace what is at `path`, once the bytes are on the disk; `keep_previous`: what it replaces stays beside it."""
    named: dict[str, Any] = {
        f"{name}.{index}": array for name, arrays in latest.arrays.items() for index, array in enumerate(arrays)
    }
    lengths = {name: len(arrays) for name, arrays in latest.arrays.items()}
    record = json.dumps({"record": latest.record, "lengths": lengths}).encode()
    with disk.replacing(path, sync=True) as staging:
        with staging.open("wb") as file:
            np.savez(file, allow_pickle=False, **named | {_RECORD: np.frombuffer(record, np.uint8)})
        if keep_previous and path.exists():
            path.replace(_previous(path))


def read_all(path: Path) -> list[Checkpoint]:
    """The last checkpoint, and the one before if it was kept."""
    return [checkpoint for checkpoint in (read(path), read(_previous(path))) if checkpoint is not None]


def read(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`; None if there is none or it can't be read: the CRC of each array is checked."""
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file[_RECORD].tobytes())
            arrays = {
                name: [file[f"{name}.{index}"] for index in range(length)] for name, length in header["lengths"].items()
            }
            return Checkpoint(header["record"], arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None


def _previous(path: Path) -> Path:
    return path.with_name(f"previous-{path.name}")
