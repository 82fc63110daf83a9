"""The last word of a run: what came of it and where to look."""

import shutil

from prefect import task

from data_contracts import files
from fer import plain_text, settings
from fer.engine import contracts, disk
from fer.engine.refs import Ref
from fer.evaluation.refs import EvaluationRef, VerdictRef
from fer.registry.refs import ReleaseRef
from fer.reports import pages, plots
from fer.reports.quality import stage as quality_stage
from fer.shards.refs import ShardsRef
from fer.training import train as train_stage
from fer.training.refs import ModelRef
from tasks import artifacts, caching, reports
from tasks.results import Intake, Outcome

_PAGE = "report.html"
_plain = plain_text.in_markdown


@task(name="summarise", **caching.UNCACHED, **caching.retried(3))
def publish(
    sources: list[str],
    recipe: str,
    intake: Intake,
    shards: ShardsRef,
    balanced: ShardsRef,
    model: ModelRef,
    evaluation: EvaluationRef,
    verdict: VerdictRef,
    release: ReleaseRef,
) -> Outcome:
    """Put the run's outcome into one record, one page of the UI and one self-contained HTML page."""
    workspace = caching.workspace()
    folder = settings.Settings.load().home / "reports" / release.name / str(release.version)
    text = "\n".join(
        [
            f"# {_plain(release.sentence())}",
            f"- **sources** {_plain(', '.join(sources))}, **recipe** {_plain(recipe)}",
            f"- **data** {_plain(intake.quality.summary())}",
            f"- **split** {_plain(intake.split.summary())}",
            f"- **balanced** {_plain(balanced.summary())}",
            f"- **model** {_plain(model.summary())}",
            f"- **test** {_plain(evaluation.summary())}",
            *(f"- **gate** {'✓' if check.passed else '✗'} {_plain(check.detail)}" for check in verdict.checks),
            *([] if verdict.power is None else [f"- **power** {_plain(verdict.power.sentence())}"]),
            *([f"- **kept** {_plain(release.kept_because)}"] if release.kept_because else []),
            f"- **release** `{release.uri}`",
        ]
    )
    sentence = plain_text.visible(release.sentence())
    artifacts.markdown("release", f"{text}\n- **report** `{folder / _PAGE}`", sentence)
    scores = workspace.folder(evaluation)
    checked: dict[str, Ref] = {"shards": shards, "balanced": balanced, "predictions": evaluation}
    page = [
        text,
        "## Metrics",
        (scores / "report.md").read_text().partition("\n")[2],
        artifacts.picture((scores / "confusion.png").read_bytes(), "Confusion matrix"),
        "## Training",
        train_stage.costs(workspace.folder(model), model),
        artifacts.picture(plots.learning_curves(workspace.folder(model), model), "Learning curves"),
        "## Contracts",
        *(_contract(name, contracts.read(workspace.folder(ref))) for name, ref in checked.items()),
        "## Data quality",
        quality_stage.markdown(workspace.folder(intake.quality)).partition("\n")[2],
    ]
    html = pages.page(f"{release.name} version {release.version}", "\n\n".join(page))
    with workspace.locked("report", f"{release.name}-{release.version}"):  # another run may come to the same release
        folder.mkdir(parents=True, exist_ok=True)
        disk.write(folder / _PAGE, html.encode())
        shutil.rmtree(folder / files.DOCS, ignore_errors=True)
        for name, ref in {"manifest": intake.validation, **checked}.items():
            shutil.copytree(workspace.folder(ref) / files.DOCS, folder / files.DOCS / name)
        reports.share(f"models/{release.name}/{release.version}", {"release": folder}, key="report-and-data-docs")
    return Outcome(
        sources=tuple(sources),
        recipe=recipe,
        quality=intake.quality,
        model=model,
        evaluation=evaluation,
        verdict=verdict,
        release=release,
        reports={"report": str(folder / _PAGE), **intake.reports, "data docs": str(folder / files.DOCS)},
    )


def _contract(name: str, outcomes: tuple[contracts.Outcome, ...]) -> str:
    """A line of Markdown: how many rules hold, and which do not."""
    broken = [each.line() for each in outcomes if not each.passed]
    kept = f"{len(outcomes) - len(broken)} of {len(outcomes)} rules hold"
    return f"**{name}** {_plain('; '.join([kept, *broken]))}"
