"""Search a recipe's settings for those that are best on the validation split."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, cast

from prefect import flow
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

import tasks.registry
import tasks.training
from fer.recipes import catalog, overrides
from fer.recipes.overrides import RecipeSettings
from fer.recipes.schema import Recipe
from fer.training import search as search_space
from fer.training.refs import WeightsRef
from flows import examining, limits, missed_runs, naming, run_options
from tasks import block_names, sweeps
from tasks.runs import outcomes
from tasks.runs.results import IngestResult, SweepResult
from tasks.shown import graph

# Its futures are of a subclass, which Prefect's own types do not let a flow have.
_RUNNER = cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=limits.MAX_CONCURRENT_TRIALS))


@flow(
    name="sweep",
    flow_run_name=naming.run_name,
    task_runner=_RUNNER,
    **run_options.OPTIONS,
)
@outcomes.as_final_state
def sweep(
    sources: list[str],
    recipe: catalog.Choice = "demo",
    settings: RecipeSettings | None = None,
    search: dict[str, str] | None = None,
    trials: Annotated[int, Field(ge=1)] = 20,
    concurrency: Annotated[int, Field(ge=1, le=limits.MAX_CONCURRENT_TRIALS)] = 1,
    seed: Annotated[int, Field(ge=0)] = 0,
    kaggle_secret: block_names.Name | None = None,
) -> SweepResult:
    """Try settings of a recipe on the same data; nothing is registered and the test split is not looked at.

    Raises TrainingError, after the report, if no trial is complete.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        recipe: A name, or the path of a `.toml` file, from the working directory.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        search: What to try: setting -> `LOW..HIGH`, `LOW..HIGH log` or `A|B|C`; empty: the recipe's own space.
        trials: How many, those of an earlier run of this sweep among them.
        concurrency: How many at a time.
        seed: Of the proposals.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    base = catalog.load(recipe)
    full_recipe = overrides.apply(base, settings).resolved()
    outcomes.tag(recipe=full_recipe.name)
    space = sweeps.checked_space(full_recipe, search or full_recipe.search)
    with tasks.registry.workspace_in_reach():
        data = graph.phase("data", examining.examine)(full_recipe, sources, kaggle_secret)
        weights = {
            source: tasks.training.starting_weights(source, full_recipe.train, data.split)
            for source in sweeps.weight_sources(full_recipe, space)
        }
        with sweeps.studying(full_recipe, data.split, weights, space, seed) as study:
            _run_trials(study, full_recipe, data, weights, trials, concurrency)
            result = sweeps.publish(full_recipe, base, recipe, sources, kaggle_secret, space, study.trials())
    sweeps.require_best(result)
    return result


def _run_trials(
    study: search_space.Study,
    recipe: Recipe,
    data: IngestResult,
    weights: Mapping[str, WeightsRef],
    n_trials: int,
    concurrency: int,
) -> None:
    """Run what an earlier run left, then new trials, `concurrency` at a time, until there are `n_trials`."""
    unfinished = study.unfinished()
    running: dict[int, PrefectFuture[search_space.Trial]] = {}
    with _stop_at_exit() as stopped:
        while True:
            while len(running) < concurrency and (unfinished or len(study.trials()) < n_trials):
                trial = unfinished.pop(0) if unfinished else study.propose()
                running[trial.number] = sweeps.run_trial.submit(
                    trial, recipe, data.manifest, data.split, weights, study.is_hopeless, stopped
                )
            if not running:
                return
            finished = next(iter(as_completed(list(running.values())))).result()
            study.end(finished)
            del running[finished.number]


@contextlib.contextmanager
def _stop_at_exit() -> Iterator[threading.Event]:
    """An event that is set once the block ends, however it does: trials still at work then stop."""
    stopped = threading.Event()
    try:
        yield stopped
    finally:
        stopped.set()
