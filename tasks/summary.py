"""The last word of a run: what came of it and where to look."""

from pathlib import Path

from prefect import task

from fer import refs
from tasks import artifacts, caching


@task(name="summarise", **caching.UNCACHED)
def publish(
    source: str,
    recipe: str,
    validation: refs.ValidationRef,
    balanced: refs.ShardsRef,
    model: refs.ModelRef,
    evaluation: refs.EvaluationRef,
    verdict: refs.VerdictRef,
    release: refs.ReleaseRef,
) -> refs.Outcome:
    """Put the run's outcome into one record and one page of the UI."""
    workspace = caching.workspace()
    folders = {ref: workspace.folder(ref) for ref in (validation, model, evaluation, verdict)}
    outcome = refs.Outcome(
        source=source,
        recipe=recipe,
        validation=validation,
        model=model,
        evaluation=evaluation,
        verdict=verdict,
        release=release,
        reports={
            "data quality": _existing(folders[validation] / "data_docs" / "index.html"),
            "learning curves": _existing(folders[model] / "curves.png"),
            "metrics by class": _existing(folders[evaluation] / "report.md"),
            "confusion matrix": _existing(folders[evaluation] / "confusion.png"),
            "predictions": _existing(folders[evaluation] / "predictions.parquet"),
        },
    )
    lines = [
        f"# {release.name} version {release.version}: {release.status}",
        f"- **source** {source}, **recipe** {recipe}",
        f"- **data** {validation.summary()}",
        f"- **balanced** {balanced.summary()}",
        f"- **model** {model.summary()}",
        f"- **test** {evaluation.summary()}",
        *(f"- **gate** {'✓' if check.passed else '✗'} {check.detail}" for check in verdict.checks),
        f"- **release** `{release.uri}`",
        *(f"- **{name}** `{path}`" for name, path in outcome.reports.items()),
    ]
    artifacts.markdown("retraining", "\n".join(lines), "What came of this run")
    return outcome


def _existing(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(path)
    return str(path)
