"""Several models on the same images: one row each, and what each differs from the first by, image by image."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from fer import metrics, predictions, refs
from fer.workspace import Workspace

_ONE_SIDED = 0.975  # two bounds of it make an interval of 95 %
_SAMPLES = 10_000


class Row(BaseModel):
    """One candidate. `difference` is its accuracy less the first one's on the same images, None for the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    model: refs.ModelRef
    evaluation: refs.EvaluationRef
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None


def compare(found: Mapping[str, tuple[refs.ModelRef, refs.EvaluationRef]], workspace: Workspace) -> tuple[Row, ...]:
    """The candidates by name, in their order. Raises ContractViolation if they are not of the same images."""
    rows: list[Row] = []
    first: predictions.Predictions | None = None
    for name, (model, evaluation) in found.items():
        own = predictions.read(workspace.folder(evaluation) / predictions.FILE)
        if first is None:
            first = own
            rows.append(Row(candidate=name, model=model, evaluation=evaluation))
            continue
        other = predictions.paired(own, first)
        up, down = (
            metrics.paired_difference(
                own.class_indexes, *pair, len(own.classes), confidence=_ONE_SIDED, samples=_SAMPLES, seed=0
            )
            for pair in ((other, own.predicted), (own.predicted, other))
        )
        interval = (up.accuracy_bound, -down.accuracy_bound)
        rows.append(
            Row(
                candidate=name,
                model=model,
                evaluation=evaluation,
                difference=up.accuracy,
                difference_interval=interval,
            )
        )
    return tuple(rows)


def best_of(rows: Sequence[Row]) -> Row:
    """The candidate of the highest validation accuracy: the test split does not choose."""
    return max(rows, key=lambda row: row.model.validation_accuracy)


def table(rows: Sequence[Row]) -> list[dict[str, str | int | float]]:
    """The rows as they are shown: column -> value."""
    best = best_of(rows).candidate
    return [
        {
            "candidate": f"{row.candidate} (best on validation)" if row.candidate == best else row.candidate,
            "model": row.model.model,
            "parameters": row.model.n_parameters,
            "epochs": f"{row.model.best_epoch} of {row.model.epochs_run}",
            "minutes": f"{row.model.train_seconds / 60:.1f}",
            "validation accuracy": f"{row.model.validation_accuracy:.3f}",
            "test accuracy": _with(row.evaluation.accuracy, row.evaluation.accuracy_interval),
            "test macro-F1": _with(row.evaluation.macro_f1, row.evaluation.macro_f1_interval),
            "de-duplicated": _accuracy(row.evaluation.deduplicated),
            "flip-averaged": _accuracy(row.evaluation.flip_averaged),
            "against the first": ""
            if row.difference is None or row.difference_interval is None
            else f"{row.difference:+.3f} ({row.difference_interval[0]:+.3f} to {row.difference_interval[1]:+.3f})",
        }
        for row in rows
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    cells = table(rows)
    lines = [
        f"| {' | '.join(cells[0])} |",
        f"|{' --- |' * len(cells[0])}",
        *(
            f"| {' | '.join(f'{each:,}' if isinstance(each, int) else str(each) for each in row.values())} |"
            for row in cells
        ),
        "",
        "Intervals are at 95 %. The best is that of the highest validation accuracy; the test split does not choose.",
    ]
    return "\n".join(lines) + "\n"


def _with(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _accuracy(scores: refs.Scores | None) -> str:
    return "" if scores is None else f"{scores.accuracy:.3f}"
