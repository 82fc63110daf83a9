"""Retrain a model from a source, and release it if it is good enough."""

from prefect import flow

from fer import gate, preprocess, recipes, refs
from fer.recipe import RecipeSettings
from tasks import caching, data, models, pixels, releases, summary


@flow(name="retrain", flow_run_name="{recipe} from {source}", **caching.JSON_RESULTS)
def retrain(
    source: str = "demo",
    recipe: recipes.Name = "demo",
    settings: RecipeSettings | None = None,
    kaggle_secret: str | None = None,
    model_name: str | None = None,
) -> refs.Outcome:
    """Retrain end to end: from a source to a gated release in the model registry.

    Args:
        source: `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip` or `demo`.
        recipe: The named recipe.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        model_name: The model's name in the registry, in place of the recipe's; another dataset deserves another one.
    """
    plan = recipes.load(recipe).with_settings(settings, model_name)
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
        opponent = contest.opponent
        scored = _evaluate_champion(opponent, dataset.source, manifest, division, shards, plan.preprocess)
        verdict = models.gate(evaluation, division, dataset.source, opponent, scored, plan.gate)
        lineage = refs.lineage(dataset, division, manifest, validation, shards, balanced, model, evaluation, verdict)
        release = releases.register(plan, lineage, division, model, evaluation, verdict, contest)
        return summary.publish(source, recipe, validation, balanced, model, evaluation, verdict, release)


def _evaluate_champion(
    opponent: refs.Opponent | None,
    source: str,
    manifest: refs.ManifestRef,
    division: refs.SplitRef,
    shards: refs.ShardsRef,
    config: preprocess.PreprocessConfig,
) -> refs.EvaluationRef | None:
    """The champion on the candidate's test images, preprocessed as the champion was trained, if it can be compared.

    `shards` are the candidate's, made by `config`.
    """
    if opponent is None or gate.obstacle(opponent, source, division) is not None:
        return None
    wanted = releases.preprocessing_of(opponent.model)
    same_pixels = wanted.model_copy(update={"images_per_shard": config.images_per_shard}) == config
    if not same_pixels:
        shards = pixels.preprocess_as_champion(manifest, division, wanted)
    return models.evaluate_champion(opponent.model, shards)
