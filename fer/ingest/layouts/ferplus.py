"""FERPlus: how ten annotators labelled each image of fer2013.csv, row by row in its order.

Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution",
ICMI 2016. `fer2013new.csv` has the columns Usage, Image name, eight expressions, unknown, and NF (no face).
"""

import dataclasses
import zipfile
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from fer import errors
from fer.ingest import archives, labels
from fer.ingest.layouts import tables

Use = Literal["ignore", "soft", "majority"]
EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
_CATEGORIES = (*EXPRESSIONS, "unknown", "nf")
WHERE = "get fer2013new.csv from https://github.com/microsoft/FERPlus and put it beside fer2013.csv"
_MAX_VOTES = 1_000


@dataclasses.dataclass(frozen=True)
class Votes:
    """`usages` (N) and `counts` (N, 10) int64 of the table's rows; columns as _CATEGORIES."""

    name: str
    usages: tuple[str, ...]
    counts: np.ndarray


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the votes say of an image: their shares over the classes, the class by majority, or why it is out."""

    soft_label: list[float] | None
    label: str | None
    defect: str | None = None


def is_votes(names: Sequence[str]) -> bool:
    """Whether a table with columns of these names is FERPlus's."""
    return {"usage", *_CATEGORIES} <= {labels.normalised(each) for each in names}


def read(archive: zipfile.ZipFile, member: archives.Member, names: Sequence[str]) -> Votes:
    """The votes in the table `member`, whose columns have these names. Raises SourceError for what is no count."""
    normalised = [labels.normalised(each) for each in names]
    columns = [names[normalised.index(each)] for each in ("usage", *_CATEGORIES)]
    usages, counts = [], []
    for number, row in tables.read(archive, member, columns):
        cells = row[1:] if row is not None else ()
        votes = [int(each) for each in cells if each.isascii() and each.isdigit() and len(each) < 5]
        if row is None or len(votes) < len(_CATEGORIES) or max(votes) > _MAX_VOTES:
            raise errors.SourceError(
                "FERPlus's votes must be counts.",
                received=f"{', '.join(map(archives.shown, cells)) or 'more cells than columns'} in row {number:,} of "
                f"{member.name!r}",
                todo=WHERE,
            )
        usages.append(row[0])
        counts.append(votes)
    return Votes(member.name, tuple(usages), np.array(counts, np.int64).reshape(-1, len(_CATEGORIES)))


class Judge:
    """Says of each row of a table of pixels, in its order, what the votes say. `meaning` gives a label's class."""

    def __init__(self, votes: Votes, classes: Sequence[str], meaning: Callable[[str], str | None], use: Use):
        self._votes = votes
        self._classes = tuple(classes)
        self._use = use
        meant = [meaning(each) for each in EXPRESSIONS] + [None, None]
        self._membership = np.array([[each == name for name in classes] for each in meant], np.int64)
        self._n_seen = 0

    def verdict(self, number: int, usage: str | None, label: str | None) -> Verdict:
        """What the votes say of row `number`, from 0, of this split and FER2013's `label`.

        Raises SourceError where votes and rows don't belong together.
        """
        self._n_seen = number + 1
        if number >= len(self._votes.usages):
            raise self._strangers(f"{len(self._votes.usages):,} rows of votes and more of pixels")
        expected = self._votes.usages[number]
        if usage is not None and labels.normalised(usage) != labels.normalised(expected):
            received = f"Usage {archives.shown(expected)} and {archives.shown(usage)} in row {number + 1:,}"
            raise self._strangers(received)
        cast = self._votes.counts[number]
        of_classes = cast @ self._membership  # (classes,)
        total = int(of_classes.sum())
        soft_label = [float(each) for each in of_classes / total] if total else None
        if self._use == "soft":
            return Verdict(soft_label, label)
        if not total or 2 * total < int(cast.sum()):
            return Verdict(soft_label, None, "annotators saw no such expression")
        most = [self._classes[place] for place in np.flatnonzero(of_classes == of_classes.max())]
        if len(most) > 1 and label not in most:
            return Verdict(soft_label, None, "the annotators' votes are tied")
        return Verdict(soft_label, label if label in most else most[0])

    def require_all_seen(self) -> None:
        """Raise SourceError if there are more rows of votes than `verdict` was asked for."""
        if self._n_seen != len(self._votes.usages):
            raise self._strangers(f"{len(self._votes.usages):,} rows of votes and {self._n_seen:,} of pixels")

    def _strangers(self, received: str) -> errors.SourceError:
        return errors.SourceError(
            f"The votes in {self._votes.name!r} must belong to the rows of the CSV of pixels, in its order.",
            received=received,
            todo="use FERPlus's fer2013new.csv with FER2013's own fer2013.csv, or set index.votes=ignore",
        )
