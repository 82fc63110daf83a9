"""What the flows return: frozen records, which Prefect keeps as JSON."""

from pydantic import BaseModel, ConfigDict

from fer.curation.refs import Before, CurationRef, DriftRef, InspectionRef, SplitRef, ValidationRef
from fer.evaluation.refs import EvaluationRef, VerdictRef
from fer.ingest.refs import ManifestRef
from fer.registry.refs import ReleaseRef
from fer.reports.refs import QualityRef
from fer.training.refs import ModelRef


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
        return self.release.status == "refused"

    @property
    def word(self) -> str:
        """`released`, `refused`, or `kept`: it passed its gates but is not promoted."""
        return self.release.status

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
