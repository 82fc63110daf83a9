"""What the processes of a test run share: each thing is made once, by the first of them that needs it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import filelock

VARIABLE = "SHARED_BY_TESTS"  # of the environment: the folder, which `tests/conftest.py` makes and removes


def folder() -> Path:
    """The folder of this test run."""
    return Path(os.environ[VARIABLE])


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of this test run, which `make` fills if no process has done so before. Read it only."""
    made = folder() / name
    with filelock.FileLock(f"{made}.lock"):
        if not made.exists():
            partial = made.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(made)
    return made
