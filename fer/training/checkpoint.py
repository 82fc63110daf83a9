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


def write(path: Path, found: Checkpoint, *, keep_before: bool = False) -> None:
    """Replace what is at `path`, once the bytes are on the disk; `keep_before`: what it replaces stays beside it."""
    named: dict[str, Any] = {
        f"{name}.{at}": array for name, arrays in found.arrays.items() for at, array in enumerate(arrays)
    }
    lengths = {name: len(arrays) for name, arrays in found.arrays.items()}
    record = json.dumps({"record": found.record, "lengths": lengths}).encode()
    with disk.replacing(path, sync=True) as staging:
        with staging.open("wb") as file:
            np.savez(file, allow_pickle=False, **named | {_RECORD: np.frombuffer(record, np.uint8)})
        if keep_before and path.exists():
            path.replace(_before(path))


def read_all(path: Path) -> list[Checkpoint]:
    """What was written last, and what it replaced if that was kept."""
    return [each for each in (read(path), read(_before(path))) if each is not None]


def read(path: Path) -> Checkpoint | None:
    """What was written; None if there is nothing, or what is there can't be read: the CRC of each array is checked."""
    try:
        with np.load(path, allow_pickle=False) as file:
            known = json.loads(file[_RECORD].tobytes())
            arrays = {name: [file[f"{name}.{at}"] for at in range(length)] for name, length in known["lengths"].items()}
            return Checkpoint(known["record"], arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None


def _before(path: Path) -> Path:
    return path.with_name(f"before-{path.name}")
