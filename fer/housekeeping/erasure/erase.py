"""Have images forgotten: a tombstone first, which no later run passes, then what holds their pixels.

Whoever is stopped in the middle runs the same command again: the tombstone stands, and what is left is found by it. So
one run removes what any earlier one left.
"""

import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from fer import errors
from fer.engine import connect, usage
from fer.engine.records import Record
from fer.engine.workspace import Workspace
from fer.housekeeping import workspace_folder
from fer.housekeeping.erasure import in_bucket, reach, request
from fer.housekeeping.erasure.reach import Held, KnownTo
from fer.housekeeping.erasure.request import AskedBy, Image
from fer.housekeeping.workspace_folder import WorkspaceFolder
from fer.ingest.tombstones import records
from fer.ingest.tombstones.records import Tombstone, Tombstones
from fer.registry import log as registry_log
from fer.registry import registry
from fer.settings import Settings


class Thing(Record):
    """What holds pixels of the images, or may: an output `stage/key`, or what is in FER_HOME."""

    name: str
    what: str
    size_bytes: int
    fate: str = Field(default="to be removed", description="`to be removed`, `removed` or `in use`")


class Erasure(Record):
    """What is to be forgotten, what knew it, and what became of that."""

    asked_by: AskedBy = Field(description="how the images were named; by what name is not kept")
    reason: str
    by: str
    at_utc: datetime.datetime
    workspace: str = Field(description="where it was looked: a folder, or `s3://BUCKET/PREFIX`")
    is_done: bool = Field(description="false: it was only looked at")
    tombstone: str = Field(description="its ID; empty where earlier ones know all of these images already")
    n_earlier_tombstones: int
    n_asked_for: int = Field(description="pictures by their pixels")
    n_twins: int
    images: tuple[Image, ...] = Field(description="in the workspace")
    releases: tuple[KnownTo, ...]
    silent_releases: tuple[str, ...] = Field(description="those that don't say what they were trained on")
    things: tuple[Thing, ...]
    sources: tuple[str, ...] = Field(description="that hold the images; nothing there is changed")

    @property
    def retrained(self) -> tuple[str, ...]:
        """The releases that must be retrained."""
        return tuple(known.release for known in self.releases if known.must_be_retrained)

    def pictures(self) -> str:
        """How many pictures it is about, in words."""
        pictures = f"{self.n_asked_for:,} picture{'s' * (self.n_asked_for != 1)}"
        return f"{pictures} and {self.n_twins:,} near-twin{'s' * (self.n_twins != 1)}"

    @property
    def did_something(self) -> bool:
        """Whether anything is not as it was before."""
        return self.is_done and bool(self.tombstone or self.things)

    @property
    def in_use(self) -> tuple[str, ...]:
        """What could not be removed."""
        return tuple(thing.name for thing in self.things if thing.fate == "in use")


class Asked(NamedTuple):
    """What somebody wants to have forgotten, and why."""

    by: AskedBy
    value: str
    reason: str = ""


def forget(asked: Asked, configured: Settings, models: registry.Registry, *, apply: bool) -> Erasure:
    """Find what knew the images that are asked for; `apply`: write the tombstone, and remove what holds their pixels.

    Raises ConfigError where nothing is known by that name, WorkspaceError where a run is at work, SourceError,
    StoreError, IntegrityError.
    """
    workspace = connect.running_workspace(configured)
    if apply and usage.busy_since(workspace.root) != float("inf"):
        raise errors.WorkspaceError(
            "No run may be at work while what it may need is removed.",
            received=f"one at work in {workspace.root}",
            todo="wait for it to end, or stop it, and run the same command again",
        )
    images = request.find(asked.by, asked.value, workspace)
    earlier = records.read(models.store) or Tombstones.of(())
    if not images.own and not earlier.all:
        raise errors.ConfigError(
            "What is to be forgotten must be known to the workspace, or be named by a file or a digest of pixels.",
            received=f"no image of this {asked.by} in any index",
            todo="bring the data in first (fer data check SOURCE), with index.subject_pattern or index.columns if its "
            "subjects have to be told",
        )
    made = _tombstone(asked, images, earlier)
    if apply and made is not None:
        records.write(models.store, made)
    # A twin that was removed is known by the tombstone alone.
    wanted = images.digests.union(
        *(known.pixel_sha256 for known in earlier.all if not images.digests.isdisjoint(known.pixel_sha256))
    )
    known, silent = reach.releases(models, wanted) if wanted else ([], [])
    things = [
        Thing(name=held.name, what=held.what, size_bytes=held.size_bytes, fate=fate)
        for held, fate in _removed(configured, workspace, {*wanted, *earlier.digests()}, apply=apply)
    ]
    return Erasure(
        asked_by=asked.by,
        reason=asked.reason,
        by=registry_log.operator(),
        at_utc=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
        workspace=str(workspace.root) if workspace.objects is None else workspace.objects.uri,
        is_done=apply,
        tombstone="" if made is None else made.id,
        n_earlier_tombstones=len(earlier.all),
        n_asked_for=len(images.own),
        n_twins=len(images.twins),
        images=images.images,
        releases=tuple(known),
        silent_releases=tuple(silent),
        things=tuple(things),
        sources=tuple(sorted({image.source for image in images.images})),
    )


def _tombstone(asked: Asked, images: request.Images, earlier: Tombstones) -> Tombstone | None:
    """The tombstone of the images; None if earlier ones know all that is known of them."""
    if images.digests <= set(earlier.digests()) and set(images.features) <= set(earlier.features()):
        return None
    return records.tombstone(images.digests, images.features, asked.by, registry_log.operator(), asked.reason)


def _removed(configured: Settings, workspace: Workspace, digests: set[str], *, apply: bool) -> list[tuple[Held, str]]:
    """What holds the images, and what became of it."""
    found = reach.held(configured.home, workspace, digests)
    if not apply:
        return [(held, "to be removed") for held in found]
    folder = WorkspaceFolder(workspace.root)
    items = {item.name: item for item in folder.items()}
    fates: list[tuple[Held, str]] = []
    for held in found:
        if held.objects:
            in_bucket.remove_objects(workspace, held.objects)
            gone = True
        elif not held.is_output:
            workspace_folder.erase(configured.home / held.name)
            gone = True
        else:
            if workspace.objects is not None:
                in_bucket.remove(workspace.objects.store, held.name)
            item = items.get(held.name)
            gone = item is None or folder.remove(item)
        fates.append((held, "removed" if gone else "in use"))
    return fates


def folder_of(home: Path, erasure: Erasure) -> Path:
    """Where the report of an erasure is: housekeeping leaves it alone."""
    return home / "erasures" / f"{erasure.at_utc:%Y%m%dT%H%M%SZ}-{(erasure.tombstone or 'again')[:8]}"
