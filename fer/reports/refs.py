"""What the stages of `fer.reports` make."""

from fer.engine.refs import Ref


class QualityRef(Ref):
    """`quality.html` and `quality.json`: the data quality report."""

    verdict: str  # "pass", "warn" or "stop"
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        return "; ".join([self.verdict, *self.failures, *self.warnings][:4])
