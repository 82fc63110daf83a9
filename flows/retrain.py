"""Retrain a model from a source, and release it if it is good enough."""

from prefect import flow

from fer import recipes, refs
from fer.recipe import RecipeSettings
from tasks import caching, data, models, pixels, releases, summary


@flow(name="retrain", flow_run_name="{recipe} from {source}", **caching.JSON_RESULTS)
def retrain(
    source: str = "demo",
    recipe: recipes.Name = "demo",
    settings: RecipeSettings | None = None,
    kaggle_secret: str | None = None,
) -> refs.Outcome:
    """Retrain end to end: from a source to a gated release in the model registry.

    Args:
        source: `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip` or `demo`.
        recipe: The named recipe.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
    """
    plan = recipes.load(recipe).with_settings(settings)
    with releases.store_in_reach():
        dataset = data.download(data.resolve(source, plan.demo, kaggle_secret))
        manifest = data.index(dataset, plan.index)
        validation = data.validate(manifest, plan.contracts)
        division = data.split(validation, plan.split)
        shards = pixels.preprocess(manifest, division, plan.preprocess)
        balanced = pixels.balance(shards, plan.balance)
        model = models.train(balanced, shards, plan.train)
        evaluation = models.evaluate(model, shards)
        contest = releases.find_champion(plan.model_name, model)
        champion = _evaluate_champion(contest, manifest, division, shards)
        verdict = models.gate(evaluation, champion, contest.opponent_version, plan.gate)
        lineage = refs.lineage(dataset, manifest, validation, division, shards, balanced, model, evaluation, verdict)
        release = releases.register(plan, lineage, model, evaluation, verdict, contest)
        return summary.publish(source, recipe, validation, balanced, model, evaluation, verdict, release)


def _evaluate_champion(
    contest: refs.Contest, manifest: refs.ManifestRef, division: refs.SplitRef, shards: refs.ShardsRef
) -> refs.EvaluationRef | None:
    """The champion on the candidate's test images, preprocessed as the champion was trained, if it can be compared."""
    if contest.opponent is None or set(contest.opponent.classes) != set(shards.classes):
        return None
    config = releases.preprocessing_of(contest.opponent)
    return models.evaluate(contest.opponent, pixels.preprocess(manifest, division, config))
