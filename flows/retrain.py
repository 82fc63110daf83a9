"""Retrain a model from some sources, and release it if it is good enough."""

from collections.abc import Callable

from prefect import flow

import tasks.cross_fitting
import tasks.curation
import tasks.evaluation
import tasks.registry
import tasks.reports
import tasks.shards
from fer import errors
from fer.curation.folds import FoldSettings
from fer.curation.refs import SplitRef
from fer.engine import dask_runner, runners
from fer.engine.refs import Ref
from fer.evaluation.gates import beforehand
from fer.evaluation.refs import Champion, EvaluationRef, Examination, Judged, Opponents, RobustnessRef
from fer.recipes import catalog, overrides, schema
from fer.recipes.overrides import RecipeSettings
from fer.recipes.schema import Recipe
from fer.registry.register import lineage
from fer.shards.refs import ShardsRef
from flows import ingest, missed_runs, naming, run_options
from tasks import block_names, outcomes, pipeline
from tasks.results import Assessment, IngestResult, RetrainResult


@flow(name="retrain", flow_run_name=naming.run_name, **run_options.OPTIONS)
@outcomes.as_final_state
def retrain(
    sources: list[str],
    recipe: catalog.Choice = "demo",
    settings: RecipeSettings | None = None,
    kaggle_secret: block_names.Name | None = None,
    model_name: str | None = None,
    runner: dask_runner.Name = "processes",
    dask_address: str | None = None,
    show_faces: bool = False,
) -> RetrainResult:
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
        show_faces: Write a page of single images with where the model looks, its mistakes first, on this machine.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    stage_runner = dask_runner.chosen(runner, dask_address)
    base = catalog.load(recipe)
    full_recipe = overrides.apply(base, settings, schema.model_name(base, sources, model_name)).resolved()
    outcomes.tag(recipe=full_recipe.name, model=full_recipe.model_name)
    if show_faces and full_recipe.evaluation.folds:
        raise errors.ConfigError(
            "The page of faces must be of images that the model did not learn.",
            received=f"evaluation.folds={full_recipe.evaluation.folds}, by which it learns all but validation",
            todo="leave out --show-faces",
        )
    with tasks.registry.store_in_reach():
        data = ingest.examine(full_recipe, sources, kaggle_secret, share=True)
        manifest, folds = data.manifest, _folds(full_recipe, data)
        tested = folds or data.split
        champion = tasks.registry.find_champion(full_recipe).opponents.champion
        tasks.registry.require_judgeable(full_recipe, sources, champion, manifest.source, tested)
        tasks.curation.accept(full_recipe.name, sources, data, full_recipe.split)
        learned = tasks.cross_fitting.all_but_validation(data.curation, data.split) if folds else data.split
        trained = pipeline.train(full_recipe, manifest, learned, pipeline.as_tasks(stage_runner))
        calibration = tasks.evaluation.calibrate(trained.model, learned, full_recipe.calibration)
        if folds:
            evaluation = tasks.cross_fitting.evaluate(full_recipe, manifest, folds, calibration, stage_runner)
        else:
            evaluation = tasks.evaluation.evaluate(trained.model, trained.shards, tested, calibration=calibration)
        champion_state = tasks.registry.find_champion(full_recipe, manifest, trained.model)
        opponents = champion_state.opponents
        if folds:  # the model itself learned the images that others are tested on: it is not examined on them
            opponents = tasks.cross_fitting.opponents(opponents, full_recipe, manifest, folds, stage_runner)
            examination = Examination()
        else:
            opponents = _evaluated(opponents, data, trained.shards, full_recipe, stage_runner)
            examination = tasks.evaluation.examine(full_recipe, trained, evaluation, tested, opponents.champion)
        if full_recipe.slices.enabled:
            known = (data.validation, data.inspection, data.curation)
            slices = tasks.evaluation.slices(evaluation, *known, full_recipe.slices)
            examination = examination.model_copy(update={"slices": slices})
        judged = Judged(
            source=manifest.source,
            split=tested,
            model=trained.model,
            evaluation=evaluation,
            robustness=examination.robustness_comparison,
            slices=examination.slices,
        )
        verdict = tasks.evaluation.gate(judged, opponents, full_recipe.gate)
        splits = (folds, learned) if folds else ()
        outputs = (*splits, *trained.inputs(), calibration, evaluation, *examination.refs(), verdict)
        inputs = lineage(manifest, data.split, data.validation, data.curation, *outputs)
        candidate = tasks.registry.candidate(full_recipe, inputs, learned, judged, trained, verdict, examination)
        release = tasks.registry.register(candidate, champion_state)
        assessment = Assessment(evaluation, tested, examination, opponents, verdict)
        result = tasks.reports.publish_run(sources, recipe, data, trained, assessment, release)
        if not show_faces:
            return result
        found = tasks.evaluation.explanations(
            trained.model, trained.shards, evaluation, full_recipe.explanations, show_faces=True
        )
        page = tasks.reports.show_explained_faces(found, trained.model, release)
        return result.model_copy(update={"reports": {**result.reports, "with faces": page}})


def _folds(recipe: Recipe, data: IngestResult) -> SplitRef | None:
    """The folds in which the recipe is judged; None if its model is, by the test split."""
    n_folds, drawn = recipe.evaluation.folds, recipe.split
    if not n_folds:
        return None
    settings = FoldSettings(n_folds=n_folds, validation_share=drawn.validation_share, seed=drawn.seed)
    return tasks.cross_fitting.plan(data.curation, data.inspection, data.split, settings)


def _evaluated(
    opponents: Opponents,
    data: IngestResult,
    shards: ShardsRef,
    recipe: Recipe,
    runner: runners.Runner,
) -> Opponents:
    """The opponents with their evaluations on the candidate's test images, where they can be compared; the champion's
    robustness, if the recipe asks for the candidate's.

    The images are preprocessed as each opponent was trained; `shards` are the candidate's, made by the `recipe`.
    """

    def evaluated(
        released: Champion | None,
        evaluate: Callable[..., EvaluationRef],
        measure_robustness: Callable[..., RobustnessRef] | None = None,
    ) -> Champion | None:
        if released is None or beforehand.comparability(released, data.manifest.source, data.split) is not None:
            return released
        own_config = tasks.registry.preprocessing_of(released.model)
        same_pixels = (
            own_config.model_copy(update={"images_per_shard": recipe.preprocess.images_per_shard}) == recipe.preprocess
        )
        own_shards = shards
        if not same_pixels:
            own_shards = tasks.shards.preprocess_as_champion(data.manifest, data.split, own_config, runner)
        own_evaluation = evaluate(released.model, own_shards, data.split, calibration=released.calibration)
        update: dict[str, Ref] = {"evaluation": own_evaluation}
        if measure_robustness is not None and recipe.robustness.enabled:
            update["robustness"] = measure_robustness(released.model, own_shards, recipe.robustness)
        return released.model_copy(update=update)

    return opponents.model_copy(
        update={
            "champion": evaluated(
                opponents.champion, tasks.evaluation.evaluate_champion, tasks.evaluation.champion_robustness
            ),
            "anchor": evaluated(opponents.anchor, tasks.evaluation.evaluate_anchor),
        }
    )
