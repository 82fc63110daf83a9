"""The report of an evaluation: its metrics as Markdown and its confusion matrix as a picture.

A stage of its own, so that another colour or another sentence scores no model again.
"""

from collections.abc import Sequence
from pathlib import Path

from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.evaluation import evaluate, metrics
from fer.evaluation.probabilities import ProbabilityScores
from fer.evaluation.refs import EvaluationRef, Scores, left_out
from fer.progress import Progress
from fer.reports import plots
from fer.reports.refs import EvaluationReportRef

MARKDOWN = "report.md"
CONFUSION = "confusion.png"


@stage.stage("evaluation report")
def draw(
    out: Path, evaluation: EvaluationRef, model: str, *, workspace: workspaces.Workspace, progress: Progress
) -> EvaluationReportRef:
    """Write `report.md` and `confusion.png` of an evaluation from its `metrics.json`."""
    scores = metrics.Metrics.model_validate_json((workspace.folder(evaluation) / evaluate.METRICS).read_bytes())
    title = f"{model} on {evaluation.split}\naccuracy {scores.accuracy:.3f}, macro-F1 {scores.macro.f1:.3f}"
    figure = plots.confusion(scores.confusion, scores.classes, title=title)
    disk.write(out / CONFUSION, plots.png(figure))
    disk.write(out / MARKDOWN, markdown(scores, model, evaluation.split).encode())
    progress(1, 1, "report drawn")
    return EvaluationReportRef(model=model, split=evaluation.split)


def markdown(scores: metrics.Metrics, model: str, split: str) -> str:
    """The metrics as Markdown: scores by class, averages, and the confusion matrix in counts."""
    low, high = scores.accuracy_interval
    f1_low, f1_high = scores.macro_f1_interval
    lines = [
        f"# {model} on the {split} split",
        "",
        f"Accuracy **{scores.accuracy:.3f}** ({low:.3f} to {high:.3f}), macro-F1 **{scores.macro.f1:.3f}** "
        f"({f1_low:.3f} to {f1_high:.3f}; both at 95 %), calibration error {scores.calibration_error:.3f}, "
        f"{scores.n_images:,} images{left_out(scores.absent_classes)}.",
        "",
        _deduplicated(scores.deduplicated),
        "",
        *_flip_tta(scores),
        *_probabilities(scores.probabilities),
        "| class | precision | recall | F1 | support |",
        "| --- | ---: | ---: | ---: | ---: |",
        *_rows((*scores.per_class, scores.macro, scores.weighted)),
        f"| accuracy | | | {scores.accuracy:.3f} | {scores.n_images:,} |",
        "",
        "Confusion matrix: rows are the truth, columns what the model said.",
        "",
        f"| | {' | '.join(scores.classes)} |",
        f"| --- |{' ---: |' * len(scores.classes)}",
        *(
            f"| **{label}** | {' | '.join(f'{n:,}' for n in row)} |"
            for label, row in zip(scores.classes, scores.confusion, strict=True)
        ),
    ]
    return "\n".join(lines) + "\n"


def _deduplicated(scores: Scores | None) -> str:
    if scores is None:
        return "De-duplicated, the split holds no image."
    low, high = scores.accuracy_interval
    f1_low, f1_high = scores.macro_f1_interval
    return (
        "De-duplicated – without images that have a duplicate closer to training, repeat another one, or were to be "
        f"dropped – accuracy **{scores.accuracy:.3f}** ({low:.3f} to {high:.3f}), macro-F1 **{scores.macro_f1:.3f}** "
        f"({f1_low:.3f} to {f1_high:.3f}), {scores.n_images:,} images{left_out(scores.absent_classes)}."
    )


def _flip_tta(scores: metrics.Metrics) -> list[str]:
    if scores.flip_tta is None:
        return []
    low, high = scores.flip_tta.accuracy_interval
    clean = scores.flip_tta_deduplicated
    others = "" if clean is None else f"; {clean.accuracy:.3f} de-duplicated"
    return [
        f"Averaged with what it says of the mirror images, accuracy {scores.flip_tta.accuracy:.3f} ({low:.3f} to "
        f"{high:.3f}), macro-F1 {scores.flip_tta.macro_f1:.3f}{others}. The gates look at the former figures.",
        "",
    ]


def _probabilities(scores: ProbabilityScores | None) -> list[str]:
    if scores is None:
        return []
    area = "" if scores.mean_auc is None else f", mean area under the ROC curves {scores.mean_auc:.3f}"
    return [
        f"Balanced accuracy {scores.balanced_accuracy:.3f}, the right class among the two most probable "
        f"{scores.top_2_accuracy:.3f}, Cohen's kappa {scores.kappa:.3f}{area}; log loss {scores.log_loss:.3f}, Brier "
        f"score {scores.brier:.3f} (0 to 2), calibration error by bins of as many images "
        f"{scores.adaptive_calibration_error:.3f}.",
        "",
    ]


def _rows(scores: Sequence[metrics.ClassScore]) -> list[str]:
    return [
        f"| {score.name} | {score.precision:.3f} | {score.recall:.3f} | {score.f1:.3f} | {score.support:,} |"
        for score in scores
    ]
