"""A comparison of several models as a table, for the terminal and as Markdown."""

from collections.abc import Sequence

from fer.evaluation import compare
from fer.evaluation.compare import Row
from fer.evaluation.refs import Scores
from fer.reports import markdown_tables


def table(rows: Sequence[Row]) -> list[dict[str, str | int | float]]:
    """The rows as they are shown: column -> value."""
    best = compare.best_of(rows).candidate
    return [
        {
            "candidate": f"{row.candidate} (best on validation)" if row.candidate == best else row.candidate,
            "model": row.model.model,
            "parameters": row.model.n_parameters,
            "epochs": f"{row.model.best_epoch} of {row.model.epochs_run}",
            "minutes": f"{row.model.train_seconds / 60:.1f}",
            "validation accuracy": f"{row.model.validation_accuracy:.3f}",
            "test accuracy": _with_interval(row.evaluation.accuracy, row.evaluation.accuracy_interval),
            "test macro-F1": _with_interval(row.evaluation.macro_f1, row.evaluation.macro_f1_interval),
            "de-duplicated": _accuracy(row.evaluation.deduplicated),
            "flip TTA": _accuracy(row.evaluation.flip_tta),
            "against the first": ""
            if row.difference is None or row.difference_interval is None
            else f"{row.difference:+.3f} ({row.difference_interval[0]:+.3f} to {row.difference_interval[1]:+.3f})",
        }
        for row in rows
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    note = "Intervals are at 95 %. The best is that of the highest validation accuracy; the test split does not choose."
    return f"{markdown_tables.table(table(rows))}\n{note}\n"


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _accuracy(scores: Scores | None) -> str:
    return "" if scores is None else f"{scores.accuracy:.3f}"
