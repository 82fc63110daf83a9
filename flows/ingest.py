"""Bring data in, check it, and accept it if it is sound: what a schedule does every day, without training."""

from prefect import flow

import tasks.curation
import tasks.ingest
import tasks.registry
import tasks.reports
from fer import errors
from fer.curation.refs import CurationRef, DriftRef, InspectionRef, SplitRef
from fer.evaluation import gate
from fer.recipes import catalog, overrides
from fer.recipes.overrides import RecipeSettings
from fer.recipes.schema import Recipe
from fer.reports.refs import QualityRef
from flows import missed_runs, naming
from tasks import caching, outcomes
from tasks.results import Intake


@flow(name="ingest", flow_run_name=naming.run_name, **caching.JSON_RESULTS)
@outcomes.told
def ingest(
    sources: list[str],
    recipe: catalog.Choice = "fer2013-cnn",
    settings: RecipeSettings | None = None,
    kaggle_secret: str | None = None,
    accept: bool = True,
    show_faces: bool = False,
) -> Intake:
    """Bring the sources' data in, check and curate it, write the quality report, and accept it if it is sound.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        recipe: The recipe whose classes, contracts, policies and split hold: a name, or the path of a `.toml` file.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        accept: Remember the data as accepted, and share its report in the store; else only look.
        show_faces: Write a second report, which shows faces, on this machine.
    """
    if (ended := missed_runs.superseded()) is not None:
        return ended
    plan = overrides.apply(catalog.load(recipe), settings)
    outcomes.tag(recipe=plan.name)
    if not accept:
        with tasks.registry.workspace_in_reach():
            return examined(plan, sources, kaggle_secret, show_faces=show_faces)
    with tasks.registry.store_in_reach():
        return accepted(plan, sources, kaggle_secret, show_faces=show_faces)


def accepted(plan: Recipe, sources: list[str], kaggle_secret: str | None, *, show_faces: bool = False) -> Intake:
    """What every run on some data begins with. Raises UnfitData, after the report, if it is not fit for training."""
    intake = examined(plan, sources, kaggle_secret, show_faces=show_faces, share=True)
    tasks.curation.accept(plan.name, sources, intake, plan.split)
    return intake


def examined(
    plan: Recipe, sources: list[str], kaggle_secret: str | None, *, show_faces: bool = False, share: bool = False
) -> Intake:
    """The sources' data, checked, curated, split and compared with the last; its report, in the store too if `share`.

    Raises UnfitData, after the report, if it is not fit for training.
    """
    sources = sorted(sources)  # in another order they are the same data
    resolved = {source: tasks.ingest.resolve(source, plan.demo, kaggle_secret) for source in sources}
    naming.add_versions(resolved)
    datasets = tuple(tasks.ingest.download(resolved[source]) for source in sources)
    manifest = tasks.ingest.index(datasets, plan.index)
    validation = tasks.curation.validate(manifest, plan.contracts)

    def report(
        inspection: InspectionRef | None = None,
        curation: CurationRef | None = None,
        division: SplitRef | None = None,
        drift: DriftRef | None = None,
        problem: str | None = None,
    ) -> tuple[QualityRef, dict[str, str]]:
        def written(faces: bool) -> QualityRef:
            named, further = tuple(sources), () if division is None else gate.warnings(division, plan.gate)
            return tasks.reports.quality(
                manifest, validation, inspection, curation, division, drift, named, problem, further, faces
            )

        quality = written(False)
        shown = tasks.reports.show_quality(
            plan.name, sources, validation, quality, written(True) if show_faces else None
        )
        if share:
            tasks.reports.share_quality(validation, quality)
            outcomes.tell_data(plan.name, sources, validation, drift, quality, shown)
        tasks.reports.require_fit(quality, shown)
        return quality, shown

    if validation.failures:
        report()
    inspection = tasks.curation.inspect(manifest, validation, plan.inspect)
    curation = tasks.curation.curate(validation, inspection, plan.curate, plan.split)
    before = tasks.curation.find_baseline(plan.name, sources, validation, inspection, curation, plan.split)
    try:
        division = tasks.curation.split(curation, inspection, before.split, plan.split)
    except errors.SourceError as error:
        report(inspection, curation, problem=str(error))
        raise
    if plan.inspect.label_errors:
        policy = plan.curate.policies.label_error
        division = tasks.curation.label_errors(manifest, curation, inspection, division, plan.inspect, policy)
    drift = tasks.curation.drift(validation, before.validation, before.anchor, plan.drift)
    quality, shown = report(inspection, curation, division, drift)
    return Intake(
        manifest=manifest,
        validation=validation,
        inspection=inspection,
        curation=curation,
        split=division,
        drift=drift,
        quality=quality,
        before=before,
        reports=shown,
    )
