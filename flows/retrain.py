"""Retrain a model from some sources, and release it if it is good enough."""

from prefect import flow

import tasks.curation
import tasks.evaluation
import tasks.registry
import tasks.reports
import tasks.shards
import tasks.training
from fer.curation.refs import SplitRef
from fer.engine import dask_runner, runners
from fer.engine.refs import Ref
from fer.evaluation import gate
from fer.evaluation.refs import EvaluationRef, Opponent
from fer.ingest.refs import ManifestRef
from fer.recipes import catalog, overrides
from fer.recipes import schema as recipe_module
from fer.recipes.overrides import RecipeSettings
from fer.registry.register import lineage
from fer.shards import preprocessing
from fer.shards.refs import ShardsRef
from fer.training import config as train_config
from fer.training.refs import ModelRef
from flows import ingest, missed_runs, naming
from tasks import caching, outcomes
from tasks.results import Outcome


@flow(name="retrain", flow_run_name=naming.run_name, **caching.JSON_RESULTS)
@outcomes.told
def retrain(
    sources: list[str],
    recipe: catalog.Choice = "demo",
    settings: RecipeSettings | None = None,
    kaggle_secret: str | None = None,
    model_name: str | None = None,
    runner: dask_runner.Name = "processes",
    dask_address: str | None = None,
) -> Outcome:
    """Retrain end to end: from sources to a gated release in the model registry.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        recipe: A name, or the path of a `.toml` file, from the working directory.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        model_name: The model's name in the registry. Without it the recipe's own, or, for another dataset than the
            recipe is made for, the sources' names and the recipe's.
        runner: Who preprocesses and balances: this machine's processes, or the workers of a Dask cluster.
        dask_address: Its scheduler, `tcp://HOST:PORT`; without one `dask` means processes of this machine.
    """
    if (ended := missed_runs.superseded()) is not None:
        return ended
    by = dask_runner.chosen(runner, dask_address)
    base = catalog.load(recipe)
    named = recipe_module.model_name(base, sources, model_name)
    plan = overrides.apply(base, settings, named).resolved()
    outcomes.tag(recipe=plan.name, model=plan.model_name)
    with tasks.registry.store_in_reach():
        intake = ingest.examined(plan, sources, kaggle_secret, share=True)
        manifest, division = intake.manifest, intake.split
        champion = tasks.registry.find_champion(plan.model_name).opponent
        tasks.registry.require_judgeable(plan, sources, champion, manifest.source, division)
        tasks.curation.accept(plan.name, sources, intake, plan.split)
        shards = tasks.shards.preprocess(manifest, division, plan.preprocess, by)
        balanced = tasks.shards.balance(shards, plan.balance, by)
        model, started_from = trained(balanced, shards, division, plan.train)
        evaluation = tasks.evaluation.evaluate(model, shards, division)
        contest = tasks.registry.find_champion(plan.model_name, model)
        opponent = contest.opponent
        scored = _evaluate_champion(opponent, manifest, division, shards, plan.preprocess, by)
        verdict = tasks.evaluation.gate(evaluation, division, manifest.source, opponent, scored, plan.gate)
        made = (intake.validation, intake.curation, shards, balanced, *started_from, model, evaluation, verdict)
        made_from = lineage(manifest, division, *made)
        release = tasks.registry.register(plan, made_from, division, model, evaluation, verdict, contest)
        return tasks.reports.publish_run(sources, recipe, intake, shards, balanced, model, evaluation, verdict, release)


def trained(
    balanced: ShardsRef, shards: ShardsRef, division: SplitRef, config: train_config.TrainConfig
) -> tuple[ModelRef, tuple[Ref, ...]]:
    """A model, trained from the weights and with the votes that the config asks for, and these."""
    weights = votes = None
    if config.weights is not None:
        weights = tasks.training.starting_weights(config.weights, config, division)
    if config.soft_labels:
        votes = tasks.training.collect_votes(division)
    model = tasks.training.train(balanced, shards, weights, votes, config)
    return model, tuple(each for each in (weights, votes) if each is not None)


def _evaluate_champion(
    opponent: Opponent | None,
    manifest: ManifestRef,
    division: SplitRef,
    shards: ShardsRef,
    config: preprocessing.PreprocessConfig,
    runner: runners.Runner,
) -> EvaluationRef | None:
    """The champion on the candidate's test images, preprocessed as the champion was trained, if it can be compared.

    `shards` are the candidate's, made by `config`.
    """
    if opponent is None or gate.obstacle(opponent, manifest.source, division) is not None:
        return None
    wanted = tasks.registry.preprocessing_of(opponent.model)
    same_pixels = wanted.model_copy(update={"images_per_shard": config.images_per_shard}) == config
    if not same_pixels:
        shards = tasks.shards.preprocess_as_champion(manifest, division, wanted, runner)
    return tasks.evaluation.evaluate_champion(opponent.model, shards, division)
