"""Several models on the same images: one row each, and what each differs from the first by, image by image."""

import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from fer import errors, plain_text
from fer.engine.workspace import Workspace
from fer.evaluation import metrics, predictions
from fer.evaluation.refs import EvaluationRef, Scores
from fer.recipes import schema as recipe
from fer.recipes.schema import Recipe
from fer.training.refs import ModelRef

_OF_THE_DATA = ("demo", "index", "contracts", "inspect", "curate", "split", "drift")
_ONE_SIDED = 0.975  # two bounds of it make an interval of 95 %
_SAMPLES = 10_000
_NEXT_SETTING = re.compile(r"\s+(?=[\w.]+=)")


class Row(BaseModel):
    """One candidate. `difference` is its accuracy less the first one's on the same images, None for the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    model: ModelRef
    evaluation: EvaluationRef
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None


def parse_candidates(texts: Sequence[str]) -> dict[str, list[str]]:
    """Read `NAME: SETTING=VALUE …` texts: name -> settings. Raises ConfigError.

    A setting ends where the next begins, so that a value may have blanks and quotes, as JSON has.
    """
    candidates: dict[str, list[str]] = {}
    for text in texts:
        name, colon, settings = text.partition(":")
        if not colon or name.strip() in candidates:
            raise errors.ConfigError(
                "A candidate must have the form 'NAME: SETTING=VALUE …', with a name of its own.",
                received=repr(text),
                todo="for example --candidate 'vgg: train.model.name=vgg'",
            )
        candidates[name.strip()] = [each for each in _NEXT_SETTING.split(settings.strip()) if each]
    return candidates


def plans(plan: Recipe, candidates: Mapping[str, Sequence[str]]) -> dict[str, Recipe]:
    """The candidates' recipes: `plan` with the settings of each.

    Raises ConfigError if there is nothing to compare, a name is empty, a setting is wrong, or some data is other data.
    """
    if not candidates:
        raise errors.ConfigError(
            "A comparison must have candidates.",
            received="none",
            todo="name some: --candidate 'vgg: train.model.name=vgg'",
        )
    found = {}
    for name, settings in candidates.items():
        if not name or name != name.strip():
            raise errors.ConfigError(
                "A candidate must have a name, without blanks around it.",
                received=repr(name),
                todo="name each, as in 'vgg: train.model.name=vgg'",
            )
        found[name] = plan.with_settings(recipe.parse_settings(settings))
        other = next((part for part in _OF_THE_DATA if getattr(found[name], part) != getattr(plan, part)), None)
        if other is not None:
            raise errors.ConfigError(
                "Candidates must be compared on the same data and splits.",
                received=f"another {other} for {name}",
                todo=f"give settings of {other} for all of them, by --set",
            )
    return found


def compare(found: Mapping[str, tuple[ModelRef, EvaluationRef]], workspace: Workspace) -> tuple[Row, ...]:
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
        *(f"| {' | '.join(map(_cell, row.values()))} |" for row in cells),
        "",
        "Intervals are at 95 %. The best is that of the highest validation accuracy; the test split does not choose.",
    ]
    return "\n".join(lines) + "\n"


def _cell(value: str | int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else plain_text.in_markdown(str(value))


def _with(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _accuracy(scores: Scores | None) -> str:
    return "" if scores is None else f"{scores.accuracy:.3f}"
