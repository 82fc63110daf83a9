"""Train several models on the same data and compare them on the same images; nothing is registered."""

from prefect import flow

import tasks.evaluation
import tasks.registry
import tasks.shards
from fer.recipes import candidates as candidate_recipes
from fer.recipes import catalog, overrides
from fer.recipes.overrides import RecipeSettings
from flows import ingest, missed_runs, naming, retrain
from tasks import caching, comparison, outcomes
from tasks.results import ComparisonOutcome


@flow(name="compare", flow_run_name=naming.run_name, **caching.JSON_RESULTS)
@outcomes.told
def compare(
    sources: list[str],
    candidates: dict[str, list[str]],
    recipe: catalog.Choice = "demo",
    settings: RecipeSettings | None = None,
    kaggle_secret: str | None = None,
) -> ComparisonOutcome:
    """Train each candidate, and put them in one table.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        candidates: A name of your own -> its settings, as `train.model.name=vgg`, in place of the recipe's.
        recipe: The recipe that all candidates are variants of: a name, or the path of a `.toml` file.
        settings: Settings for all of them; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
    """
    if (ended := missed_runs.superseded()) is not None:
        return ended
    base = catalog.load(recipe)
    plan = overrides.apply(base, settings)
    outcomes.tag(recipe=plan.name)
    plans = {name: each.resolved() for name, each in candidate_recipes.recipes(plan, candidates).items()}
    with tasks.registry.workspace_in_reach():
        intake = ingest.examined(plan, sources, kaggle_secret)
        found = {}
        for name, each in plans.items():
            shards = tasks.shards.preprocess(intake.manifest, intake.split, each.preprocess)
            balanced = tasks.shards.balance(shards, each.balance)
            model, _ = retrain.trained(balanced, shards, intake.split, each.train)
            found[name] = (model, tasks.evaluation.evaluate(model, shards, intake.split))
        return comparison.publish(base, recipe, sources, plans, found)
