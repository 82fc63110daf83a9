"""What an installation no longer needs: found by one rule (`liveness`) and removed; the rest is proved to be whole.

The roots are each model's champion, its anchor, its aliases, its last champions and its pins; and the data accepted
last of each recipe and source. A release refers to the outputs that it was made of, an output to those that its Ref
names. In the store go abandoned uploads, and the files of releases as far as the policy says (`bucket`).
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import filelock

from fer import errors
from fer.curation import baseline
from fer.engine import connect, usage
from fer.engine.local_workspace import LocalWorkspace
from fer.housekeeping import liveness
from fer.housekeeping.bucket import Bucket
from fer.housekeeping.home import MODELS, Home
from fer.housekeeping.kept_releases import Releases
from fer.housekeeping.liveness import Fate, Item, Policy, Root
from fer.housekeeping.workspace_folder import WorkspaceFolder
from fer.registry import registry
from fer.settings import Settings

_FETCHED = "champion"  # the stage that brings releases into the workspace


class Place(Protocol):
    """Where things lie that can be removed."""

    def items(self) -> list[Item]:
        """All of them."""
        ...

    def remove(self, item: Item) -> bool:
        """Remove one; False if it came into use since, and stays."""
        ...


class Judged(NamedTuple):
    """What is to become of a place's things."""

    title: str
    place: Place
    fates: tuple[Fate, ...]


class OfKind(NamedTuple):
    """How many things of a kind go and stay, and the room that they take (bytes)."""

    kind: str
    n_goes: int
    goes_bytes: int
    n_stays: int
    stays_bytes: int


class Removed(NamedTuple):
    """What went, and what came into use before it could; how much room that gave back (bytes)."""

    gone: tuple[Item, ...]
    in_use: tuple[Item, ...]
    freed_bytes: int

    def sentence(self) -> str:
        """What went, in one line."""
        stayed = f"; {len(self.in_use):,} came into use meanwhile, and stayed" if self.in_use else ""
        return f"{len(self.gone):,} things went, and gave back {room(self.freed_bytes)}{stayed}"


class Proof(NamedTuple):
    """What was looked at of the outputs and releases that the roots name, and what of it is not whole."""

    n_outputs: int
    n_releases: int
    read_bytes: int
    faults: tuple[str, ...]

    def sentence(self) -> str:
        """What was looked at, and whether it is whole."""
        state = f"{len(self.faults):,} faults" if self.faults else "all whole"
        outputs = f"{self.n_outputs:,} outputs ({room(self.read_bytes)}, all read)"
        return f"what is needed: {outputs} and {self.n_releases:,} releases; {state}"


def room(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"


class Collection:
    """The things of the installation that `configured` names, judged by a policy."""

    def __init__(
        self,
        configured: Settings,
        policy: Policy,
        models: registry.Registry,
        *,
        named: Iterable[str] = (),
        only_store: bool = False,
    ):
        """Look at all of them; the store must run. Raises IntegrityError, StoreError, WorkspaceError.

        `named`: releases, each NAME@VERSION, that runs at work name. `only_store`: remove nothing on this machine.
        What makes this unsafe, as a registry that can't be read, is an error.
        """
        self.folder = WorkspaceFolder(configured.workspace_folder)
        bucket = Bucket(models, policy)  # first: what is registered meanwhile is not among its uploads
        store = models.store.uri("models")
        self._places: dict[str, Place] = {
            str(configured.workspace_folder): self.folder,
            str(configured.home): Home(configured.home),
            store: bucket,
        }
        self.busy_since = usage.busy_since(self.folder.root)  # first: who begins later finds what is there
        items = {title: place.items() for title, place in self._places.items()}
        # After the outputs: what is released or accepted meanwhile is needed too.
        self.releases = Releases(models, policy.keep_last)
        self.roots = self.releases.roots | _accepted(configured) | {name: Root("a run names it") for name in named}
        here = [item for found in items.values() for item in found]
        everything = [*_used_here(self.releases.items(), here), *here]
        now = time.time()
        fates = {fate.item.name: fate for fate in liveness.judge(everything, self.roots, policy, now, self.busy_since)}
        self.judged = [
            Judged(title, place, tuple(fates[item.name] for item in items[title]))
            for title, place in self._places.items()
        ]
        *local, (_, _, others) = self.judged
        of_releases = bucket.releases((fates[item.name] for item in self.releases.items()), now)
        self.judged = [*([] if only_store else local), Judged(store, bucket, (*others, *of_releases))]
        self.needed = liveness.closure(everything, self.roots)

    def remove(self) -> Removed:
        """Remove what goes, one after the other; a kill leaves nothing half there. Raises WorkspaceError."""
        gone: list[Item] = []
        in_use: list[Item] = []
        with _alone(self.folder.root), _of_the_system():
            for _, place, fates in self.judged:
                for fate in fates:
                    if fate.goes:
                        (gone if place.remove(fate.item) else in_use).append(fate.item)
            self.folder.finish()
        stays = [fate.item for _, _, fates in self.judged for fate in fates if not fate.goes]
        freed = liveness.total_bytes([*stays, *in_use, *gone]) - liveness.total_bytes([*stays, *in_use])
        return Removed(tuple(gone), tuple(in_use), freed)

    def by_kind(self) -> list[OfKind]:
        """What goes and what stays."""
        kinds: dict[str, list[Fate]] = {}
        for _, _, fates in self.judged:
            for fate in fates:
                kinds.setdefault(fate.item.kind, []).append(fate)
        rows = []
        for kind, of_kind in kinds.items():
            goes, stays = ([fate.item for fate in of_kind if fate.goes is wanted] for wanted in (True, False))
            rows.append(OfKind(kind, len(goes), liveness.total_bytes(goes), len(stays), liveness.total_bytes(stays)))
        return rows

    def preview(self) -> str:
        """What would go, in one line."""
        fates = [fate for _, _, judged in self.judged for fate in judged]
        everything, stays = (fate.item for fate in fates), (fate.item for fate in fates if not fate.goes)
        freed = liveness.total_bytes(everything) - liveness.total_bytes(stays)
        n_goes = sum(fate.goes for fate in fates)
        return f"{n_goes:,} of {len(fates):,} things would go, and give back {room(freed)}; nothing was changed"

    def prove(self) -> Proof:
        """Read all outputs that the roots name, and look for all releases; what is not whole is a fault."""
        outputs = {item.name for item in self.folder.items() if not item.name.startswith(".")}
        needed = [item for item in self.needed if item.name in self._names_of_outputs()]
        faults = [f"{item.name} is gone" for item in needed if item.name not in outputs]
        faults += [fault for item in needed if item.name in outputs for fault in self.folder.faults(item)]
        faults += self.releases.faults()
        return Proof(len(needed), len(self.releases.roots), liveness.total_bytes(needed), tuple(faults))

    def _names_of_outputs(self) -> set[str]:
        fates = [judged.fates for judged in self.judged if judged.place is self.folder]
        return {fate.item.name for judged in fates for fate in judged if not fate.item.name.startswith(".")}


def _used_here(releases: list[Item], here: list[Item]) -> list[Item]:
    """The releases, used last when what this machine fetched of them was: a run may be about to fetch more."""
    used: dict[str, float] = {}
    for item in here:
        if item.kind in (MODELS, _FETCHED):
            for name in item.known_as:
                used[name] = max(used.get(name, 0.0), item.last_used)

    def last_used(release: Item) -> float:
        return max([release.last_used, *(used.get(name, 0.0) for name in release.known_as | release.refers_to)])

    return [release._replace(last_used=last_used(release)) for release in releases]


def _accepted(configured: Settings) -> dict[str, Root]:
    """The outputs that the data accepted last consists of; of the data before it only what it is compared with."""
    roots: dict[str, Root] = {}
    for accepted in baseline.accepted(connect.running_workspace(configured)):
        why = f"accepted data of {', '.join(accepted.families)} for {accepted.recipe}"
        for ref in baseline.refs(accepted):
            roots.setdefault(ref.path, Root(why, alone=True))
        roots |= {ref.path: Root(why) for ref in (accepted.validation, accepted.split)}
    return roots


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    try:
        with LocalWorkspace(root).locked("gc", "one", timeout_s=0):
            yield
    except filelock.Timeout:
        raise errors.WorkspaceError(
            "One process at a time may remove what is no longer needed.",
            received=f"another one at work in {root}",
            todo="wait for it to end",
        ) from None


@contextlib.contextmanager
def _of_the_system() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise errors.WorkspaceError(
            "What is no longer needed must be removable.",
            received=f"'{error.strerror}' at {error.filename}",
            todo="run it as the user whose files these are, or change their permissions",
        ) from error
