"""The stages of data, from sources to a split and the quality report, which every flow that needs data begins with."""

import tasks.curation
import tasks.ingest
import tasks.reports
from fer import errors
from fer.curation import label_errors
from fer.curation.refs import CurationRef, DriftRef, InspectionRef, PreviousData, SplitRef
from fer.evaluation.gates import beforehand
from fer.ingest.index import OfficialNames
from fer.recipes.schema import Recipe
from fer.reports.refs import DataRefs, QualityRef
from flows import naming
from tasks.planning import walks
from tasks.runs import outcomes
from tasks.runs.results import IngestResult


def examine(
    recipe: Recipe,
    sources: list[str],
    kaggle_secret: str | None,
    *,
    show_faces: bool = False,
    share: bool = False,
    previous: PreviousData | None = None,
) -> IngestResult:
    """The sources' data, checked, curated, split and compared with the last; its report, in the store too if `share`.

    `previous` is what it is compared with, and whose assignments it keeps, in place of the data accepted last.
    Raises UnfitData, after the report, if it is not fit for training.
    """
    sources = sorted(sources)  # in another order they are the same data
    resolved = {
        source: tasks.ingest.resolve(source, recipe.demo, kaggle_secret, recipe.index.text_encoding)
        for source in sources
    }
    naming.add_versions(resolved)
    datasets = tuple(tasks.ingest.download(resolved[source]) for source in sources)
    official = OfficialNames(names=recipe.split.official)
    manifest = tasks.ingest.index(datasets, recipe.index, official, tasks.ingest.forgotten())
    validation = tasks.curation.validate(manifest, recipe.contracts)

    def report(
        inspection: InspectionRef | None = None,
        curation: CurationRef | None = None,
        split: SplitRef | None = None,
        drift: DriftRef | None = None,
        problem: str | None = None,
    ) -> tuple[QualityRef, dict[str, str]]:
        def write(faces: bool) -> QualityRef:
            warnings = manifest.warnings + (manifest.split_warnings if recipe.split.use_official else ())
            if split is not None and walks.is_made(split):
                warnings += beforehand.warnings(split, recipe.gate, recipe.evaluation.folds)
            data = DataRefs(manifest, validation, inspection, curation, split, drift)
            return tasks.reports.quality(data, tuple(sources), problem, warnings, faces)

        quality = write(faces=False)
        with_faces = write(faces=True) if show_faces else None
        paths = tasks.reports.show_quality(recipe.name, sources, validation, quality, with_faces, share)
        if share:
            tasks.reports.share_quality(validation, quality)
            outcomes.emit_data_events(recipe.name, sources, validation, drift, quality, paths)
        tasks.reports.require_fit(quality, paths)
        return quality, paths

    if validation.failures:
        report()
    inspection = tasks.curation.inspect(manifest, validation, recipe.inspect)
    curation = tasks.curation.curate(validation, inspection, recipe.curate, recipe.split)
    if previous is None:
        previous = tasks.curation.find_baseline(recipe.name, sources, validation, inspection, curation, recipe.split)
    try:
        split = tasks.curation.split(curation, inspection, previous.split, recipe.split)
    except errors.SourceError as error:
        report(inspection, curation, problem=str(error))
        raise
    if recipe.inspect.label_errors:
        config = label_errors.LabelErrorConfig.of(recipe.inspect, recipe.curate.policies.label_error)
        split = tasks.curation.label_errors(manifest, curation, inspection, split, config)
    drift = tasks.curation.drift(validation, previous.validation, previous.anchor, recipe.drift)
    quality, paths = report(inspection, curation, split, drift)
    return IngestResult(
        manifest=manifest,
        validation=validation,
        inspection=inspection,
        curation=curation,
        split=split,
        drift=drift,
        quality=quality,
        previous=previous,
        reports=paths,
    )
