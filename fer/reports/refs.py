"""What the stages of `fer.reports` make."""

from fer.engine.refs import Ref


class QualityRef(Ref):
    """`quality.html` and `quality.json`: the data quality report."""

    verdict: str  # "pass", "warn" or "stop"
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        return "; ".join([self.verdict, *self.failures, *self.warnings][:4])


class EvaluationReportRef(Ref):
    """`report.md` and `confusion.png` of one evaluation, for people."""

    model: str  # the kind of model, as the report names it
    split: str

    def summary(self) -> str:
        return f"report of {self.model} on {self.split}"
