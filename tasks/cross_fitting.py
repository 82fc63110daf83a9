"""Cross-fitting's tasks: the folds, each fold's model with its answers, and all answers as one evaluation."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from prefect import get_run_logger

from fer import errors, plain_text
from fer.curation import folds as folds_stage
from fer.curation.refs import CurationRef, InspectionRef, SplitRef
from fer.engine import runners
from fer.engine.refs import Ref
from fer.engine.stage import Found, Stage
from fer.evaluation import evaluate as evaluate_stage
from fer.evaluation import out_of_fold as out_of_fold_stage
from fer.evaluation.calibration import calibrate as calibrate_stage
from fer.evaluation.refs import CalibrationRef, Champion, EvaluationRef, Opponents
from fer.ingest.refs import ManifestRef
from fer.recipes.schema import Recipe
from fer.training import seeds as seeds_stage
from tasks import caching, pipeline, registry, stages, training
from tasks.planning import walks
from tasks.shown import artifacts

RefT = TypeVar("RefT", bound=Ref)

# A recipe of another release may fail by its settings; what fails every training, as a full disk, ends the run.
_CANT_BE_TRAINED = (errors.ConfigError, errors.SourceError, errors.Diverged)


class _Missing(Exception):
    """A stage's output is not there yet."""


@stages.task(folds_stage.folds, presumed=lambda parameters: {"n_folds": parameters["settings"].n_folds})
def plan(
    curation: CurationRef,
    inspection: InspectionRef,
    split_ref: SplitRef,
    settings: folds_stage.FoldSettings,
) -> SplitRef:
    """Divide all images into folds, each of which is tested by a model of the others."""
    return stages.run(folds_stage.folds, curation, inspection, split_ref, settings)


@stages.task(folds_stage.all_but_validation)
def all_but_validation(curation: CurationRef, split_ref: SplitRef) -> SplitRef:
    """Give the images that would be tested to training."""
    return stages.run(folds_stage.all_but_validation, curation, split_ref)


@stages.task(out_of_fold_stage.join)
def join(evaluations: tuple[EvaluationRef, ...], folds: SplitRef, calibration: CalibrationRef | None) -> EvaluationRef:
    """Join the answers of all folds' models, and measure them as those of one."""
    return stages.run(out_of_fold_stage.join, evaluations, folds, calibration)


def evaluate(
    recipe: Recipe,
    manifest: ManifestRef,
    folds: SplitRef,
    calibration: CalibrationRef | None,
    runner: runners.Runner,
    whose: str = "",
) -> EvaluationRef:
    """The evaluation of a recipe by its models of each of the `folds`, one trained after the other.

    `calibration` is that of the model to be released. `whose` names the recipe in the names of the tasks, in lower case
    without marks, as the UI demands, where it is not the run's.
    """
    evaluations = tuple(
        _task(f"{whose} fold {number + 1}".strip())(recipe, manifest, folds, number, runner)
        for number in range(folds.n_folds)
    )
    return join(evaluations, folds, calibration)


def _task(name: str) -> Callable[[Recipe, ManifestRef, SplitRef, int, runners.Runner], EvaluationRef]:
    """A task of one fold, cached where all of its stages are."""

    def fold(
        recipe: Recipe, manifest: ManifestRef, folds: SplitRef, number: int, runner: runners.Runner
    ) -> EvaluationRef:
        with artifacts.progress_bar(name) as progress:

            def run(stage: Stage[RefT], *inputs: Any) -> RefT:
                again = caching.is_forced(stage.name)
                return stage(*inputs, workspace=caching.workspace(), progress=progress, runner=runner, again=again)

            return _evaluated(recipe, manifest, folds, number, run)

    return caching.task(name, _find, through=_through)(fold)


def _find(parameters: Mapping[str, Any]) -> Found | None:
    found: Found | None = None

    def look_up(stage: Stage[RefT], *inputs: Any) -> RefT:
        nonlocal found
        output = None if caching.is_forced(stage.name) else stage.found(*inputs, workspace=caching.workspace())
        if output is None:
            raise _Missing
        found = output
        return output.ref  # type: ignore[return-value] # of the stage's own type

    try:
        _evaluated(parameters["recipe"], parameters["manifest"], parameters["folds"], parameters["number"], look_up)
    except _Missing:
        return None
    return found


def _through(walk: walks.Walk, parameters: Mapping[str, Any]) -> EvaluationRef:
    """Walk through the stages of a fold."""

    def look_up(stage: Stage[RefT], *inputs: Any) -> RefT:
        presumed = training.presumed_seed(inputs[1]) if stage is seeds_stage.choose else {}
        return walk.stage_output(stage, *inputs, **presumed)

    given = parameters
    return _evaluated(given["recipe"], given["manifest"], given["folds"], given["number"], look_up)


def _evaluated(recipe: Recipe, manifest: ManifestRef, folds: SplitRef, number: int, run: pipeline.Run) -> EvaluationRef:
    """The recipe's model of one fold, scored on the images that it did not learn."""
    split = run(folds_stage.fold, folds, number)
    trained = pipeline.train(recipe, manifest, split, pipeline.as_stages(run))
    calibration = run(calibrate_stage.calibrate, trained.model, split, recipe.calibration)
    return run(evaluate_stage.evaluate, trained.model, trained.shards, split, "test", calibration)


def opponents(
    of: Opponents, recipe: Recipe, manifest: ManifestRef, folds: SplitRef, runner: runners.Runner
) -> Opponents:
    """The opponents with the evaluations of their recipes on the `folds`: the models themselves learned these images.

    One whose recipe can't be trained by this code says why.
    """

    def evaluated(released: Champion | None, whose: str) -> Champion | None:
        if released is None or not registry.comparable(released, manifest.source, folds):
            return released
        try:
            own = registry.recipe_of(recipe, released)
            return released.model_copy(update={"evaluation": evaluate(own, manifest, folds, None, runner, whose)})
        except _CANT_BE_TRAINED as error:
            if error.transient or isinstance(error, errors.TooLittleMemory):
                raise
            why = f"its recipe can't be trained on the same folds: {error}"
            if walks.current() is None:
                get_run_logger().warning("%s (version %d): %s", whose, released.version, plain_text.visible(why))
            return released.model_copy(update={"not_rebuilt": why})

    return of.model_copy(
        update={"champion": evaluated(of.champion, "champion"), "anchor": evaluated(of.anchor, "best release")}
    )
