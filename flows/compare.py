"""Train several models on the same data and compare them on the same images; nothing is registered."""

from prefect import flow

import tasks.evaluation
import tasks.registry
from fer.evaluation.comparing import candidates as candidate_rows
from fer.evaluation.refs import EvaluationRef
from fer.recipes import candidates as candidate_recipes
from fer.recipes import catalog, overrides
from fer.recipes.overrides import RecipeSettings
from fer.recipes.schema import Recipe
from fer.training.refs import ModelRef
from flows import examining, missed_runs, naming, run_options
from tasks import block_names, comparison, pipeline
from tasks.runs import outcomes
from tasks.runs.results import ComparisonResult, IngestResult
from tasks.shown import graph


@flow(name="compare", flow_run_name=naming.run_name, **run_options.OPTIONS)
@outcomes.as_final_state
def compare(
    sources: list[str],
    candidates: dict[str, list[str]],
    recipe: catalog.Choice = "demo",
    settings: RecipeSettings | None = None,
    kaggle_secret: block_names.Name | None = None,
) -> ComparisonResult:
    """Train each candidate, and put them in one table.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        candidates: A name of your own -> its settings, as `train.model.name=vgg`, in place of the recipe's.
        recipe: The recipe that all candidates are variants of: a name, or the path of a `.toml` file.
        settings: Settings for all of them; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    base = catalog.load(recipe)
    full_recipe = overrides.apply(base, settings)
    outcomes.tag(recipe=full_recipe.name)
    variants = candidate_recipes.recipes(full_recipe, candidates)
    by_name = {name: variant.resolved() for name, variant in variants.items()}
    with tasks.registry.workspace_in_reach():
        data = graph.phase("data", examining.examine)(full_recipe, sources, kaggle_secret)
        scored = {name: graph.phase(name, _score)(variant, data) for name, variant in by_name.items()}
        known = candidate_rows.Known(data.validation, data.inspection, data.curation, full_recipe.slices)
        return comparison.publish(base, recipe, sources, by_name, scored, known)


def _score(recipe: Recipe, data: IngestResult) -> tuple[ModelRef, EvaluationRef]:
    """A candidate's model and how good it is."""
    trained = pipeline.train(recipe, data.manifest, data.split, pipeline.as_tasks())
    calibration = tasks.evaluation.calibrate(trained.model, data.split, recipe.calibration)
    return trained.model, tasks.evaluation.evaluate(trained.model, trained.shards, data.split, calibration=calibration)
