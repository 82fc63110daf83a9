"""Refs: the small frozen records that stages hand to each other, and that Prefect carries, caches and shows.

A Ref names a folder in the workspace and the digest of what is in it; never an array, a frame or a model.
"""

from pydantic import BaseModel, ConfigDict

Counts = dict[str, int]  # class, split or reason -> images
SOURCES_JOINED_BY = " + "


class Ref(BaseModel):
    """`path` is the folder, relative to the workspace; `digest` the SHA-256 of its content. The workspace sets both."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    path: str = ""
    digest: str = ""

    def summary(self) -> str:
        """One line for the terminal and the Prefect UI."""
        return ""


class DatasetRef(Ref):
    """`dataset.zip`: the source as delivered."""

    source: str
    n_files: int
    size_bytes: int

    def summary(self) -> str:
        return f"{self.source}: {self.n_files:,} files, {self.size_bytes / 1e6:,.1f} MB"


class ManifestRef(Ref):
    """`manifest.parquet`, one row per file found, and its bytes and thumbnails in `images/` and `thumbnails/`."""

    source: str  # of the datasets, as in `DatasetRef.source`, sorted and joined by SOURCES_JOINED_BY
    layouts: tuple[str, ...]
    classes: tuple[str, ...]
    n_found: int
    n_quarantined: int
    ignored: Counts = {}  # what else lies in the sources, in words -> files

    def summary(self) -> str:
        n_ignored = sum(self.ignored.values())
        ignored = f", {n_ignored:,} other file{'s' * (n_ignored != 1)} ignored" if n_ignored else ""
        layout = ", ".join(self.layouts)
        return f"{self.n_found:,} images found ({layout}), {self.n_quarantined:,} can't be read{ignored}"


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
        refused = ", ".join(f"{count:,} {reason}" for reason, count in self.quarantined.items()) or "none"
        return f"{self.n_accepted:,} of {self.n_found:,} images accepted; refused: {refused}"


class InspectionRef(Ref):
    """`findings.parquet` and `pairs.parquet`: what is known of each accepted image beside its own properties."""

    n_images: int
    n_pairs: int  # of near-twins, identical ones among them
    n_groups: int  # of two or more connected near-twins

    def summary(self) -> str:
        return f"{self.n_groups:,} groups of near-twins among {self.n_images:,} images"


class CurationRef(Ref):
    """`curation.parquet` and `curation.json`: the issues of each accepted image and what is to become of it.

    `failures` holds a line for each issue found whose policy is `stop`.
    """

    classes: tuple[str, ...]
    issues: Counts  # issue -> images
    dropped: Counts  # the issue that decided -> images
    quarantined: Counts  # likewise
    failures: tuple[str, ...]

    def summary(self) -> str:
        found = ", ".join(f"{count:,} {issue.replace('_', ' ')}" for issue, count in self.issues.items() if count)
        apart = f"{sum(self.dropped.values()):,} dropped, {sum(self.quarantined.values()):,} quarantined"
        return f"{apart}; issues: {found or 'none'}"


class Leak(BaseModel):
    """Images of the official `split` with a twin in train, before it is repaired, each by the closest kind of twin that
    it has there (data_contracts.curation.KINDS).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str
    twins: int  # all of them
    identical: int
    near: int
    shifted: int
    mirrored: int


class SplitRef(Ref):
    """`split.parquet`: one row per image that is not in quarantine, with its split.

    `failures` holds a line where images leak and the policy is `stop`, and where a side lacks a class; `warnings` one
    where a drawn side is far from its share.
    """

    classes: tuple[str, ...]
    counts: dict[str, Counts]  # split -> class -> images
    origin: str  # "official", "drawn", or "official, validation drawn"
    n_clean: Counts = {}  # split -> images of its de-duplicated version
    excluded: Counts = {}  # reason -> images
    leaks: tuple[Leak, ...] = ()
    n_leaked: int = 0  # images of validation and test with a near-twin closer to training, after the repair
    n_leaked_subjects: int = 0  # likewise those whose subject is closer to training
    n_kept_sides: int = 0  # images whose side is that of the last accepted split
    n_label_errors: int | None = None  # labels of train in doubt; None: not looked for
    n_label_errors_held_out: int | None = None  # likewise of validation and test, about which nothing is done
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
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
        if self.n_baseline is None:
            return "nothing accepted before to compare with"
        changed = f"{self.n_new:,} new, {self.n_gone:,} gone, {self.n_relabelled:,} relabelled"
        return f"{changed}; drift: {'; '.join([*self.failures, *self.warnings]) or 'none'}"


class QualityRef(Ref):
    """`quality.html` and `quality.json`: the data quality report."""

    verdict: str  # "pass", "warn" or "stop"
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        return "; ".join([self.verdict, *self.failures, *self.warnings][:4])


class Before(BaseModel):
    """What some data is compared with, and whose sides it keeps; all None the first time.

    `anchor` is the older data that the images new since then are held against.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation: ValidationRef | None = None
    anchor: ValidationRef | None = None
    split: SplitRef | None = None


class Intake(BaseModel):
    """Data that is fit for training, and where its report is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: ManifestRef
    validation: ValidationRef
    inspection: InspectionRef
    curation: CurationRef
    split: SplitRef
    drift: DriftRef
    quality: QualityRef
    before: Before
    reports: dict[str, str]  # what it shows -> its path


class ShardsRef(Ref):
    """`{split}-*.parquet` of uint8 pixels, and `preprocessing.json`, which says how they were made.

    `class_weights`: class -> what its images count in training's loss, the mean over the images 1; empty: all count 1.
    """

    classes: tuple[str, ...]
    height: int
    width: int
    counts: dict[str, Counts]  # split -> class -> images
    mean: float  # of the train split's pixels, 0-255
    std: float
    class_weights: dict[str, float] = {}

    def summary(self) -> str:
        parts = [f"{name} {sum(by_class.values()):,}" for name, by_class in self.counts.items()]
        weighed = ", classes weighed" if self.class_weights else ""
        return f"{', '.join(parts)} at {self.height}×{self.width}{weighed}"


class WeightsRef(Ref):
    """A file of weights that a training starts from."""

    file: str
    identity: str
    origin: str  # what they were trained on, and who says so

    def summary(self) -> str:
        return f"{self.file}, {self.identity}; {self.origin}"


class SoftLabelsRef(Ref):
    """`soft_labels.parquet`: the shares of votes of the train images that have some."""

    classes: tuple[str, ...]
    n_images: int

    def summary(self) -> str:
        return f"votes for {self.n_images:,} train images"


class ModelRef(Ref):
    """`model.keras`, `preprocessing.json` and `history.json`. The digest is that of the weights."""

    model: str
    classes: tuple[str, ...]
    n_parameters: int
    epochs_run: int
    best_epoch: int
    validation_accuracy: float
    train_seconds: float
    started_from: str | None = None  # the origin of its starting weights, as in WeightsRef; None: random ones

    def summary(self) -> str:
        best = f"best epoch {self.best_epoch} of {self.epochs_run}"
        start = "" if self.started_from is None else f"; started from {self.started_from}"
        accuracy = f"validation {self.validation_accuracy:.3f}"
        return f"{self.model}, {self.n_parameters:,} parameters, {best}, {accuracy}{start}"


class Scores(BaseModel):
    """Accuracy and macro-F1 of some images, with their intervals at 95 %.

    `absent_classes` have no image among them, and are left out of macro-F1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    absent_classes: tuple[str, ...] = ()


class EvaluationRef(Ref):
    """`predictions.parquet`, `metrics.json`, `confusion.png` and `report.md` of one model on one split.

    `deduplicated` are the scores of the split's de-duplicated version, None if it is empty. `flip_averaged` are those
    of the mean of what the model says of each image and of its mirror image, which `flip_averaged.parquet` holds.
    """

    split: str
    n_images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    absent_classes: tuple[str, ...] = ()  # those without an image, which macro-F1 leaves out
    deduplicated: Scores | None = None
    flip_averaged: Scores | None = None
    flip_averaged_deduplicated: Scores | None = None

    def summary(self) -> str:
        accuracy = f"accuracy {self.accuracy:.3f} [{self.accuracy_interval[0]:.3f}, {self.accuracy_interval[1]:.3f}]"
        macro_f1 = f"macro-F1 {self.macro_f1:.3f} [{self.macro_f1_interval[0]:.3f}, {self.macro_f1_interval[1]:.3f}]"
        clean = self.deduplicated
        others = "" if clean is None else f"; {clean.accuracy:.3f} on the {clean.n_images:,} de-duplicated ones"
        if clean is not None and clean.absent_classes != self.absent_classes:
            others += left_out(clean.absent_classes)
        flipped = self.flip_averaged
        averaged = "" if flipped is None else f"; {flipped.accuracy:.3f} averaged with mirror images"
        images = f"{self.n_images:,} {self.split} images{left_out(self.absent_classes)}"
        return f"{accuracy}, {macro_f1} on {images}{others}{averaged}"


def left_out(absent_classes: tuple[str, ...]) -> str:
    """What is to be said behind a number of images, or a macro-F1, of the classes that have none; "" if all have."""
    return f" (none of {', '.join(absent_classes)}, left out of macro-F1)" if absent_classes else ""


class Check(BaseModel):
    """One line of a verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool
    detail: str


class Power(BaseModel):
    """What a comparison with the champion can tell on its images: see `fer.evaluation.power`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_images: int
    n_discordant: int  # images on which exactly one of the two is right
    margin: float
    confidence: float
    loss: float  # of accuracy and macro-F1: what is truly worse, for `worse_passes`
    equal_passes: float  # how often a candidate passes that is as good
    worse_passes: float
    refused_from: float  # the smallest true loss that is refused in 95 % of cases
    images_needed: int  # to pass 95 % of equals and 1 % of those worse by `loss`, by a margin for it

    def sentence(self) -> str:
        """All of it in words, as far as it is approximate: see `fer.evaluation.power`."""
        return (
            f"{self.short()}; with another margin {self.images_needed:,} images could pass 95% of equals and 1% of "
            f"those {100 * self.loss:g} points worse"
        )

    def short(self) -> str:
        """A line for the terminal."""
        return (
            f"exactly one of the two is right on {self.n_discordant / self.n_images:.1%} of {self.n_images:,} images: "
            f"the margin of {self.margin:g} passes {self.equal_passes:.0%} of equals and {self.worse_passes:.0%} of "
            f"models {100 * self.loss:g} points worse, and refuses 95% of those {100 * self.refused_from:.1f} points "
            "worse"
        )


class VerdictRef(Ref):
    """`verdict.json`: whether the candidate may become champion, and why; `power` where it was compared with one."""

    passed: bool
    checks: tuple[Check, ...]
    champion_version: int | None  # what the candidate was compared with; None without a champion
    power: Power | None = None

    def summary(self) -> str:
        return "passed" if self.passed else f"failed: {self.reason()}"

    def reason(self) -> str:
        """What stands in the candidate's way; empty if it passed."""
        return "; ".join(check.detail for check in self.checks if not check.passed)

    def sentence(self) -> str:
        """What the gates made of the candidate, and why."""
        if not self.passed:
            return f"Refused by the gates: {self.reason()}"
        return f"Passed the gates: {'; '.join(check.detail for check in self.checks)}"


class ReleaseRef(Ref):
    """A version in the model registry. `path` is the registry's, `digest` that of the version's manifest."""

    name: str
    version: int
    status: str  # "released", "rejected", or "kept": it passed its gates but is not promoted
    uri: str
    champion_version: int | None  # what the alias points to afterwards
    kept_because: str = ""  # of a version that is kept: why it is not promoted, and how it can be

    def summary(self) -> str:
        why = f": {self.kept_because}" if self.kept_because else ""
        return f"{self.name} version {self.version} {self.status}{why}; champion: {self.champion_version or 'none'}"

    def sentence(self) -> str:
        """What became of the version, and who is champion."""
        said = {"rejected": "refused by the gates", "kept": "kept, not promoted"}.get(self.status, self.status)
        champion = f"; {self.name}@champion is version {self.champion_version}" if self.champion_version else ""
        return f"{self.name} version {self.version}: {said}{champion}"


class Opponent(BaseModel):
    """The released model that a candidate is compared with. `model` names the folder of all its release's files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    source: str  # of the dataset that it was made from, as in `DatasetRef.source`
    model: ModelRef
    same_preprocessing: bool  # whether today's code prepares images as it did for this model


class Contest(BaseModel):
    """What a candidate is up against: the champion alias as it stands, and the model to be compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias_version: int | None = None  # None: there is no champion
    alias_state: str | None = None
    opponent: Opponent | None = None


class Outcome(BaseModel):
    """What came of a retraining run."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    sources: tuple[str, ...]
    recipe: str
    quality: QualityRef
    model: ModelRef
    evaluation: EvaluationRef
    verdict: VerdictRef
    release: ReleaseRef
    reports: dict[str, str]  # what it shows -> its path

    @property
    def is_refused(self) -> bool:
        """Whether the gates refused the model."""
        return self.release.status == "rejected"

    @property
    def word(self) -> str:
        """`released`, `refused`, or `kept`: it passed its gates but is not promoted."""
        return "refused" if self.is_refused else self.release.status

    def message(self) -> str:
        """One line: the version, and its figures and whether it is champion, or why it was refused or kept."""
        release, evaluation = self.release, self.evaluation
        version = f"{release.name}@{release.version}"
        if self.is_refused:
            return f"{version}: {self.verdict.reason()}"
        if self.release.kept_because:
            return f"{version}: {self.release.kept_because}"
        low, high = evaluation.accuracy_interval
        accuracy = f"accuracy {evaluation.accuracy:.3f} [{low:.3f}, {high:.3f}] on {evaluation.n_images:,} test images"
        champion = "champion" if release.champion_version == release.version else "not champion"
        return f"{version}: {accuracy}, {champion}"


class SweepOutcome(BaseModel):
    """What came of a search: its trials as rows, the best first, and the command that retrains with the best one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    rows: tuple[dict[str, str | int | float], ...]
    best: float | None
    command: str  # empty without a best one
    reports: dict[str, str]  # what it shows -> its path


class ComparisonOutcome(BaseModel):
    """What came of a comparison: a row a candidate, and which is best on the validation split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    rows: tuple[dict[str, str | int | float], ...]
    best: str
    reports: dict[str, str]  # what it shows -> its path


def lineage(manifest: ManifestRef, split: SplitRef, *others: Ref) -> dict[str, str]:
    """The sources, where the splits come from, and each stage's digest: what a release was made of.

    Of weights it is which they are: `registry:NAME@VERSION:…`, or their file's digest; `weights_origin` says what they
    were trained on.
    """
    stages = {"split": split.digest} | {
        ref.path.split("/")[0]: ref.identity if isinstance(ref, WeightsRef) else ref.digest
        for ref in (manifest, *others)
    }
    found = {"source": manifest.source, "split_origin": split.origin} | stages
    for ref in others:
        if isinstance(ref, WeightsRef):
            found["weights_origin"] = ref.origin
    return found


def source_family(source: str) -> str:
    """`source` (as in `ManifestRef.source`) without versions and digests: `kaggle:owner/slug`, `archive` or `demo`."""
    return SOURCES_JOINED_BY.join(_family(each) for each in source.split(SOURCES_JOINED_BY))


def _family(source: str) -> str:
    kind, _, rest = source.partition(":")
    return f"{kind}:{rest.split('/versions/')[0]}" if kind == "kaggle" else kind
