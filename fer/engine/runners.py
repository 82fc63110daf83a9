"""Where the pieces of a stage's work are done: by the processes of this machine, or by an engine for several machines.

A stage that is cut in pieces hands them to a runner. Which one decides how long it takes, never what comes out.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from fer.engine import process_pool
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.progress import Progress


@dataclass(frozen=True)
class Place:
    """Folders on the machine that does a piece of work: those of the stage's inputs, and `out`, where files go."""

    inputs: tuple[Path, ...]
    out: Path


class Piece(Protocol):
    """A part of a stage's work that a process can be sent."""

    @property
    def names(self) -> tuple[str, ...]:
        """The files that come of it in `Place.out`: finished ones of an earlier attempt are there already."""

    @property
    def n_images(self) -> int:
        """How many images they hold."""


P = TypeVar("P", bound=Piece)
R = TypeVar("R")


class Runner(Protocol):
    """Does pieces of work somewhere."""

    def run(
        self,
        function: Callable[[Place, P], R],
        pieces: Iterable[P],
        *,
        inputs: Sequence[Ref],
        out: Path,
        workspace: Workspace,
        n_images: int,
        progress: Progress,
        note: str,
    ) -> list[R]:
        """Call `function(place, piece)` for each piece; results in the pieces' order.

        `function` can be imported by its name, reads nothing but the `inputs`, writes the piece's files whole or not at
        all, and returns little. Pieces are taken as they are needed. `progress` counts images, of `n_images` in all.
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
        function: Callable[[Place, P], R],
        pieces: Iterable[P],
        *,
        inputs: Sequence[Ref],
        out: Path,
        workspace: Workspace,
        n_images: int,
        progress: Progress,
        note: str,
    ) -> list[R]:
        place = Place(tuple(workspace.folder(each) for each in inputs), out)
        return process_pool.map_ordered(
            functools.partial(function, place),
            pieces,
            workers=self.workers,
            total=n_images,
            weigh=_n_images,
            progress=progress,
            note=note,
            alone_s=self.alone_s,
        )


def _n_images(piece: Piece) -> int:
    return piece.n_images
