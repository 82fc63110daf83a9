"""What the flows, and several tasks together, return: frozen records, which Prefect keeps as JSON."""

from dataclasses import dataclass

from fer.curation.refs import CurationRef, DriftRef, InspectionRef, PreviousData, SplitRef, ValidationRef
from fer.engine.records import Record
from fer.engine.refs import Ref
from fer.evaluation.refs import Check, EvaluationRef, Examination, Opponents, VerdictRef
from fer.ingest.refs import ManifestRef
from fer.registry.refs import ReleaseRef
from fer.reports.refs import QualityRef
from fer.scoring.refs import ScoresRef
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef, SeedsRef, SoftLabelsRef, WeightsRef


class IngestResult(Record):
    """Data that is fit for training, and where its report is."""

    manifest: ManifestRef
    validation: ValidationRef
    inspection: InspectionRef
    curation: CurationRef
    split: SplitRef
    drift: DriftRef
    quality: QualityRef
    previous: PreviousData
    reports: dict[str, str]  # what it shows -> its path


@dataclass(frozen=True)
class TrainedModel:
    """A model, and the outputs of the stages that it was trained from."""

    shards: ShardsRef
    balanced: ShardsRef
    weights: WeightsRef | None  # that the training started from
    votes: SoftLabelsRef | None
    model: ModelRef
    seeds: SeedsRef | None = None  # those that the model was chosen from

    def inputs(self) -> tuple[Ref, ...]:
        """The outputs of all stages, the model's among them, in the order of the stages."""
        refs = (self.shards, self.balanced, self.weights, self.votes, self.model, self.seeds)
        return tuple(ref for ref in refs if ref is not None)


@dataclass(frozen=True)
class Assessment:
    """What was found out about a model, and the models that it met, with their evaluations."""

    evaluation: EvaluationRef
    tested: SplitRef  # of whose test images the evaluation is
    examination: Examination
    opponents: Opponents
    verdict: VerdictRef


class RetrainResult(Record):
    """The result of a retraining run: a version in the registry, and why it is released, kept or refused."""

    sources: tuple[str, ...]
    recipe: str
    quality: QualityRef
    model: ModelRef
    seeds: SeedsRef | None = None  # those that the model was chosen from
    evaluation: EvaluationRef
    examination: Examination = Examination()
    verdict: VerdictRef
    release: ReleaseRef
    reports: dict[str, str]  # what it shows -> its path

    @property
    def is_refused(self) -> bool:
        """Whether the gates refused the model."""
        return self.release.status == "refused"

    @property
    def checks(self) -> tuple[Check, ...]:
        """All that the candidate was held to: the verdict's checks, and those of the packed release."""
        return (*self.verdict.checks, *self.release.checks)

    @property
    def status(self) -> str:
        """`released`, `refused`, or `kept`: it passed its gates but is not promoted."""
        return self.release.status

    def message(self) -> str:
        """One line: the version, and its figures and whether it is champion, or why it was refused or kept."""
        release, evaluation = self.release, self.evaluation
        version = f"{release.name}@{release.version}"
        if self.is_refused:
            return f"{version}: {'; '.join(check.detail for check in self.checks if not check.passed)}"
        if self.release.kept_because:
            return f"{version}: {self.release.kept_because}"
        low, high = evaluation.accuracy_interval
        images = f"{evaluation.n_images:,} {evaluation.split} images"
        accuracy = f"accuracy {evaluation.accuracy:.3f} [{low:.3f}, {high:.3f}] on {images}"
        champion = "champion" if release.champion_version == release.version else "not champion"
        return f"{version}: {accuracy}, {champion}"


class RunPlan(Record):
    """What a run would do: a row for each stage, in its order, and all of it in one line."""

    rows: tuple[dict[str, str | int | float], ...]
    message: str
    end: str = ""  # why the run would end before its last stage, if so


class SweepResult(Record):
    """The result of a search: its trials as rows, the best first, and the command that retrains with the best one."""

    recipe: str
    rows: tuple[dict[str, str | int | float], ...]
    best: float | None
    command: str  # empty without a best one
    reports: dict[str, str]  # what it shows -> its path


class ComparisonResult(Record):
    """The result of a comparison: a row for each candidate, and which is best on the validation split."""

    recipe: str
    rows: tuple[dict[str, str | int | float], ...]
    best: str
    reports: dict[str, str]  # what it shows -> its path


class ChampionMoved(Record):
    """What was done with a model's champion; both versions are the same where it was champion already."""

    name: str
    action: str  # as in the model's log
    from_version: int | None
    to_version: int | None
    sentence: str

    @property
    def has_moved(self) -> bool:
        """Whether there is another champion now."""
        return self.from_version != self.to_version


class Collected(Record):
    """What housekeeping removed, or would remove, and the room that this gives back (bytes)."""

    n_gone: int
    freed_bytes: int
    sentence: str


class BackedUp(Record):
    """A backup, and where it is."""

    n_files: int
    size_bytes: int
    place: str

    @property
    def sentence(self) -> str:
        """What was kept, in one line."""
        return f"{self.n_files:,} files, {self.size_bytes / 1e6:,.1f} MB in {self.place}"


class AuditResult(Record):
    """The result of an audit: a row for each set of test images, and all of it in one line."""

    sources: tuple[str, ...]
    model: str
    sentence: str
    rows: tuple[dict[str, str | int | float], ...]
    reports: dict[str, str]  # what it shows -> its path


class ScoreResult(Record):
    """The result of a scoring: what was found as rows, all of it in one line, and where the scores are."""

    sources: tuple[str, ...]
    model: str
    scores: ScoresRef
    drifted: tuple[str, ...]
    sentence: str
    rows: tuple[dict[str, str | int | float], ...]
    outputs: tuple[str, ...]
    reports: dict[str, str]  # what it shows -> its path
