"""What is said of a run at its end, in the terminal and in the Prefect UI alike: names and texts, in their order."""

from collections.abc import Iterator
from typing import NamedTuple

from tasks.runs.results import IngestResult, RetrainResult

VERDICTS = {"pass": "fit for training", "warn": "fit, with warnings", "stop": "not fit for training"}


class Row(NamedTuple):
    """One line; `mark` is ✓, ! or ✗ where it is a check's."""

    name: str
    text: str
    mark: str = ""


def of_retrain(result: RetrainResult) -> Iterator[Row]:
    """What was trained, how good it is, what the gates decided."""
    release, verdict = result.release, result.verdict
    yield Row("model", f"{result.model.summary()} ({result.model.train_seconds:,.0f} s)")
    if result.seeds is not None:
        yield Row("seeds", result.seeds.summary())
    yield Row("quality", result.evaluation.summary())
    if result.examination.robustness is not None:
        yield Row("robustness", result.examination.robustness.summary())
    for check in result.checks:
        yield Row("gate", check.detail, check.mark)
    if verdict.power is not None:
        yield Row("power", verdict.power.short())
    if verdict.estimate_of:
        yield Row("estimate", f"of {verdict.estimate_of}")
    if release.kept_because:
        yield Row("kept", release.kept_because)
    elif verdict.passed and verdict.decision:
        yield Row("champion", verdict.decision)


def of_ingest(result: IngestResult) -> Iterator[Row]:
    """What the data is fit for, and what was done about its faults."""
    yield Row("verdict", VERDICTS[result.quality.verdict])
    for warning in result.quality.warnings:
        yield Row("warning", warning)
    for name, ref in {"found": result.validation, "curated": result.curation, "split": result.split}.items():
        yield Row(name, ref.summary())
    yield Row("changed", result.drift.summary())
