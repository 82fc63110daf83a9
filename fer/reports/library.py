"""Where reports lie: in a folder of this machine, and in the store, from where they are fetched if that is gone.

    reports/runs/<ID of a Prefect run>.json     which pages a run shared: RunPages

A run that came to a release that was there already names that release's pages.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import pydantic

from fer import errors
from fer.engine import disk
from fer.engine.records import Record
from fer.engine.store.objectstore import Listed, ObjectStore
from fer.registry import names
from fer.reports import publishing

PAGE = "report.html"
RECORD = "report.json"
RELEASE = "release"  # the part of what is shared that a release's folder is
_RUNS = "reports/runs/"


class RunPages(Record):
    """The pages that a run shared last: those of the release `name` version `version`, or, without one, its data's."""

    run: str  # its name
    run_id: str
    name: str | None = None
    version: int | None = None
    top: str  # the key below which they are
    page: str  # the first to read, below it


class Place(NamedTuple):
    """A report on this machine, and whether it had to be fetched."""

    page: Path
    was_fetched: bool


def folder_of(home: Path, name: str, version: int) -> Path:
    """The folder of a release's reports."""
    return home / "reports" / name / str(version)


def note(store: ObjectStore, pages: RunPages) -> None:
    """Remember in the store what a run shared, so that it is found by the run. Raises StoreError."""
    store.put(f"{_RUNS}{pages.run_id}.json", pages.model_dump_json(indent=1).encode())


def of_run(store: ObjectStore, run: str) -> RunPages | None:
    """What the run with this ID shared, or the newest one with this name; None if none is known. Raises StoreError."""
    notes = sorted(store.list(_RUNS), key=lambda listed: listed.modified, reverse=True)
    exact = [listed for listed in notes if listed.key == f"{_RUNS}{run}.json"]
    for listed in exact or notes:
        stored = store.get(listed.key)
        try:
            pages = RunPages.model_validate_json(b"" if stored is None else stored.data)
        except pydantic.ValidationError:
            continue
        if run in (pages.run, pages.run_id):
            return pages
    return None


def of_release(store: ObjectStore, home: Path, name: str, version: int) -> Place:
    """The report of a release; the one that was shared last, where this machine has none.

    Raises ConfigError if there is none anywhere, IntegrityError if it is not what was shared, StoreError.
    """
    names.check_name(name)
    folder = folder_of(home, name, version)
    if (folder / PAGE).is_file():
        return Place(folder / PAGE, was_fetched=False)
    newest: dict[str, Listed] = {}
    for listed in store.list(f"reports/models/{name}/{version}/"):
        top = "/".join(listed.key.split("/")[:5])
        if listed.key == f"{top}/{RELEASE}/{PAGE}":
            newest[top] = listed
    if not newest:
        raise errors.ConfigError(
            "A release's report must be on this machine or in the store.",
            received=f"none of {name}@{version}, neither in {folder} nor below {store.uri('reports/models')}",
            todo="run the same `fer retrain` again: every stage is cached, and the report is written anew",
        )
    fetch(store, max(newest, key=lambda top: newest[top].modified), folder, part=RELEASE)
    return Place(folder / PAGE, was_fetched=True)


def of_data(store: ObjectStore, home: Path, pages: RunPages) -> Place:
    """The report of a run without a release: that of its data. Raises IntegrityError, StoreError."""
    folder = home / "reports" / "fetched" / hashlib.sha256(pages.top.encode()).hexdigest()[:16]
    page = folder / pages.page
    if not page.resolve().is_relative_to(folder.resolve()):
        raise _changed(store, pages.top)
    if page.is_file():
        return Place(page, was_fetched=False)
    fetch(store, pages.top, folder)
    return Place(page, was_fetched=True)


def fetch(store: ObjectStore, top: str, into: Path, part: str = "") -> None:
    """Download what was shared below the key `top`, or one `part` of it, to the folder `into`, all or nothing.

    Raises IntegrityError if it is not what was shared, StoreError.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".fetched-") as temporary:
        for listed in store.list(f"{top}/"):
            name = listed.key.removeprefix(f"{top}/")
            stored = store.get(listed.key)
            target = Path(temporary) / name
            if stored is None or not target.resolve().is_relative_to(Path(temporary).resolve()):
                raise _changed(store, top)
            target.parent.mkdir(parents=True, exist_ok=True)
            disk.write(target, stored.data)
        if publishing.digest(Path(temporary)) != top.rsplit("/", 1)[-1]:
            raise _changed(store, top)
        shutil.copytree(Path(temporary) / part, into, dirs_exist_ok=True)


def _changed(store: ObjectStore, top: str) -> errors.IntegrityError:
    return errors.IntegrityError(
        "A report in the store must be as it was shared.",
        received=f"something else, or less, below {store.uri(top)}",
        todo="run the same `fer retrain` again: every stage is cached, and the report is shared anew",
    )
