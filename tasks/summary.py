"""The last word of a run: what came of it and where to look."""

import shutil

from prefect import task

from fer import plots, refs, settings
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
    reports = _collect(release, validation, model, evaluation)
    outcome = refs.Outcome(
        source=source,
        recipe=recipe,
        validation=validation,
        model=model,
        evaluation=evaluation,
        verdict=verdict,
        release=release,
        reports=reports,
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


def _collect(
    release: refs.ReleaseRef, validation: refs.ValidationRef, model: refs.ModelRef, evaluation: refs.EvaluationRef
) -> dict[str, str]:
    """Copy what people read to `reports/<model>/<version>/`, a path that they can find again."""
    workspace = caching.workspace()
    folder = settings.Settings.load().home / "reports" / release.name / str(release.version)
    folder.mkdir(parents=True, exist_ok=True)
    quality = workspace.folder(validation) / "data_docs"
    shutil.copytree(quality, folder / quality.name, dirs_exist_ok=True)
    found = {"data quality": str(folder / quality.name / "index.html")}
    scores = workspace.folder(evaluation)
    for title, name in (("metrics", "report.md"), ("confusion matrix", "confusion.png")):
        shutil.copyfile(scores / name, folder / name)
        found[title] = str(folder / name)
    curves = folder / "curves.png"
    curves.write_bytes(plots.learning_curves(workspace.folder(model), model))
    return found | {"learning curves": str(curves)}
