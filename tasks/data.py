"""The data's tasks: from sources to a split that can be trusted, and the report about it."""

import json
from typing import cast

from prefect import task
from prefect.blocks.system import Secret
from pydantic import SecretStr

from fer import errors
from fer.curation import baseline, train_labels
from fer.curation import curate as curate_stage
from fer.curation import drift as drift_stage
from fer.curation import inspect as inspection
from fer.curation import split as split_stage
from fer.curation import validate as validation_stage
from fer.curation.refs import Before, CurationRef, DriftRef, InspectionRef, SplitRef, ValidationRef
from fer.ingest import download as download_stage
from fer.ingest import index as index_stage
from fer.ingest import kaggle, sources
from fer.ingest.demo import archive as demo_archive
from fer.ingest.refs import DatasetRef, ManifestRef
from fer.reports.quality import stage as quality_stage
from fer.reports.refs import QualityRef
from tasks import artifacts, caching, events
from tasks.results import Intake


@task(name="resolve", **caching.UNCACHED, **caching.retried(4))
def resolve(
    source: str, demo: demo_archive.DemoConfig, kaggle_secret: str | None = None
) -> download_stage.ResolvedSource:
    """Find out what the source stands for now, so that the cache knows what it has."""
    events.publish(events.Started("resolve"))
    try:
        credentials = _credentials(kaggle_secret)
        return download_stage.resolve(sources.parse(source), demo=demo, credentials=credentials)
    finally:
        events.publish(events.Over("resolve"))


@task(**caching.cached(download_stage.download, retries=4))
def download(resolved: download_stage.ResolvedSource) -> DatasetRef:
    """Bring the source's archive into the workspace."""
    progress = artifacts.progress_bar("download")
    return download_stage.download(resolved, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(index_stage.index))
def index(datasets: tuple[DatasetRef, ...], config: index_stage.IndexConfig) -> ManifestRef:
    """List every image of all sources with its label, digests and properties."""
    progress = artifacts.progress_bar("index")
    return index_stage.index(datasets, config, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(validation_stage.validate))
def validate(manifest: ManifestRef, config: validation_stage.ValidateConfig) -> ValidationRef:
    """Hold the manifest against its contract."""
    progress = artifacts.progress_bar("validate")
    return validation_stage.validate(manifest, config, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(inspection.inspect))
def inspect(manifest: ManifestRef, validation: ValidationRef, config: inspection.InspectConfig) -> InspectionRef:
    """Find near-twins and outliers."""
    progress = artifacts.progress_bar("inspect")
    return inspection.inspect(manifest, validation, config, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(curate_stage.curate))
def curate(
    validation: ValidationRef,
    inspection: InspectionRef,
    config: curate_stage.CurateConfig,
    splits: split_stage.SplitConfig,
) -> CurationRef:
    """Name each image's issues, and decide by the recipe's policies what becomes of it."""
    progress = artifacts.progress_bar("curate")
    return curate_stage.curate(validation, inspection, config, splits, workspace=caching.workspace(), progress=progress)


@task(name="find baseline", **caching.UNCACHED, **caching.retried(3))
def find_baseline(
    recipe: str,
    given: list[str],
    validation: ValidationRef,
    inspection: InspectionRef,
    curation: CurationRef,
    config: split_stage.SplitConfig,
) -> Before:
    """Find what was accepted last time, to keep its sides and to compare with it."""
    workspace = caching.workspace()
    drawing = split_stage.drawing(config)
    found = baseline.find(workspace, recipe, baseline.families(given), drawing)
    divided = baseline.divided_from(curation, inspection, config)
    return baseline.before(found, workspace, validation, drawing, divided)


@task(**caching.cached(split_stage.split))
def split(
    curation: CurationRef,
    inspection: InspectionRef,
    previous: SplitRef | None,
    config: split_stage.SplitConfig,
) -> SplitRef:
    """Assign each image to train, validation or test; near-twins never to two of them."""
    progress = artifacts.progress_bar("split")
    return split_stage.split(curation, inspection, previous, config, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(train_labels.find))
def label_errors(
    manifest: ManifestRef,
    curation: CurationRef,
    inspected: InspectionRef,
    division: SplitRef,
    config: inspection.InspectConfig,
    policy: curate_stage.Policy,
) -> SplitRef:
    """Find labels in doubt by a model of train's; take out of train what the policy says."""
    return train_labels.find(
        manifest,
        curation,
        inspected,
        division,
        config,
        policy,
        workspace=caching.workspace(),
        progress=artifacts.progress_bar("label errors"),
    )


@task(**caching.cached(drift_stage.drift))
def drift(
    validation: ValidationRef,
    baseline: ValidationRef | None,
    anchor: ValidationRef | None,
    config: drift_stage.DriftConfig,
) -> DriftRef:
    """Compare the images with those accepted last time."""
    progress = artifacts.progress_bar("drift")
    return drift_stage.drift(validation, baseline, anchor, config, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(quality_stage.quality))
def quality(
    manifest: ManifestRef,
    validation: ValidationRef,
    inspection: InspectionRef | None,
    curation: CurationRef | None,
    split: SplitRef | None,
    drift: DriftRef | None,
    named: tuple[str, ...],
    problem: str | None,
    further: tuple[str, ...],
    show_faces: bool,
) -> QualityRef:
    """Write the data quality report."""
    return quality_stage.quality(
        manifest,
        validation,
        inspection,
        curation,
        split,
        drift,
        named,
        problem,
        further,
        show_faces,
        workspace=caching.workspace(),
        progress=artifacts.progress_bar("quality"),
    )


@task(name="accept", **caching.UNCACHED, **caching.retried(3))
def accept(recipe: str, given: list[str], intake: Intake, config: split_stage.SplitConfig) -> None:
    """Remember this data as what was accepted last: the next run keeps its sides, and is compared with it."""
    baseline.accept(
        caching.workspace(),
        recipe,
        baseline.families(given),
        intake.before,
        intake.validation,
        intake.split,
        intake.drift,
        split_stage.drawing(config),
        baseline.divided_from(intake.curation, intake.inspection, config),
    )


def _credentials(secret: str | None) -> kaggle.Credentials | None:
    """Kaggle's key from a Prefect Secret block: a token, or JSON with `username` and `key` as in kaggle.json."""
    if secret is None:
        return None
    try:
        value = cast(Secret, Secret.load(secret)).get()  # a coroutine only where an event loop runs
    except ValueError:
        raise errors.ConfigError(
            "--kaggle-secret must name a Secret block that Prefect has.",
            received=repr(secret),
            todo="look for it by `prefect block ls`, or make it in the UI (make ui) under Blocks; without the option "
            "the environment or ~/.kaggle/kaggle.json gives the key",
        ) from None
    try:
        found = json.loads(value) if isinstance(value, str) and value.lstrip().startswith("{") else value
        return (
            kaggle.Credentials(**found) if isinstance(found, dict) else kaggle.Credentials(token=SecretStr(str(found)))
        )
    except ValueError as error:
        raise errors.ConfigError(
            f"The Secret block {secret!r} must hold a Kaggle token, or the content of kaggle.json.",
            received="something else",
            todo="make a key at https://www.kaggle.com/settings and store it in the block",
        ) from error
