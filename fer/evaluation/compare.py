"""Several models on the same images: a row per model, with its difference from the first one, image by image."""

from collections.abc import Mapping, Sequence

from fer.engine.records import Record
from fer.engine.workspace import Workspace
from fer.evaluation import metrics, predictions
from fer.evaluation.refs import EvaluationRef
from fer.training.refs import ModelRef

_SAMPLES = 10_000


class Row(Record):
    """One candidate. `difference` is its accuracy minus the first one's on the same images, None for the first."""

    candidate: str
    model: ModelRef
    evaluation: EvaluationRef
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None


def compare(candidates: Mapping[str, tuple[ModelRef, EvaluationRef]], workspace: Workspace) -> tuple[Row, ...]:
    """The candidates by name, in their order. Raises ContractViolation if they are not of the same images."""
    rows: list[Row] = []
    first: predictions.Predictions | None = None
    for name, (model, evaluation) in candidates.items():
        own = predictions.read(workspace.folder(evaluation) / predictions.FILE)
        if first is None:
            first = own
            rows.append(Row(candidate=name, model=model, evaluation=evaluation))
            continue
        first_predicted = predictions.paired(own, first)
        difference = metrics.paired_difference(
            own.class_indexes, first_predicted, own.predicted, len(own.classes), samples=_SAMPLES
        )
        rows.append(
            Row(
                candidate=name,
                model=model,
                evaluation=evaluation,
                difference=difference.accuracy,
                difference_interval=difference.accuracy_interval(),
            )
        )
    return tuple(rows)


def best_of(rows: Sequence[Row]) -> Row:
    """The candidate of the highest validation accuracy: the test split does not choose."""
    return max(rows, key=lambda row: row.model.validation_accuracy)
