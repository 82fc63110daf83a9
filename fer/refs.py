"""Refs: the small frozen records that stages hand to each other, and that Prefect carries, caches and shows.

A Ref names a folder in the workspace and the digest of what is in it; never an array, a frame or a model.
"""

from pydantic import BaseModel, ConfigDict

Counts = dict[str, int]  # class or split -> images


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
    """`manifest.parquet`, one row a file found, and `images/part-*.parquet`, the encoded bytes."""

    layout: str
    classes: tuple[str, ...]
    n_found: int
    n_quarantined: int
    n_ignored: int = 0  # files that are no images, and images whose label the config leaves out

    def summary(self) -> str:
        ignored = f", {self.n_ignored:,} other file{'s' * (self.n_ignored != 1)} ignored" if self.n_ignored else ""
        return f"{self.n_found:,} images found ({self.layout}), {self.n_quarantined:,} can't be read{ignored}"


class ValidationRef(Ref):
    """`accepted.parquet`, `quarantine.parquet`, `validation.json` and `data_docs/`.

    `failures` holds a line for each broken contract of severity `stop`, `warnings` one for each of severity `warn`.
    """

    classes: tuple[str, ...]
    n_found: int
    n_accepted: int
    quarantined: Counts  # reason -> images
    n_redundant_copies: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        refused = ", ".join(f"{count:,} {reason}" for reason, count in self.quarantined.items()) or "none"
        copies = f"{self.n_redundant_copies:,} redundant copies"
        return f"{self.n_accepted:,} of {self.n_found:,} images accepted; refused: {refused}; {copies}"


class SplitRef(Ref):
    """`split.parquet`: one row an accepted image, with its split."""

    classes: tuple[str, ...]
    counts: dict[str, Counts]  # split -> class -> images
    n_excluded: int  # kept out because an identical image is in a split held out further
    origin: str  # "official", "drawn", or "official, validation drawn"

    def summary(self) -> str:
        parts = [f"{name} {sum(by_class.values()):,}" for name, by_class in self.counts.items()]
        twins = f"; {self.n_excluded:,} twins of held-out images excluded" if self.n_excluded else ""
        return f"{', '.join(parts)} ({self.origin}){twins}"


class ShardsRef(Ref):
    """`{split}-*.parquet` of uint8 pixels, and `preprocessing.json`, which says how they were made."""

    classes: tuple[str, ...]
    height: int
    width: int
    counts: dict[str, Counts]  # split -> class -> images
    mean: float  # of the train split's pixels, 0-255
    std: float

    def summary(self) -> str:
        parts = [f"{name} {sum(by_class.values()):,}" for name, by_class in self.counts.items()]
        return f"{', '.join(parts)} at {self.height}×{self.width}"


class ModelRef(Ref):
    """`model.keras`, `preprocessing.json` and `history.json`. The digest is that of the weights."""

    model: str
    classes: tuple[str, ...]
    n_parameters: int
    epochs_run: int
    best_epoch: int
    validation_accuracy: float
    train_seconds: float

    def summary(self) -> str:
        best = f"best epoch {self.best_epoch} of {self.epochs_run}"
        return f"{self.model}, {self.n_parameters:,} parameters, {best}, validation {self.validation_accuracy:.3f}"


class EvaluationRef(Ref):
    """`predictions.parquet`, `metrics.json`, `confusion.png` and `report.md` of one model on one split."""

    split: str
    n_images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]

    def summary(self) -> str:
        accuracy = f"accuracy {self.accuracy:.3f} [{self.accuracy_interval[0]:.3f}, {self.accuracy_interval[1]:.3f}]"
        macro_f1 = f"macro-F1 {self.macro_f1:.3f} [{self.macro_f1_interval[0]:.3f}, {self.macro_f1_interval[1]:.3f}]"
        return f"{accuracy}, {macro_f1} on {self.n_images:,} {self.split} images"


class Check(BaseModel):
    """One line of a verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool
    detail: str


class VerdictRef(Ref):
    """`verdict.json`: whether the candidate may become champion, and why."""

    passed: bool
    checks: tuple[Check, ...]
    champion_version: int | None  # what the candidate was compared with; None without a champion

    def summary(self) -> str:
        failed = [check.detail for check in self.checks if not check.passed]
        return "passed" if self.passed else "failed: " + "; ".join(failed)


class ReleaseRef(Ref):
    """A version in the model registry. `path` is the registry's, `digest` that of the version's manifest."""

    name: str
    version: int
    status: str  # "released" or "rejected"
    uri: str
    champion_version: int | None  # what the alias points to afterwards

    def summary(self) -> str:
        return f"{self.name} version {self.version} {self.status}; champion: {self.champion_version or 'none'}"


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

    alias_version: int | None = None  # None: the alias does not exist yet
    alias_etag: str | None = None
    opponent: Opponent | None = None


class Outcome(BaseModel):
    """What came of a retraining run."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    source: str
    recipe: str
    validation: ValidationRef
    model: ModelRef
    evaluation: EvaluationRef
    verdict: VerdictRef
    release: ReleaseRef
    reports: dict[str, str]  # what it shows -> its path


def lineage(dataset: DatasetRef, split: SplitRef, *others: Ref) -> dict[str, str]:
    """The source, where the splits come from, and each stage's digest: what a release was made of."""
    stages = {ref.path.split("/")[0]: ref.digest for ref in (dataset, split, *others)}
    return {"source": dataset.source, "split_origin": split.origin} | stages


def source_family(source: str) -> str:
    """`source` (as in `DatasetRef.source`) without version or digest: `kaggle:owner/slug`, `archive` or `demo`."""
    kind, _, rest = source.partition(":")
    return f"{kind}:{rest.split('/versions/')[0]}" if kind == "kaggle" else kind
