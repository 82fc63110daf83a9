"""An audit's tasks: the model brought here, and what was found as a page and a document."""

from collections.abc import Sequence

from data_contracts import files
from fer import plain_text, settings
from fer.engine import disk
from fer.evaluation import evaluate, metrics, predictions
from fer.evaluation.audits import adopt as adopt_stage
from fer.evaluation.audits import twins
from fer.evaluation.audits.audit import Audit, AuditedData, AuditedModel
from fer.evaluation.comparing import costs
from fer.evaluation.refs import Champion, EvaluationRef, Examination
from fer.evaluation.robustness import figures, measure
from fer.evaluation.slices import figures as slice_figures
from fer.models.foreign_file import InputFormat
from fer.recipes.schema import Recipe
from fer.registry import names, releases, trained_on
from fer.registry.opponents import champion as champion_stage
from fer.reports import audit as audit_report
from fer.reports import pages
from fer.reports import robustness as robustness_report
from fer.reports import slices as slices_report
from fer.reports.cards import audit_card, model_card
from fer.shards import preprocessing
from fer.training.refs import ModelRef
from tasks import caching, stages
from tasks.runs.results import AuditResult, IngestResult
from tasks.shown import artifacts

_ID_CHARS = 12  # of digests in a folder's name


@stages.task(adopt_stage.adopt)
def adopt(foreign: adopt_stage.ForeignModel) -> ModelRef:
    """Wrap a model's file from elsewhere, so that it takes what every model here takes."""
    return stages.run(adopt_stage.adopt, foreign)


@caching.uncached("fetch model")
def fetch(spec: str) -> tuple[str, Champion]:
    """Bring a release into the workspace: NAME@VERSION, and its model."""
    workspace = caching.workspace()
    with releases.open_registry() as models:
        manifest = models.get(*names.parse_spec(spec))
        released = champion_stage.released(manifest, workspace)
    preprocessing.load_record(workspace.folder(released.model)).require_kept()
    return f"{manifest.name}@{manifest.version}", released


@caching.uncached("audit")
def publish(
    about: AuditedModel,
    sources: Sequence[str],
    recipe: Recipe,
    data: IngestResult,
    model: ModelRef,
    evaluation: EvaluationRef,
    examination: Examination,
) -> AuditResult:
    """Put what was found into a document and a page."""
    workspace = caching.workspace()
    folder = workspace.folder(model)
    predicted = workspace.folder(evaluation)
    slices, robustness = (
        None if ref is None else workspace.folder(ref) for ref in (examination.slices, examination.robustness)
    )
    n_test = sum(data.split.counts["test"].values())
    found = Audit(
        model=about,
        data=AuditedData(
            sources=tuple(sources),
            digest=data.manifest.digest,
            split_origin=data.split.origin,
            split=evaluation.split,
            n_images=n_test,
            n_deduplicated=data.split.n_clean.get(evaluation.split, 0),
        ),
        metrics=metrics.Metrics.model_validate_json((predicted / evaluate.METRICS).read_bytes()),
        twins=_twins(about, recipe, data, model, predictions.read(predicted / predictions.FILE)),
        slices=None
        if slices is None
        else slice_figures.Slices.model_validate_json((slices / slice_figures.FILE).read_bytes()),
        robustness=None
        if robustness is None
        else figures.Robustness.model_validate_json((robustness / measure.FILE).read_bytes()),
        costs=costs.of(model, folder, costs.latencies([folder])[0]),
    )
    text = audit_report.markdown(
        found,
        "" if slices is None else slices_report.markdown(slices),
        "" if robustness is None else robustness_report.markdown(robustness, model.model),
    )
    name = f"{about.digest[:_ID_CHARS]}-{data.manifest.digest[:_ID_CHARS]}"
    place = settings.Settings.load().home / "reports" / "audits" / name
    place.mkdir(parents=True, exist_ok=True)
    paths = {
        "audit": place / audit_report.HTML,
        "as JSON": place / audit_report.JSON,
        "model card": place / model_card.FILE,
    }
    disk.write(paths["audit"], pages.from_markdown(f"Audit of {about.name}", text).encode())
    disk.write(paths["as JSON"], found.model_dump_json(indent=1).encode())
    disk.write(paths["model card"], audit_card.render(found).encode())
    artifacts.markdown("audit", text, plain_text.visible(found.sentence()))
    return AuditResult(
        sources=tuple(sources),
        model=about.name,
        sentence=found.sentence(),
        rows=tuple(audit_report.figures(found)),
        reports={name: str(path) for name, path in paths.items()} | {"data quality": data.reports["data quality"]},
    )


def about_file(foreign: adopt_stage.ForeignModel, model: ModelRef) -> AuditedModel:
    """What was audited, of a file."""
    return _about(foreign.name, "file", foreign.sha256, model, foreign.form)


def about_release(name: str, model: ModelRef) -> AuditedModel:
    """What was audited, of a release."""
    return _about(name, "release", model.digest, model, None)


def _about(name: str, kind: str, digest: str, model: ModelRef, form: InputFormat | None) -> AuditedModel:
    record = preprocessing.load_record(caching.workspace().folder(model))
    return AuditedModel.model_validate(
        {
            "name": name,
            "kind": kind,
            "digest": digest,
            "classes": model.classes,
            "height": record.height,
            "width": record.width,
            "form": form,
        }
    )


def _twins(
    about: AuditedModel, recipe: Recipe, data: IngestResult, model: ModelRef, predicted: predictions.Predictions
) -> twins.Twins | None:
    workspace = caching.workspace()
    split = workspace.folder(data.split)
    if about.kind == "release":
        path = workspace.folder(model) / files.TRAINED_ON
        if not path.is_file():
            return None
        known = twins.in_training(trained_on.read(path)["pixel_sha256"], split)
        return twins.worth(predicted, known, "the images that the release was trained on or chosen by")
    is_official = data.split.origin.startswith("official")
    known = twins.in_train(
        workspace.folder(data.curation),
        workspace.folder(data.inspection),
        split,
        recipe.split.official,
        is_official=is_official,
    )
    return twins.worth(predicted, known, "the source's train split" if is_official else "the drawn train split")
