"""The reports' tasks: pages on this machine, shared in the store and linked in the Prefect UI."""

import json
import re
from pathlib import Path

import httpx
from prefect import runtime
from prefect.settings import get_current_settings

from data_contracts import files
from fer import errors, plain_text, settings
from fer.curation import baseline
from fer.curation.refs import ValidationRef
from fer.engine import connect, disk
from fer.engine.refs import Ref
from fer.evaluation.refs import EvaluationRef, ExplanationsRef, RobustnessComparisonRef, RobustnessRef, SlicesRef
from fer.registry import registered
from fer.registry.refs import ReleaseRef
from fer.reports import evaluation as evaluation_stage
from fer.reports import explanations as explanations_report
from fer.reports import library, pages, pictures, publishing
from fer.reports import robustness as robustness_report
from fer.reports import slices as slices_report
from fer.reports.cards import data_card, model_card
from fer.reports.quality import stage as quality_stage
from fer.reports.refs import DataRefs, EvaluationReportRef, QualityRef
from fer.reports.run import document
from fer.reports.run import folder as run_folder
from fer.training.refs import ModelRef
from tasks import caching, stages
from tasks.planning import walks
from tasks.runs.results import Assessment, IngestResult, RetrainResult, TrainedModel
from tasks.shown import artifacts

_FACES = f"with_faces_{quality_stage.HTML}"
_RUN_ID = re.compile(r"\(([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\)$")
_plain = plain_text.in_markdown


@stages.task(quality_stage.quality)
def quality(
    data: DataRefs,
    given_sources: tuple[str, ...],
    problem: str | None,
    further_warnings: tuple[str, ...],
    show_faces: bool,
) -> QualityRef:
    """Write the data quality report."""
    return stages.run(quality_stage.quality, data, given_sources, problem, further_warnings, show_faces)


@caching.uncached("show quality", planned=lambda *_, **__: {})
def show_quality(
    recipe: str,
    sources: list[str],
    validation: ValidationRef,
    quality: QualityRef,
    with_faces: QualityRef | None = None,
    shared: bool = False,
) -> dict[str, str]:
    """Put the quality report where people look for it; what it shows -> its path. `shared`: also in the store."""
    workspace = caching.workspace()
    folder = (
        settings.Settings.load().home / "reports" / "data" / baseline.Scope(recipe, baseline.families(sources)).name
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"data quality": folder / quality_stage.HTML, "as JSON": folder / quality_stage.JSON}
    for path in paths.values():
        disk.write(path, (workspace.folder(quality) / path.name).read_bytes())
    if with_faces is not None:
        paths["with faces"] = folder / _FACES
        disk.write(paths["with faces"], (workspace.folder(with_faces) / quality_stage.HTML).read_bytes())
    else:  # of other data, perhaps
        (folder / _FACES).unlink(missing_ok=True)
    docs = workspace.folder(validation) / files.DOCS / "index.html"
    where = f"The whole report: `{paths['data quality']}`; the contract's Data Docs: `{docs}`"
    if shared:
        where += f". From another machine: `fer report {runtime.flow_run.id} --open`"
    text = quality_stage.markdown(workspace.folder(quality))
    drawn = _images_by_class(workspace.folder(quality))
    artifacts.markdown("quality-report", f"{text}\n{drawn}{where}", "What came in, what was refused and why")
    return {name: str(path) for name, path in (paths | {"data docs": docs}).items()}


def _images_by_class(folder: Path) -> str:
    """The images by class and split, of the report in `folder`, as a picture; empty before they are split."""
    balance = json.loads((folder / quality_stage.JSON).read_bytes())["balance"]
    splits = {name: balance[name] for name in files.SPLITS if name in balance}
    title = "Images by class and split"
    return f"{artifacts.picture(pictures.class_bars(splits, title=title), title)}\n\n" if splits else ""


def evaluation_report(evaluation: EvaluationRef, model: ModelRef) -> EvaluationReportRef:
    """The report of an evaluation of `model`; drawn if it isn't yet."""
    return evaluation_stage.draw(evaluation, model.model, workspace=caching.workspace())


def evaluation_markdown(evaluation: EvaluationRef, model: ModelRef) -> str:
    """The report of an evaluation of `model`, with its confusion matrix, as Markdown."""
    folder = caching.workspace().folder(evaluation_report(evaluation, model))
    matrix = artifacts.picture((folder / evaluation_stage.CONFUSION).read_bytes(), "Confusion matrix")
    return f"{(folder / evaluation_stage.MARKDOWN).read_text()}\n\n{matrix}"


def robustness_markdown(robustness: RobustnessRef, model: ModelRef) -> str:
    """A model under corruption, as Markdown."""
    return robustness_report.markdown(caching.workspace().folder(robustness), model.model)


def robustness_comparison_markdown(comparison: RobustnessComparisonRef) -> str:
    """A candidate and the champion under corruption, as Markdown."""
    return robustness_report.comparison_markdown(caching.workspace().folder(comparison))


def slices_markdown(slices: SlicesRef) -> str:
    """A model on parts of the test, as Markdown."""
    return slices_report.markdown(caching.workspace().folder(slices))


def explanations_markdown(explanations: ExplanationsRef, model: ModelRef) -> str:
    """Where a model looks, with the pictures of its classes, and its mistakes, as Markdown."""
    folder = caching.workspace().folder(explanations)
    return explanations_report.markdown(folder, model.model, artifacts.picture)


@caching.uncached("show faces", planned=lambda *_, **__: "")
def show_explained_faces(explanations: ExplanationsRef, model: ModelRef, release: ReleaseRef) -> str:
    """Write a page with single images on this machine, in no folder that is shared; its path."""
    folder = caching.workspace().folder(explanations)
    page = settings.Settings.load().home / "faces" / release.name / f"{release.version}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    text = explanations_report.markdown(folder, model.model, artifacts.picture)
    if explanations.layer is not None:
        text += "\n" + explanations_report.faces_markdown(folder, model.model, artifacts.picture)
    disk.write(page, pages.from_markdown(f"{release.name} version {release.version}, with faces", text).encode())
    return str(page)


def require_fit(quality: QualityRef, reports: dict[str, str]) -> None:
    """Raise UnfitData if the report says that the data is not fit for training."""
    if quality.failures:
        written = ", or ".join(reports[name] for name in ("data quality", "with faces") if name in reports)
        raise errors.UnfitData(
            "The data must keep its contracts and the recipe's policies.",
            received="; ".join(quality.failures),
            todo=f"read {written}, then correct the sources or the recipe's contracts, policies or drift settings",
            reports=reports,
        )


@caching.uncached("share quality")
def share_quality(validation: ValidationRef, quality: QualityRef) -> None:
    """Put the report and the manifest's Data Docs into the store, for `fer report`."""
    workspace = caching.workspace()
    share(
        f"data/{quality.path.split('/')[-1]}",
        {"quality": workspace.folder(quality), "manifest": workspace.folder(validation) / files.DOCS},
        first=f"quality/{quality_stage.HTML}",
    )


def share(name: str, parts: dict[str, Path], *, first: str, release: ReleaseRef | None = None) -> None:
    """Put folders of pages into the store, where `fer report` finds them.

    `first` is the page, `PART/NAME`, that this run is known by, of the `release` if it made one.
    """
    with connect.store(settings.Settings.load()) as store:
        top = publishing.share(store, name, parts)
        if runtime.flow_run.id is not None:
            library.note(
                store,
                library.RunPages(
                    run=str(runtime.flow_run.name),
                    run_id=str(runtime.flow_run.id),
                    name=None if release is None else release.name,
                    version=None if release is None else release.version,
                    top=top,
                    page=first,
                ),
            )


@caching.uncached("summarise", planned=lambda *_, **__: walks.blank(RetrainResult))
def publish_run(
    sources: list[str],
    recipe: str,
    data: IngestResult,
    trained: TrainedModel,
    assessment: Assessment,
    release: ReleaseRef,
) -> RetrainResult:
    """Put the run's result into one record, one page of the UI and one self-contained HTML page."""
    model, evaluation, verdict = trained.model, assessment.evaluation, assessment.verdict
    examination = assessment.examination
    workspace = caching.workspace()
    folder = library.folder_of(settings.Settings.load().home, release.name, release.version)
    text = "\n".join(
        [
            f"# {_plain(release.sentence())}",
            f"- **sources** {_plain(', '.join(sources))}, **recipe** {_plain(recipe)}",
            f"- **data** {_plain(data.quality.summary())}",
            f"- **split** {_plain(data.split.summary())}",
            f"- **balanced** {_plain(trained.balanced.summary())}",
            f"- **model** {_plain(model.summary())}",
            *([] if trained.seeds is None else [f"- **seeds** {_plain(trained.seeds.summary())}"]),
            f"- **test** {_plain(evaluation.summary())}",
            *(f"- **examined** {_plain(ref.summary())}" for ref in examination.refs()),
            *(f"- **gate** {check.mark} {_plain(check.detail)}" for check in (*verdict.checks, *release.checks)),
            *([] if verdict.power is None else [f"- **power** {_plain(verdict.power.sentence())}"]),
            *([f"- **an estimate** of {_plain(verdict.estimate_of)}"] if verdict.estimate_of else []),
            *([f"- **kept** {_plain(release.kept_because)}"] if release.kept_because else []),
            f"- **release** `{release.uri}`",
        ]
    )
    sentence = plain_text.visible(release.sentence())
    artifacts.markdown(
        "release",
        f"{text}\n- **report** `{folder / library.PAGE}`; beside it the cards, the data quality report and Great "
        f"Expectations' Data Docs. From another machine: `fer report {release.name}@{release.version} --open`",
        sentence,
    )
    checked: dict[str, Ref] = {"shards": trained.shards, "balanced": trained.balanced, "predictions": evaluation}
    docs = {"manifest": data.validation, **checked}
    manifest, made_by = registered.read(release)
    subject = document.Subject(
        release=release,
        manifest=manifest,
        made_by=made_by,
        sources=tuple(sources),
        quality=data.quality,
        split=data.split,
        tested=assessment.tested,
        balanced=trained.balanced,
        model=model,
        evaluation=evaluation,
        examination=examination,
        seeds=trained.seeds,
        verdict=verdict,
        opponents=assessment.opponents,
        contracts=checked,
        links={
            "data quality": quality_stage.HTML,
            **{f"Data Docs of {name}": f"{files.DOCS}/{name}/index.html" for name in docs},
            "model card": model_card.FILE,
            "data card": data_card.FILE,
            "as JSON": library.RECORD,
            **_run_in_ui(made_by),
        },
    )
    report = document.document(subject, workspace)
    with workspace.locked("report", f"{release.name}-{release.version}"):  # another run may come to the same release
        run_folder.write(
            folder,
            report,
            workspace.folder(data.quality) / quality_stage.HTML,
            {name: workspace.folder(ref) / files.DOCS for name, ref in docs.items()},
        )
        share(
            f"models/{release.name}/{release.version}",
            {library.RELEASE: folder},
            first=f"{library.RELEASE}/{library.PAGE}",
            release=release,
        )
    return RetrainResult(
        sources=tuple(sources),
        recipe=recipe,
        quality=data.quality,
        model=model,
        seeds=trained.seeds,
        evaluation=evaluation,
        examination=examination,
        verdict=verdict,
        release=release,
        reports={
            "report": str(folder / library.PAGE),
            "model card": str(folder / model_card.FILE),
            **data.reports,
            "data docs": str(folder / files.DOCS),
        },
    )


def _run_in_ui(made_by: str) -> dict[str, str]:
    """The link to a run in the Prefect UI; none where no server has one, or the label names no run."""
    found, ui_url = _RUN_ID.search(made_by), get_current_settings().ui_url
    if found is None or not ui_url:
        return {}
    address = httpx.URL(ui_url).copy_with(userinfo=b"")  # no password on a page
    return {"this run in the Prefect UI": f"{str(address).rstrip('/')}/runs/flow-run/{found[1]}"}
