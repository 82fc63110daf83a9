"""What was made of source files by parsing them, kept for the next process beside the bytecode and as that is.

To parse the project takes two seconds, and each run needs what comes of it for its keys. Values are kept under the
SHA-256 of what they were made of, and all are made anew when the code that makes them has changed.
"""

import atexit
import contextlib
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer.engine import disk

_MAKERS = ("canonical_code.py", "fingerprint.py", "parsed_sources.py")  # of this folder
_MAX_KEPT = 5_000


def remembered(kind: str, source: bytes, make: Callable[[], Any]) -> Any:
    """The JSON value of this kind that `make` makes of `source`, made by this process if by none before."""
    key = f"{kind} {hashlib.sha256(source).hexdigest()}"
    kept, used = _kept(), _used()
    if key not in used:
        used[key] = kept[key] if key in kept else make()
    return used[key]


@functools.cache
def _kept() -> dict[str, Any]:
    """What earlier processes have made."""
    with contextlib.suppress(OSError, ValueError):
        found, is_sealed = disk.unsealed(_file().read_bytes())
        if is_sealed and found["by"] == _makers():
            return dict(found["values"])
    return {}


@functools.cache
def _used() -> dict[str, Any]:
    """What this process needed; what it made of that is kept at its end."""
    atexit.register(_keep)
    return {}


def _keep() -> None:
    kept, used = _kept(), _used()
    if sys.dont_write_bytecode or used.keys() <= kept.keys():
        return
    values = kept | used if len(kept) + len(used) <= _MAX_KEPT else used
    with contextlib.suppress(OSError):  # where no bytecode can be written, each process makes them anew
        disk.write(_file(), disk.sealed({"by": _makers(), "values": values}))


@functools.cache
def _makers() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"\0".join((folder / name).read_bytes() for name in _MAKERS)).hexdigest()


def _file() -> Path:
    bytecode = Path(importlib.util.cache_from_source(__file__))
    return bytecode.with_name(f"parsed-sources.{sys.implementation.cache_tag}.json")
