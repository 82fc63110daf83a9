"""Curation's tasks: from a manifest to a split that can be trusted."""

from fer.curation import baseline
from fer.curation import curate as curate_stage
from fer.curation import drift as drift_stage
from fer.curation import inspect as inspect_stage
from fer.curation import label_errors as label_errors_stage
from fer.curation import split as split_stage
from fer.curation import validate as validate_stage
from fer.curation.refs import CurationRef, DriftRef, InspectionRef, PreviousData, SplitRef, ValidationRef
from fer.ingest.refs import ManifestRef
from tasks import caching, stages
from tasks.planning import walks
from tasks.runs.results import IngestResult


@stages.task(validate_stage.validate)
def validate(manifest: ManifestRef, config: validate_stage.ValidateConfig) -> ValidationRef:
    """Hold the manifest against its contract."""
    return stages.run(validate_stage.validate, manifest, config)


@stages.task(inspect_stage.inspect)
def inspect(manifest: ManifestRef, validation: ValidationRef, config: inspect_stage.InspectConfig) -> InspectionRef:
    """Find near-duplicates and outliers."""
    return stages.run(inspect_stage.inspect, manifest, validation, config)


@stages.task(curate_stage.curate)
def curate(
    validation: ValidationRef,
    inspection: InspectionRef,
    config: curate_stage.CurateConfig,
    splits: split_stage.SplitConfig,
) -> CurationRef:
    """Find the issues of the images, and keep, drop or quarantine each image by the recipe's policies."""
    return stages.run(curate_stage.curate, validation, inspection, config, splits)


@caching.uncached("find baseline", only_looks=True)
def find_baseline(
    recipe: str,
    sources: list[str],
    validation: ValidationRef,
    inspection: InspectionRef,
    curation: CurationRef,
    config: split_stage.SplitConfig,
) -> PreviousData:
    """Find the data accepted last, to keep its assignments and to compare with it."""
    if not walks.is_made(validation):
        return PreviousData()
    workspace = caching.workspace()
    scope = baseline.Scope(recipe, baseline.families(sources), split_stage.settings_key(config))
    inputs = baseline.inputs_key(curation, inspection, config)
    return baseline.previous_data(baseline.find(workspace, scope), workspace, validation, scope, inputs)


@stages.task(split_stage.split)
def split(
    curation: CurationRef,
    inspection: InspectionRef,
    previous: SplitRef | None,
    config: split_stage.SplitConfig,
) -> SplitRef:
    """Assign each image to train, validation or test; duplicates never to two of them."""
    return stages.run(split_stage.split, curation, inspection, previous, config)


@stages.task(label_errors_stage.label_errors)
def label_errors(
    manifest: ManifestRef,
    curation: CurationRef,
    inspection: InspectionRef,
    split_ref: SplitRef,
    config: label_errors_stage.LabelErrorConfig,
) -> SplitRef:
    """Find labels in doubt by a model of train's labels; take those out of train that the policy drops."""
    return stages.run(label_errors_stage.label_errors, manifest, curation, inspection, split_ref, config)


@stages.task(drift_stage.drift)
def drift(
    validation: ValidationRef,
    baseline: ValidationRef | None,
    anchor: ValidationRef | None,
    config: drift_stage.DriftConfig,
) -> DriftRef:
    """Compare the images with those accepted last time."""
    return stages.run(drift_stage.drift, validation, baseline, anchor, config)


@caching.uncached("accept")
def accept(recipe: str, sources: list[str], data: IngestResult, config: split_stage.SplitConfig) -> None:
    """Remember this data as accepted last: the next run keeps its assignments, and is compared with it."""
    baseline.accept(
        caching.workspace(),
        baseline.Scope(recipe, baseline.families(sources), split_stage.settings_key(config)),
        data.previous,
        data.validation,
        data.split,
        data.drift,
        baseline.inputs_key(data.curation, data.inspection, config),
    )
