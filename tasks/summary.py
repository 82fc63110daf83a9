"""The last word of a run: what came of it and where to look."""

import shutil

from prefect import task

from fer import pages, plots, refs, settings
from fer import validation as quality
from fer.workspace import write_atomically
from tasks import artifacts, caching

_PAGE = "report.html"


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
    """Put the run's outcome into one record, one page of the UI and one self-contained HTML page."""
    workspace = caching.workspace()
    folder = settings.Settings.load().home / "reports" / release.name / str(release.version)
    text = "\n".join(
        [
            f"# {release.name} version {release.version}: {release.status}",
            f"- **source** {source}, **recipe** {recipe}",
            f"- **data** {validation.summary()}",
            f"- **balanced** {balanced.summary()}",
            f"- **model** {model.summary()}",
            f"- **test** {evaluation.summary()}",
            *(f"- **gate** {'✓' if check.passed else '✗'} {check.detail}" for check in verdict.checks),
            f"- **release** `{release.uri}`",
        ]
    )
    artifacts.markdown("retraining", f"{text}\n- **report** `{folder / _PAGE}`", "What came of this run")
    scores = workspace.folder(evaluation)
    page = [
        text,
        "## Metrics",
        (scores / "report.md").read_text().partition("\n")[2],
        artifacts.picture((scores / "confusion.png").read_bytes(), "Confusion matrix"),
        "## Training",
        artifacts.picture(plots.learning_curves(workspace.folder(model), model), "Learning curves"),
        "## Data quality",
        quality.report(workspace.folder(validation)).partition("\n")[2],
    ]
    folder.mkdir(parents=True, exist_ok=True)
    html = pages.page(f"{release.name} version {release.version}", "\n\n".join(page))
    write_atomically(folder / _PAGE, html.encode())
    docs = workspace.folder(validation) / quality.DATA_DOCS
    shutil.copytree(docs, folder / docs.name, dirs_exist_ok=True)
    return refs.Outcome(
        source=source,
        recipe=recipe,
        validation=validation,
        model=model,
        evaluation=evaluation,
        verdict=verdict,
        release=release,
        reports={"report": str(folder / _PAGE), "data docs": str(folder / docs.name / "index.html")},
    )
