"""FERPlus: how ten annotators labelled each image of fer2013.csv, row by row in its order.

Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution",
ICMI 2016. `fer2013new.csv` has the columns Usage, Image name, eight expressions, unknown, and NF (no face).
"""

import dataclasses
import zipfile
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from fer import errors, plain_text
from fer.ingest import archives
from fer.ingest.layouts import tables
from fer.ingest.naming import labels

VotesUse = Literal["ignore", "soft", "majority"]
EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
CATEGORIES = (*EXPRESSIONS, "unknown", "nf")
HOW_TO_GET = "get fer2013new.csv from https://github.com/microsoft/FERPlus and put it beside fer2013.csv"
_MAX_VOTES = 1_000


@dataclasses.dataclass(frozen=True)
class Votes:
    """The table of votes: `usages` (N,) and `counts` (N, 10) int64 of its rows, columns as CATEGORIES."""

    name: str
    usages: tuple[str, ...]
    counts: np.ndarray


@dataclasses.dataclass(frozen=True)
class VotedLabel:
    """An image's label by the votes: their shares over the classes, the class by majority, or why it can't be used."""

    soft_label: list[float] | None
    label: str | None
    defect: str | None = None


def is_votes(names: Sequence[str]) -> bool:
    """Whether a table with columns of these names is FERPlus's."""
    return {"usage", *CATEGORIES} <= {labels.normalised(name) for name in names}


def vote_columns(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns of votes in a table with columns of these names, as CATEGORIES; none if it has none."""
    normalised = [labels.normalised(name) for name in names]
    return tuple(names[normalised.index(category)] for category in CATEGORIES) if is_votes(names) else ()


def read(archive: zipfile.ZipFile, member: archives.Member, names: Sequence[str]) -> Votes:
    """The votes in the table `member`, whose columns have these names. Raises SourceError for what is no count."""
    usage = names[[labels.normalised(name) for name in names].index("usage")]
    usages, counts = [], []
    for number, row in tables.read(archive, member, (usage, *vote_columns(names))):
        usages.append(row[0] if row is not None else "")
        counts.append(counts_of(row[1:] if row is not None else (), f"row {number:,} of {member.name!r}"))
    return Votes(member.name, tuple(usages), np.array(counts, np.int64).reshape(-1, len(CATEGORIES)))


def counts_of(cells: Sequence[str], place: str) -> list[int]:
    """The counts in the cells of a row, as CATEGORIES. Raises SourceError for what is no count; `place` is where."""
    votes = [int(cell) for cell in cells if cell.isascii() and cell.isdigit() and len(cell) < 5]
    if len(votes) != len(CATEGORIES) or max(votes) > _MAX_VOTES:
        raise errors.SourceError(
            "FERPlus's votes must be counts.",
            received=f"{', '.join(map(plain_text.quoted, cells)) or 'more cells than columns'} in {place}",
            todo=HOW_TO_GET,
        )
    return votes


class VoteMeaning:
    """What votes say of an image. `meaning` gives the class of a label."""

    def __init__(self, classes: Sequence[str], meaning: Callable[[str], str | None], use: VotesUse):
        self._classes = tuple(classes)
        self._use = use
        class_of_category = [meaning(expression) for expression in EXPRESSIONS] + [None, None]
        self._membership = np.array(
            [[category == name for name in classes] for category in class_of_category], np.int64
        )  # (categories, classes)

    def label(self, counts: np.ndarray, usual_label: str | None) -> VotedLabel:
        """The label of an image with these counts, (10,) int64, that the source labels otherwise, or not."""
        class_counts = counts @ self._membership  # (classes,)
        total = int(class_counts.sum())
        soft_label = [float(share) for share in class_counts / total] if total else None
        if self._use == "soft":
            return VotedLabel(soft_label, usual_label)
        if not total or 2 * total < int(counts.sum()):
            return VotedLabel(soft_label, None, "annotators saw no such expression")
        winners = [self._classes[place] for place in np.flatnonzero(class_counts == class_counts.max())]
        if len(winners) > 1 and usual_label not in winners:
            return VotedLabel(soft_label, None, "the annotators' votes are tied")
        return VotedLabel(soft_label, usual_label if usual_label in winners else winners[0])


class VoteLabeller:
    """Labels the rows of a table of pixels, in its order, by the votes."""

    def __init__(self, votes: Votes, meaning: VoteMeaning):
        self._votes = votes
        self._meaning = meaning
        self._n_seen = 0

    def label(self, number: int, usage: str | None, fer2013_label: str | None) -> VotedLabel:
        """The label of row `number`, from 0, which has this split and FER2013's label.

        Raises SourceError where votes and rows don't belong together.
        """
        self._n_seen = number + 1
        if number >= len(self._votes.usages):
            raise self._mismatch(f"{len(self._votes.usages):,} rows of votes and more of pixels")
        expected = self._votes.usages[number]
        if usage is not None and labels.normalised(usage) != labels.normalised(expected):
            received = f"Usage {plain_text.quoted(expected)} and {plain_text.quoted(usage)} in row {number + 1:,}"
            raise self._mismatch(received)
        return self._meaning.label(self._votes.counts[number], fer2013_label)

    def require_all_seen(self) -> None:
        """Raise SourceError if there are more rows of votes than `label` was called for."""
        if self._n_seen != len(self._votes.usages):
            raise self._mismatch(f"{len(self._votes.usages):,} rows of votes and {self._n_seen:,} of pixels")

    def _mismatch(self, received: str) -> errors.SourceError:
        return errors.SourceError(
            f"The votes in {self._votes.name!r} must belong to the rows of the CSV of pixels, in its order.",
            received=received,
            todo="use FERPlus's fer2013new.csv with FER2013's own fer2013.csv, or set index.votes=ignore",
        )
