"""Bring data in, check it, and accept it if it is sound: what a schedule does every day, without training."""

from typing import Annotated

from prefect import flow
from pydantic import Field

import tasks.champions
import tasks.curation
import tasks.ingest
import tasks.registry
import tasks.reports
from fer import errors
from fer.curation import label_errors
from fer.curation.refs import CurationRef, DriftRef, InspectionRef, PreviousData, SplitRef
from fer.evaluation.gates import beforehand
from fer.ingest.index import OfficialNames
from fer.recipes import catalog, overrides, schema
from fer.recipes.overrides import RecipeSettings
from fer.recipes.schema import Recipe
from fer.reports.refs import DataRefs, QualityRef
from flows import missed_runs, naming, run_options
from tasks import block_names
from tasks.planning import walks
from tasks.runs import outcomes
from tasks.runs.results import IngestResult
from tasks.shown import graph


@flow(name="ingest", flow_run_name=naming.run_name, **run_options.OPTIONS)
@outcomes.as_final_state
def ingest(
    sources: list[str],
    recipe: catalog.Choice = "fer2013-cnn",
    settings: RecipeSettings | None = None,
    kaggle_secret: block_names.Name | None = None,
    accept: bool = True,
    enough_new: Annotated[float, Field(gt=0)] = 0.1,
    show_faces: bool = False,
) -> IngestResult:
    """Bring the sources' data in, check and curate it, write the quality report, and accept it if it is sound.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        recipe: The recipe whose classes, contracts, policies and split hold: a name, or the path of a `.toml` file.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        accept: Remember the data as accepted, and share its report in the store; else only look.
        enough_new: New images, for each that the champion learned, from which on an event asks for a retraining.
        show_faces: Write a second report, which shows faces, on this machine.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    full_recipe = overrides.apply(catalog.load(recipe), settings)
    outcomes.tag(recipe=full_recipe.name)
    look = graph.phase("data", examine)
    if not accept:
        with tasks.registry.workspace_in_reach():
            return look(full_recipe, sources, kaggle_secret, show_faces=show_faces)
    with tasks.registry.store_in_reach():
        data = look(full_recipe, sources, kaggle_secret, show_faces=show_faces, share=True)
        tasks.curation.accept(full_recipe.name, sources, data, full_recipe.split)
        model_name = schema.model_name(full_recipe, sources)
        tasks.champions.tell_of_growth(model_name, full_recipe.name, sources, data.split, enough_new)
        return data


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
