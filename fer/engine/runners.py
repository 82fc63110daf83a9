"""Where a stage's work items are processed: by the processes of this machine, or by a Dask cluster.

A stage whose work is split into items hands them to a runner. Which one decides how long it takes, never the result.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from fer.engine.processes import process_pool
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.progress import Progress


@dataclass(frozen=True)
class Folders:
    """Folders on the machine that processes a work item: those of the stage's inputs, and `out`, where files go."""

    inputs: tuple[Path, ...]
    out: Path


class WorkItem(Protocol):
    """A part of a stage's work that can be sent to another process."""

    @property
    def names(self) -> tuple[str, ...]:
        """The files that it makes in `Folders.out`: finished ones of an earlier attempt are there already."""

    @property
    def n_images(self) -> int:
        """How many images they hold."""


class Place(NamedTuple):
    """What the items of a stage read, its `inputs` in the workspace, and the folder `out` that they write to."""

    workspace: Workspace
    inputs: Sequence[Ref]
    out: Path


ItemT = TypeVar("ItemT", bound=WorkItem)
R = TypeVar("R")


class Runner(Protocol):
    """Processes work items somewhere."""

    def run(
        self,
        function: Callable[[Folders, ItemT], R],
        items: Iterable[ItemT],
        *,
        place: Place,
        n_images: int,
        progress: Progress,
        text: str,
    ) -> list[R]:
        """Call `function(folders, item)` for each item; results in the items' order.

        `function` can be imported by its name, reads nothing but the inputs of the `place`, writes the item's files
        whole or not at all, and returns little. Items are taken as they are needed. `progress` counts images, of
        `n_images` in all.
        """


@dataclass(frozen=True)
class Processes:
    """This process and others that it spawns: `workers` in all at most, by default one for each usable core.

    Others are started once more than `alone_s` seconds of work are left for this one alone.
    """

    workers: int | None = None
    alone_s: float = 2.0

    def run(
        self,
        function: Callable[[Folders, ItemT], R],
        items: Iterable[ItemT],
        *,
        place: Place,
        n_images: int,
        progress: Progress,
        text: str,
    ) -> list[R]:
        """See Runner. Raises WorkspaceError if a worker is killed."""
        folders = Folders(tuple(place.workspace.folder(ref) for ref in place.inputs), place.out)
        return process_pool.map_ordered(
            functools.partial(function, folders),
            items,
            workers=self.workers,
            total=n_images,
            weigh=_n_images,
            progress=progress,
            text=text,
            alone_s=self.alone_s,
        )


def _n_images(item: WorkItem) -> int:
    return item.n_images
