"""What the sources' files and rows are called and labelled in the manifest, by their layouts, votes and paths."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fer import errors
from fer.ingest import manifest_parts, sources
from fer.ingest.index_config import IndexConfig
from fer.ingest.layouts import class_folders, detect, ferplus, pixel_tables
from fer.ingest.naming import label_advice, labels, path_patterns

_LEFT_OUT = "label left out by the recipe"
_UNLABELLED = "image without a label"


@dataclasses.dataclass(frozen=True)
class SourceArchive:
    """The archive of a dataset, its layout, and what its labels mean."""

    name: str
    archive: Path
    layout: detect.Layout
    decisions: labels.Decisions


class Labeller:
    """Makes images of what sources hold. `ignored` counts those that are left out for their label.

    Raises SourceError for votes that are wanted and not there, or don't belong to what is.
    """

    def __init__(self, source_archives: Sequence[SourceArchive], config: IndexConfig):
        self._sources = source_archives
        self._tally = label_advice.Tally(config.classes, config.synonyms, config.ignore_labels)
        self._meanings = {
            source.name: ferplus.VoteMeaning(config.classes, source.decisions.meaning, config.votes)
            for source in source_archives
        }
        self._of_rows = {} if config.votes == "ignore" else self._vote_labellers()
        self._ignore_unlabelled = config.ignore_unlabelled
        self._subjects = (
            path_patterns.PathPattern("index.subject_pattern", config.subject_pattern)
            if config.subject_pattern
            else None
        )
        self.ignored = Counter[str]()

    def images_of_files(self, source: SourceArchive) -> Iterator[manifest_parts.SourceImage]:
        """The images of a source of files."""
        for file in source.layout.files:
            if source.decisions.is_ignored(file.raw_label):
                self.ignored[_LEFT_OUT] += 1
            elif file.is_unlabelled and self._ignore_unlabelled:
                self.ignored[_UNLABELLED] += 1
            else:
                yield self._image_of_file(source, file)

    def image_of_row(
        self, source: SourceArchive, table: str, row: pixel_tables.Row
    ) -> manifest_parts.SourceImage | None:
        """The image of a row of a table; None if it is left out for its label."""
        decisions = source.decisions
        left_out = decisions.is_ignored(row.raw_label)
        label = self._tally.decide(decisions, row.path, row.raw_label) if row.raw_label and not left_out else None
        soft_label, defect = None, row.defect
        votes = self._of_rows.get((source.name, table))
        if votes is not None:
            voted = votes.label(row.number, row.raw_split, label)
            soft_label, label = voted.soft_label, voted.label
            defect = defect or voted.defect
        if left_out or (self._ignore_unlabelled and row.defect == labels.MISSING and label is None):
            self.ignored[_LEFT_OUT if row.raw_label else _UNLABELLED] += 1
            return None
        return manifest_parts.SourceImage(
            source.name,
            row.path,
            row.raw_label,
            label,
            soft_label,
            row.raw_split,
            self._subject(row.path),
            defect,
            groups=row.groups,
        )

    def end_table(self, source: SourceArchive, table: str) -> None:
        """Raise SourceError where a table has fewer rows than its votes."""
        votes = self._of_rows.get((source.name, table))
        if votes is not None:
            votes.require_all_seen()

    def require_all_known(self) -> None:
        """Raise LabelError where an image's label is none of the classes; see `label_advice`."""
        self._tally.require_all_known([source.layout.hint for source in self._sources if source.layout.hint])

    def _image_of_file(self, source: SourceArchive, file: class_folders.ImageFile) -> manifest_parts.SourceImage:
        if file.defect is None:
            label = self._tally.decide(source.decisions, file.path, file.raw_label)
        else:
            label = source.decisions.meaning(file.raw_label or "")
        soft_label, defect = None, file.defect
        if file.votes is not None:
            voted = self._meanings[source.name].label(np.array(file.votes, np.int64), label)
            soft_label, label = voted.soft_label, voted.label
            defect = defect or voted.defect
        subject = file.subject or self._subject(file.path)
        return manifest_parts.SourceImage(
            source.name,
            file.path,
            file.raw_label or "",
            label,
            soft_label,
            file.raw_split,
            subject,
            defect,
            file.member,
            file.groups,
        )

    def _subject(self, path: str) -> str | None:
        return None if self._subjects is None else self._subjects.find(path)

    def _vote_labellers(self) -> dict[tuple[str, str], ferplus.VoteLabeller]:
        """(source, table) -> the labeller of its rows, where they have votes by their order.

        Votes belong to the table of pixels in their source; those that are a source by themselves to the one table
        left.
        """
        n_votes = sum(source.layout.votes is not None for source in self._sources)
        have_own = any(file.votes is not None for source in self._sources for file in source.layout.files)
        if not n_votes and not have_own:
            raise errors.SourceError(
                "A recipe with index.votes must be given FERPlus's votes.",
                received=f"none in {sources.JOINED_BY.join(source.name for source in self._sources)}",
                todo=f"{ferplus.HOW_TO_GET}, or give a folder with it as another source",
            )
        pairs: list[tuple[SourceArchive, ferplus.Votes]] = []
        without_votes = [source for source in self._sources if source.layout.tables and source.layout.votes is None]
        for source in self._sources:
            votes = source.layout.votes
            if votes is not None:
                with_tables = [source] if source.layout.tables else without_votes
                pairs += [(other, votes) for other in with_tables]
        n_tables = [len(source.layout.tables) for source, _ in pairs]
        n_all_tables = sum(len(source.layout.tables) for source in self._sources)
        if n_tables != [1] * n_votes or len({source.name for source, _ in pairs}) < len(pairs):
            raise errors.SourceError(
                "FERPlus's votes must belong to one table of FER2013's pixels.",
                received=f"{n_votes:,} files of votes and {n_all_tables:,} tables",
                todo="give fer2013.csv once and fer2013new.csv once",
            )
        return {
            (source.name, source.layout.tables[0].name): ferplus.VoteLabeller(votes, self._meanings[source.name])
            for source, votes in pairs
        }
