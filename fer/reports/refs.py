"""What the stages of `fer.reports` make."""

from typing import NamedTuple

from fer.curation.refs import CurationRef, DriftRef, InspectionRef, SplitRef, ValidationRef
from fer.engine.refs import Ref
from fer.ingest.refs import ManifestRef


class DataRefs(NamedTuple):
    """What the stages on the data made. Those after `validation` are None if it has failures: no stage ran after it;
    `split` and `drift` are None if the data could not be split."""

    manifest: ManifestRef
    validation: ValidationRef
    inspection: InspectionRef | None = None
    curation: CurationRef | None = None
    split: SplitRef | None = None
    drift: DriftRef | None = None


class QualityRef(Ref):
    """`quality.html` and `quality.json`: the data quality report."""

    verdict: str  # "pass", "warn" or "stop"
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """One line for the terminal and the UI."""
        return "; ".join([self.verdict, *self.failures, *self.warnings][:4])


class EvaluationReportRef(Ref):
    """`report.md` and `confusion.png` of one evaluation, for people."""

    model: str  # the kind of model, as the report names it
    split: str

    def summary(self) -> str:
        """One line for the terminal and the UI."""
        return f"report of {self.model} on {self.split}"
