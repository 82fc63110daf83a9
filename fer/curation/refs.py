"""What the stages of `fer.curation` make."""

from pydantic import AliasChoices, Field

from fer.engine.records import Record
from fer.engine.refs import Counts, Ref


class ValidationRef(Ref):
    """`accepted.parquet`, `quarantine.parquet`, `validation.json` and `data_docs/`.

    `failures` holds a line for each broken contract of severity `stop`, `warnings` one for each of severity `warn`.
    """

    classes: tuple[str, ...]
    n_found: int
    n_accepted: int
    quarantined: Counts  # reason -> images
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """Accepted and quarantined images, with the reasons."""
        refused = ", ".join(f"{count:,} {reason}" for reason, count in self.quarantined.items()) or "none"
        return f"{self.n_accepted:,} of {self.n_found:,} images accepted; refused: {refused}"


class InspectionRef(Ref):
    """`findings.parquet` and `pairs.parquet`: duplicates and outlier scores of the accepted images."""

    n_images: int
    n_pairs: int  # of duplicates
    n_groups: int  # of two or more connected duplicates

    def summary(self) -> str:
        """How many groups of duplicates there are."""
        return f"{self.n_groups:,} groups of duplicates among {self.n_images:,} images"


class CurationRef(Ref):
    """`curation.parquet` and `curation.json`: the issues of each accepted image, and its action.

    `failures` holds a line for each issue found whose policy is `stop`.
    """

    classes: tuple[str, ...]
    issues: Counts  # issue -> images
    dropped: Counts  # the issue that decided -> images
    quarantined: Counts  # likewise
    failures: tuple[str, ...]

    def summary(self) -> str:
        """Dropped and quarantined images, and all issues."""
        issues = ", ".join(f"{count:,} {issue.replace('_', ' ')}" for issue, count in self.issues.items() if count)
        removed = f"{sum(self.dropped.values()):,} dropped, {sum(self.quarantined.values()):,} quarantined"
        return f"{removed}; issues: {issues or 'none'}"


class Leak(Record):
    """Images of the official `split` with a duplicate in train, before it is repaired, by the closest kind of duplicate
    that they have there (data_contracts.curation.KINDS).
    """

    split: str
    duplicates: int = Field(validation_alias=AliasChoices("duplicates", "twins"))  # all of them
    identical: int
    near: int
    shifted: int
    mirrored: int


class SplitRef(Ref):
    """`split.parquet`: one row per image that is not in quarantine, with its split.

    `failures` holds a line where images leak and the policy is `stop`, and where a split lacks a class; `warnings`
    one where a drawn split is far from its share.
    """

    classes: tuple[str, ...]
    counts: dict[str, Counts]  # split -> class -> images
    origin: str  # "official", "drawn", or "official, validation drawn"
    n_clean: Counts = Field(default_factory=dict)  # split -> images of its de-duplicated version
    excluded: Counts = Field(default_factory=dict)  # reason -> images
    leaks: tuple[Leak, ...] = ()
    n_leaked: int = 0  # images of validation and test with a duplicate closer to training, after the repair
    n_leaked_subjects: int = 0  # likewise those whose subject is closer to training
    # images that have the split of the last accepted data
    n_kept: int = Field(default=0, validation_alias=AliasChoices("n_kept", "n_kept_sides"))
    n_label_errors: int | None = None  # labels of train in doubt; None: not looked for
    n_label_errors_held_out: int | None = None  # likewise of validation and test, about which nothing is done
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    n_folds: int = 0  # in which its images, all of them `test`, are tested by models of the others; 0: by one model

    def summary(self) -> str:
        """Images per split, and what leaks or is in doubt."""
        if self.n_folds:
            return f"{sum(self.counts['test'].values()):,} images, each tested once, in one of {self.n_folds} folds"
        parts = [f"{name} {sum(by_class.values()):,}" for name, by_class in self.counts.items()]
        n_excluded = sum(self.excluded.values())
        excluded = f"; {n_excluded:,} excluded" if n_excluded else ""
        labels = ""
        if self.n_label_errors is not None:
            labels = f"; labels in doubt: {self.n_label_errors:,} of train, {self.n_label_errors_held_out:,} held out"
        return f"{', '.join(parts)} ({self.origin}){excluded}; {self.n_leaked:,} leaked{labels}"


class DriftRef(Ref):
    """`drift.json`: how the accepted images differ from those last accepted."""

    n_baseline: int | None  # images last accepted; None: this is the first time
    n_new: int
    n_gone: int
    n_relabelled: int
    is_anchored: bool = True  # whether enough new images had come together to be tested by themselves
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """What is new, gone and relabelled, and what drifted."""
        if self.n_baseline is None:
            return "no data accepted before this to compare with"
        changed = f"{self.n_new:,} new, {self.n_gone:,} gone, {self.n_relabelled:,} relabelled"
        return f"{changed}; drift: {'; '.join([*self.failures, *self.warnings]) or 'none'}"


class PreviousData(Record):
    """The accepted data that some data is compared with, and the split whose assignments it keeps; None the first time.

    `anchor` is the older data that the images new since then are compared with.
    """

    validation: ValidationRef | None = None
    anchor: ValidationRef | None = None
    split: SplitRef | None = None
