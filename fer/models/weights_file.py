"""Weights in HDF5, from elsewhere: what reading them would take is told from the file's own headers."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer import errors, limits

if TYPE_CHECKING:
    import h5py

_MAX_OBJECTS = 50_000  # groups and arrays: the deepest networks of keras.applications have some 5,000
_NUMBERS = "fiub"  # NumPy's kinds
_HIDDEN_BYTES = 2**20  # what small arrays may have more than the file has for them
_REMEDY = "take weights that Keras saved, or train the model again"


def n_values(file: Path | io.BufferedIOBase, name: Path) -> int:
    """How many numbers the arrays of a file of weights hold together; nothing of them is read. `name`: for errors.

    Raises IntegrityError for more than the limit, links to elsewhere, arrays that aren't numbers, and those that are
    larger than the file: what is compressed or was never written.
    """
    import h5py

    current = limits.current()
    if isinstance(file, Path) and file.stat().st_size > current.model_bytes:
        received = f"{file.stat().st_size:,} in {name}"
        raise refused(f"at most {current.model_bytes:,} bytes", received, "model_bytes")
    with h5py.File(file, "r") as opened:
        arrays = _arrays(opened, name)
        n_bytes = sum(array.nbytes for array in arrays)
        stored_bytes = sum(array.id.get_storage_size() for array in arrays)
        if n_bytes > current.model_bytes:
            raise refused(f"at most {current.model_bytes:,} bytes", f"{n_bytes:,} in {name}", "model_bytes")
        if n_bytes > 2 * stored_bytes + _HIDDEN_BYTES:
            received = f"{n_bytes:,} bytes of arrays, {stored_bytes:,} of them stored, in {name}"
            raise refused("arrays as large as the file says", received)
        return sum(math.prod(array.shape) for array in arrays)


def refused(must_have: str, received: str, limit: str | None = None) -> errors.IntegrityError:
    """The error for a model or weights that must have something else; `limit`: the limit exceeded, if it is one."""
    todo = _REMEDY if limit is None else f"{_REMEDY}; or {limits.to_raise(limit)}"
    return errors.IntegrityError(f"A model's file must have {must_have}.", received=received, todo=todo)


def _arrays(opened: "h5py.File", name: Path) -> "list[h5py.Dataset]":
    """All arrays of the file, each reached by links within it."""
    import h5py

    arrays: list[Any] = []
    waiting: list[Any] = [opened]
    seen = {hash(opened.id)}
    n_objects = 0
    while waiting:
        group = waiting.pop()
        for key in group:
            n_objects += 1
            if n_objects > _MAX_OBJECTS:
                raise refused(f"at most {_MAX_OBJECTS:,} arrays and groups", f"more in {name}")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise refused("no links", f"a link at {group.name!r} of {name}")
            item = group[key]
            if isinstance(item, h5py.Group):
                if hash(item.id) not in seen:
                    seen.add(hash(item.id))
                    waiting.append(item)
            elif not isinstance(item, h5py.Dataset) or item.dtype.kind not in _NUMBERS:
                raise refused("arrays of numbers", f"something else at {item.name!r} of {name}")
            elif item.is_virtual or item.external:
                raise refused("arrays of their own file", f"one of another file at {item.name!r} of {name}")
            else:
                arrays.append(item)
    return arrays
