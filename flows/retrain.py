"""Retrain a model from some sources, and release it if it is good enough."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from prefect import flow
from pydantic import Field

import tasks.cross_fitting
import tasks.curation
import tasks.evaluation
import tasks.exports
import tasks.registry
import tasks.reports
import tasks.shards
from fer import errors
from fer.curation.folds import FoldSettings
from fer.curation.refs import SplitRef
from fer.engine import dask_runner, runners
from fer.engine.records import Record
from fer.engine.refs import Ref
from fer.evaluation.refs import (
    CalibrationRef,
    Champion,
    ChampionState,
    EvaluationRef,
    Examination,
    ExportsRef,
    Judged,
    Opponents,
    RobustnessRef,
)
from fer.recipes import catalog, overrides, schema
from fer.recipes.overrides import RecipeSettings
from fer.recipes.schema import Recipe
from fer.registry.register import lineage
from fer.shards.refs import ShardsRef
from flows import examining, missed_runs, naming, run_options
from tasks import block_names, caching, pipeline, stages
from tasks.planning import plans
from tasks.runs import loading, outcomes
from tasks.runs.results import Assessment, IngestResult, RetrainResult, RunPlan, TrainedModel
from tasks.shown import artifacts, graph


class ExtraWork(Record):
    """What a run of `retrain` does beside what is needed."""

    again: tuple[str, ...] = Field(
        default=(),
        title="again",
        description="stages (`train`, …) that run although their output is there, to see that it comes out the same",
    )
    show_faces: bool = Field(
        default=False,
        title="show_faces",
        description="write a page of single images with where the model looks, its mistakes first, on this machine",
    )


NO_EXTRA = ExtraWork()


@flow(name="retrain", flow_run_name=naming.run_name, **run_options.OPTIONS)
@outcomes.as_final_state
def retrain(
    sources: list[str],
    recipe: catalog.Choice = "demo",
    settings: RecipeSettings | None = None,
    kaggle_secret: block_names.Name | None = None,
    model_name: str | None = None,
    runner: dask_runner.Name = "processes",
    extra: ExtraWork = NO_EXTRA,
    plan_only: bool = False,
) -> RetrainResult | RunPlan:
    """Retrain end to end: from sources to a gated release in the model registry.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        recipe: A name, or the path of a `.toml` file, from the working directory.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        model_name: The model's name in the registry. Without it the recipe's own, or, for another dataset than the
            recipe is made for, the sources' names and the recipe's.
        runner: Who preprocesses and balances: `processes` of this machine, `dask` workers on it, or those of a Dask
            cluster, `dask:tcp://HOST:PORT`.
        extra: What the run does beside what is needed.
        plan_only: Do nothing but say what would run, what is cached, and what it takes.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    chosen = (sources, recipe, settings, kaggle_secret, model_name, runner, extra)
    if plan_only:
        made = plan(*chosen)
        artifacts.plan_of_run(made)
        return made
    with caching.again(stages.checked(extra.again)):
        return _retrained(*chosen)


def plan(
    sources: list[str],
    recipe: str,
    settings: RecipeSettings | None = None,
    kaggle_secret: str | None = None,
    model_name: str | None = None,
    runner: dask_runner.Name = "processes",
    extra: ExtraWork = NO_EXTRA,
) -> RunPlan:
    """What the flow would do with these parameters, by a walk through its body: nothing is done and nothing written."""
    body = functools.partial(_retrained, sources, recipe, settings, kaggle_secret, model_name, runner, extra)
    return plans.of(body, stages.checked(extra.again))


def _retrained(
    sources: list[str],
    recipe: str,
    settings: RecipeSettings | None,
    kaggle_secret: str | None,
    model_name: str | None,
    runner: dask_runner.Name,
    extra: ExtraWork,
) -> RetrainResult:
    """The flow's body."""
    stage_runner = dask_runner.chosen(runner)
    base = catalog.load(recipe)
    full_recipe = overrides.apply(base, settings, schema.model_name(base, sources, model_name)).resolved()
    outcomes.tag(recipe=full_recipe.name, model=full_recipe.model_name)
    if extra.show_faces and full_recipe.evaluation.folds:
        raise errors.ConfigError(
            "The page of faces must be of images that the model did not learn.",
            received=f"evaluation.folds={full_recipe.evaluation.folds}, by which it learns all but validation",
            todo="leave out --show-faces (in Prefect extra.show_faces)",
        )
    steps = pipeline.as_tasks(stage_runner)
    with tasks.registry.store_in_reach(), loading.ahead():
        data, splits = graph.phase("data", _bring_data)(full_recipe, sources, kaggle_secret)
        prepared = graph.phase("shards", pipeline.prepare)(full_recipe, data.manifest, splits.learned, steps)
        trained = graph.phase("training", pipeline.fit)(full_recipe, prepared, splits.learned, steps)
        findings = graph.phase("verdict", _judge)(full_recipe, data, splits, trained, stage_runner)
        result = graph.phase("release", _release)(full_recipe, recipe, sources, data, splits, trained, findings)
        if not extra.show_faces:
            return result
        found = tasks.evaluation.explanations(
            trained.model, trained.shards, findings.assessment.evaluation, full_recipe.explanations, show_faces=True
        )
        page = tasks.reports.show_explained_faces(found, trained.model, result.release)
        return result.model_copy(update={"reports": {**result.reports, "with faces": page}})


@dataclass(frozen=True)
class Splits:
    """Which images the model learns and is chosen by, and which it is tested on."""

    learned: SplitRef
    tested: SplitRef
    is_cross_fitted: bool

    def refs(self) -> tuple[SplitRef, ...]:
        """Those that were made beside the data's own."""
        return (self.tested, self.learned) if self.is_cross_fitted else ()


@dataclass(frozen=True)
class Findings:
    """What was found out about a model, and what it is registered with."""

    assessment: Assessment
    judged: Judged
    calibration: CalibrationRef
    champion_state: ChampionState


def _bring_data(recipe: Recipe, sources: list[str], kaggle_secret: str | None) -> tuple[IngestResult, Splits]:
    """The data, accepted, if a model can be judged by it."""
    data = examining.examine(recipe, sources, kaggle_secret, share=True)
    folds = _folds(recipe, data)
    champion = tasks.registry.find_champion(recipe).opponents.champion
    tasks.registry.require_judgeable(recipe, sources, champion, data.manifest.source, folds or data.split)
    tasks.curation.accept(recipe.name, sources, data, recipe.split)
    return data, _splits(data, folds)


def splits_of(recipe: Recipe, data: IngestResult) -> Splits:
    """Which images of the data a model of the recipe learns, and which it is tested on."""
    return _splits(data, _folds(recipe, data))


def _splits(data: IngestResult, folds: SplitRef | None) -> Splits:
    if folds is None:
        return Splits(learned=data.split, tested=data.split, is_cross_fitted=False)
    learned = tasks.cross_fitting.all_but_validation(data.curation, data.split)
    return Splits(learned=learned, tested=folds, is_cross_fitted=True)


def measured(
    recipe: Recipe, data: IngestResult, splits: Splits, trained: TrainedModel, runner: runners.Runner
) -> tuple[CalibrationRef, EvaluationRef]:
    """How sure the model may say that it is, and its answers on the test images, by themselves."""
    calibration = tasks.evaluation.calibrate(trained.model, splits.learned, recipe.calibration)
    if splits.is_cross_fitted:
        return calibration, tasks.cross_fitting.evaluate(recipe, data.manifest, splits.tested, calibration, runner)
    evaluation = tasks.evaluation.evaluate(trained.model, trained.shards, splits.tested, calibration=calibration)
    return calibration, evaluation


def examined(
    recipe: Recipe,
    data: IngestResult,
    splits: Splits,
    trained: TrainedModel,
    calibration: CalibrationRef,
    evaluation: EvaluationRef,
    champion: Champion | None = None,
) -> tuple[Examination, ExportsRef | None]:
    """What the recipe asks to be known of a model beside its evaluation, compared with the `champion`; its exports."""
    examination = Examination()
    if not splits.is_cross_fitted:  # else the model itself learned the images that others are tested on
        examination = tasks.evaluation.examine(recipe, trained, evaluation, splits.tested, champion)
    if recipe.slices.enabled:
        known = (data.validation, data.inspection, data.curation)
        slices = tasks.evaluation.slices(evaluation, *known, recipe.slices)
        examination = examination.model_copy(update={"slices": slices})
    exports = None
    if recipe.export.formats:
        own_evaluation = None if splits.is_cross_fitted else evaluation
        exports = tasks.exports.export(trained.model, trained.shards, own_evaluation, calibration, recipe.export)
    return examination, exports


def _judge(
    recipe: Recipe, data: IngestResult, splits: Splits, trained: TrainedModel, runner: runners.Runner
) -> Findings:
    """The model's figures beside those of the models that it must beat, and the verdict of the gates."""
    manifest, tested = data.manifest, splits.tested
    calibration, evaluation = measured(recipe, data, splits, trained, runner)
    champion_state = tasks.registry.find_champion(recipe, manifest, trained.model)
    opponents = champion_state.opponents
    if splits.is_cross_fitted:
        opponents = tasks.cross_fitting.opponents(opponents, recipe, manifest, tested, runner)
    else:
        opponents = _evaluated(opponents, data, trained.shards, recipe, runner)
    examination, exports = examined(recipe, data, splits, trained, calibration, evaluation, opponents.champion)
    judged = Judged(
        source=manifest.source,
        split=tested,
        model=trained.model,
        evaluation=evaluation,
        robustness=examination.robustness_comparison,
        slices=examination.slices,
        exports=exports,
    )
    verdict = tasks.evaluation.gate(judged, opponents, recipe.gate)
    assessment = Assessment(evaluation, tested, examination, opponents, verdict)
    return Findings(assessment, judged, calibration, champion_state)


def _release(
    recipe: Recipe,
    choice: str,
    sources: list[str],
    data: IngestResult,
    splits: Splits,
    trained: TrainedModel,
    findings: Findings,
) -> RetrainResult:
    """The model as a version of the registry, and the run's reports; `choice` is what the user named the recipe by."""
    assessment = findings.assessment
    examination, verdict = assessment.examination, assessment.verdict
    refs = (
        *splits.refs(),
        *trained.inputs(),
        findings.calibration,
        assessment.evaluation,
        *examination.refs(),
        *(() if findings.judged.exports is None else (findings.judged.exports,)),
        verdict,
    )
    inputs = lineage(data.manifest, data.split, data.validation, data.curation, *refs)
    candidate = tasks.registry.candidate(recipe, inputs, splits.learned, findings.judged, trained, verdict, examination)
    release = tasks.registry.register(candidate, findings.champion_state)
    return tasks.reports.publish_run(sources, choice, data, trained, assessment, release)


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
        if released is None or not tasks.registry.comparable(released, data.manifest.source, data.split):
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
