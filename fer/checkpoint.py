"""A training's checkpoint: one file of NumPy arrays and a JSON record, replaced as a whole after each epoch.

A kill at any moment leaves the last one whole. Nothing in it is pickled.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_RECORD = "record"


class Checkpoint(NamedTuple):
    """`record` is what JSON can say; `arrays` are lists of arrays by name, of weights or of an optimiser's state."""

    record: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]


def write(path: Path, found: Checkpoint) -> None:
    """Replace what is at `path`, once the bytes are on the disk."""
    named: dict[str, Any] = {
        f"{name}.{at}": array for name, arrays in found.arrays.items() for at, array in enumerate(arrays)
    }
    lengths = {name: len(arrays) for name, arrays in found.arrays.items()}
    record = json.dumps({"record": found.record, "lengths": lengths}).encode()
    aside = path.with_name(f"{path.name}.tmp")
    with aside.open("wb") as file:
        np.savez(file, allow_pickle=False, **named | {_RECORD: np.frombuffer(record, np.uint8)})
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def read(path: Path) -> Checkpoint | None:
    """What was written; None if there is nothing, or what is there can't be read: the CRC of each array is checked."""
    try:
        with np.load(path, allow_pickle=False) as file:
            known = json.loads(file[_RECORD].tobytes())
            arrays = {name: [file[f"{name}.{at}"] for at in range(length)] for name, length in known["lengths"].items()}
            return Checkpoint(known["record"], arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
        return None
