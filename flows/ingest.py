"""Bring data in, check it, and accept it if it is sound: what a schedule does every day, without training."""

from typing import Any

from prefect import flow, runtime

from fer import recipes, refs
from fer.recipe import Recipe, RecipeSettings
from tasks import caching, data, releases, reports


def run_name() -> str:
    """Of a run of this flow or of `retrain`: the recipe and the sources."""
    parameters: dict[str, Any] = runtime.flow_run.parameters
    return f"{parameters['recipe']} from {', '.join(parameters['sources'])}"


@flow(name="ingest", flow_run_name=run_name, **caching.JSON_RESULTS)
def ingest(
    sources: list[str],
    recipe: recipes.Name = "fer2013-cnn",
    settings: RecipeSettings | None = None,
    kaggle_secret: str | None = None,
    accept: bool = True,
    show_faces: bool = False,
) -> refs.Intake:
    """Bring the sources' data in, check and curate it, write the quality report, and accept it if it is sound.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        recipe: The named recipe, whose classes, contracts, policies and split hold.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        accept: Remember the data as accepted, and share its report in the store; else only look.
        show_faces: Write a second report, which shows faces, on this machine.
    """
    plan = recipes.load(recipe).with_settings(settings)
    if not accept:
        return examined(plan, sources, kaggle_secret, show_faces=show_faces)
    with releases.store_in_reach():
        return accepted(plan, sources, kaggle_secret, show_faces=show_faces)


def accepted(plan: Recipe, sources: list[str], kaggle_secret: str | None, *, show_faces: bool = False) -> refs.Intake:
    """What every run on some data begins with. Raises ContractViolation if the data is not fit for training."""
    intake = examined(plan, sources, kaggle_secret, show_faces=show_faces)
    reports.share_quality(intake)
    data.accept(plan.name, intake)
    return intake


def examined(plan: Recipe, sources: list[str], kaggle_secret: str | None, *, show_faces: bool = False) -> refs.Intake:
    """The sources' data, checked, curated, split and compared with the last. Raises ContractViolation, after the
    report, if it is not fit for training.
    """
    datasets = tuple(data.download(data.resolve(source, plan.demo, kaggle_secret)) for source in sources)
    manifest = data.index(datasets, plan.index)
    validation = data.validate(manifest, plan.contracts)
    if validation.failures:
        reports.show_quality(plan.name, manifest, data.quality(manifest, validation, None, None, None, None, False))
    before = data.find_baseline(plan.name, manifest, validation)
    inspection = data.inspect(manifest, validation, plan.inspect)
    curation = data.curate(validation, inspection, plan.curate)
    division = data.split(curation, inspection, before.split, plan.split)
    drift = data.drift(validation, before.validation, plan.drift)
    found = (manifest, validation, inspection, curation, division, drift)
    quality = data.quality(*found, False)
    with_faces = data.quality(*found, True) if show_faces else None
    return refs.Intake(
        manifest=manifest,
        validation=validation,
        curation=curation,
        split=division,
        drift=drift,
        quality=quality,
        before=before,
        reports=reports.show_quality(plan.name, manifest, quality, with_faces),
    )
