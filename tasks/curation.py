"""Curation's tasks: from a manifest to a split that can be trusted."""

from prefect import task

from fer.curation import baseline, train_labels
from fer.curation import curate as curate_stage
from fer.curation import drift as drift_stage
from fer.curation import inspect as inspection
from fer.curation import split as split_stage
from fer.curation import validate as validation_stage
from fer.curation.refs import Before, CurationRef, DriftRef, InspectionRef, SplitRef, ValidationRef
from fer.ingest.refs import ManifestRef
from tasks import artifacts, caching
from tasks.results import IngestResult


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
    sources: list[str],
    validation: ValidationRef,
    inspection: InspectionRef,
    curation: CurationRef,
    config: split_stage.SplitConfig,
) -> Before:
    """Find what was accepted last time, to keep its sides and to compare with it."""
    workspace = caching.workspace()
    drawing = split_stage.drawing(config)
    accepted = baseline.find(workspace, recipe, baseline.families(sources), drawing)
    divided = baseline.divided_from(curation, inspection, config)
    return baseline.before(accepted, workspace, validation, drawing, divided)


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


@task(name="accept", **caching.UNCACHED, **caching.retried(3))
def accept(recipe: str, sources: list[str], data: IngestResult, config: split_stage.SplitConfig) -> None:
    """Remember this data as what was accepted last: the next run keeps its sides, and is compared with it."""
    baseline.accept(
        caching.workspace(),
        recipe,
        baseline.families(sources),
        data.before,
        data.validation,
        data.split,
        data.drift,
        split_stage.drawing(config),
        baseline.divided_from(data.curation, data.inspection, config),
    )
