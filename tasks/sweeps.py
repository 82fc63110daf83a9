"""A search's tasks: one for each trial, and one that shows the results of all."""

import contextlib
import hashlib
import itertools
import json
import operator
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from prefect import get_run_logger, task

from fer import errors, plain_text, settings
from fer.curation.refs import SplitRef
from fer.engine import disk
from fer.engine.code import fingerprint
from fer.engine.refs import Ref
from fer.engine.stage import Stage
from fer.ingest.refs import ManifestRef
from fer.models import saved_model, zoo
from fer.progress import Progress, Reporter
from fer.recipes import overrides
from fer.recipes.schema import Recipe
from fer.registry import starting_weights as weights_stage
from fer.reports import plots, sweep_plots
from fer.shards import balance as balance_stage
from fer.shards import preprocess as preprocess_stage
from fer.training import search, soft_labels
from fer.training import train as train_stage
from fer.training.refs import ModelRef, WeightsRef
from tasks import caching, pipeline
from tasks.runs import events
from tasks.runs.results import SweepResult
from tasks.shown import artifacts

RefT = TypeVar("RefT", bound=Ref)

_SECTIONS = ("preprocess", "balance", "train")  # what a trial may change: the data and its splits stay
_WEIGHTS = "train.weights"
_STAGES: tuple[Stage[Any], ...] = (  # of a trial
    preprocess_stage.preprocess,
    balance_stage.balance,
    weights_stage.fetch,
    soft_labels.collect,
    train_stage.train,
)
_UNFINISHED = (errors.OutOfTime, errors.OutOfMemory, errors.TooLittleMemory)  # another run may have more


class _Hopeless(errors.FerError):
    """The study gave a trial up: as one of this project's errors it leaves nothing to be resumed in the workspace."""


class _Stopped(Exception):
    """The search ends before its trials."""


def checked_space(recipe: Recipe, space: Mapping[str, str]) -> dict[str, str]:
    """The space, each range in numbers of its setting's kind: `0..1` of a share is `0.0..1.0`.

    Raises ConfigError for a space that is empty, or in which some setting is not one that a trial may have.
    """
    if not space:
        raise errors.ConfigError(
            "A sweep must have a space to search.",
            received=f"none in the recipe {recipe.name}, and none beside it",
            todo="for example --search 'train.learning_rate=1e-4..1e-2 log'",
        )
    dimensions = search.parse_space([f"{path}={text}" for path, text in space.items()])
    for path in dimensions:
        if path.split(".")[0] not in _SECTIONS:
            raise errors.ConfigError(
                "A sweep must change what is trained, not the data that it is measured by.",
                received=repr(path),
                todo=f"search settings of {', '.join(_SECTIONS)}",
            )
    for corner in search.corners(dimensions):
        tried = _with_trial(recipe, search.Trial(number=0, settings=corner))
        for path, value in corner.items():
            dimensions[path] = _of_kind(dimensions[path], path, value, operator.attrgetter(path)(tried))
    return dimensions


def _of_kind(text: str, path: str, value: Any, accepted: Any) -> str:
    """A dimension's text, of the kind of `accepted`: what the recipe made of `value`. Raises ConfigError if of none."""
    if value is None and accepted is not None:
        raise errors.ConfigError(
            "A choice of null must be what the recipe has: it stands for the recipe's own value.",
            received=f"{path}={text}, where the recipe has {accepted!r}",
            todo="leave null out, or name the values themselves",
        )
    dimension = search.parse(text)
    return dimension.of_kind(accepted).text() if isinstance(dimension, search.Range) else text


def _with_trial(recipe: Recipe, trial: search.Trial) -> Recipe:
    """The recipe with the trial's settings. Raises ConfigError."""
    return overrides.apply(recipe, overrides.parse_settings(trial.assignments())).resolved()


def weight_sources(recipe: Recipe, space: Mapping[str, str]) -> list[str]:
    """The files and models that trials may start from; ImageNet's weights are the code's."""
    dimension = search.parse(space[_WEIGHTS]) if _WEIGHTS in space else None
    sources = {recipe.train.weights, *(dimension.values if isinstance(dimension, search.Choice) else ())}
    return sorted(sources - {None, weights_stage.IMAGENET})


@contextlib.contextmanager
def studying(
    recipe: Recipe, split: SplitRef, weights: Mapping[str, WeightsRef], space: Mapping[str, str], seed: int
) -> Iterator[search.Study]:
    """The study of this recipe, data, weights, code and space, by this process alone; a killed one's trials are in it.

    `weights`: what each of `weight_sources` stands for.
    """
    content = [
        recipe.model_dump(mode="json"),
        split.digest,
        {source: ref.identity for source, ref in weights.items()},
        _code(recipe, space),
        dict(space),
        seed,
    ]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    workspace = caching.workspace()
    with workspace.locked("sweep", key):
        path = workspace.root / ".sweeps" / f"{key}.journal"
        yield search.Study(path, space, seed=seed, epochs=_n_epochs(recipe))


def _code(recipe: Recipe, space: Mapping[str, str]) -> list[str]:
    """The fingerprints of the trials' code: that of every network where the space chooses among them."""
    networks = [kind.__module__ for kind in zoo.KINDS.values()] if "train.model.name" in space else []
    return [fingerprint.read(*networks).digest, *(stage.code(recipe.train) for stage in _STAGES)]


@task(name="trial", task_run_name="trial {trial.number}", **caching.UNCACHED, **caching.retried(3))
def run_trial(
    trial: search.Trial,
    recipe: Recipe,
    manifest: ManifestRef,
    split: SplitRef,
    weights: Mapping[str, WeightsRef],
    is_hopeless: Callable[[int, int, float], bool],
    stopped: threading.Event,
) -> search.Trial:
    """Train with the trial's settings; the trial with its result.

    A training that fails by its settings is a failed trial. One that had too little time or memory stays unfinished.
    What would fail the next trial too, as a full disk or a store that refuses, is raised and ends the sweep.
    """
    name = f"trial {trial.number}"
    started = time.monotonic()
    curve: tuple[float, ...] = ()
    n_epochs = 0

    def watch(epoch: int, history: dict[str, list[float]]) -> None:
        nonlocal curve
        curve = _curve(history["validation_accuracy"][:epoch])
        hopeless = is_hopeless(trial.number, len(curve), curve[-1])
        if hopeless and len(curve) < n_epochs:  # after the last epoch the trial is complete
            raise _Hopeless(f"stopped after {len(curve)} epochs at {curve[-1]:.4f}, less than the median trial")

    def end(state: search.State | None, text: object, **result: Any) -> search.Trial:
        seconds = time.monotonic() - started
        assignments = ", ".join(f"{path}={json.dumps(value)}" for path, value in trial.settings.items())
        summary = f"{assignments}: {text}"
        events.publish(events.Ended(name, False, state in ("failed", None), seconds, summary))
        get_run_logger().info("%s: %s", name, plain_text.visible(summary))
        fields = {"state": state, "curve": curve, "epochs": len(curve), "seconds": seconds, "reason": str(text)}
        return trial.model_copy(update=fields | result)

    try:
        tried = _with_trial(recipe, trial)
        n_epochs = _n_epochs(tried)
        with artifacts.progress_bar(name) as progress, train_stage.watching(watch):
            model = _train(tried, manifest, split, weights, _stoppable(progress, stopped))
    except _Hopeless as error:
        return end("pruned", error)
    except _UNFINISHED as error:
        return end(None, error)
    except (errors.ConfigError, errors.TrainingError) as error:
        if error.transient:
            raise
        return end("failed", error)
    curve = curve or _known_curve(model)
    result = {"value": model.validation_accuracy, "epochs": model.epochs_run, "seconds": model.train_seconds}
    text = f"validation {model.validation_accuracy:.4f} after {model.epochs_run} epochs"
    return end("complete", text, reason="", **result)


def _stoppable(progress: Progress, stopped: threading.Event) -> Progress:
    """The progress, which raises _Stopped where it is reported to once the search ends."""

    def update(done: int, total: int, text: str) -> None:
        if stopped.is_set():
            raise _Stopped
        progress(done, total, text)

    return Reporter(update, progress.note)


def _n_epochs(recipe: Recipe) -> int:
    return sum(phase.epochs for phase in recipe.train.resolved_phases)


def _curve(accuracies: Sequence[float]) -> tuple[float, ...]:
    """The best up to each epoch."""
    return tuple(itertools.accumulate(accuracies, max))


def _known_curve(model: ModelRef) -> tuple[float, ...]:
    """That of a model which was trained before; empty where its history is gone."""
    with contextlib.suppress(errors.WorkspaceError, FileNotFoundError):
        history = json.loads((caching.workspace().folder(model) / saved_model.HISTORY).read_bytes())
        return _curve(history["validation_accuracy"])
    return ()


def _train(
    recipe: Recipe, manifest: ManifestRef, split: SplitRef, weights: Mapping[str, WeightsRef], progress: Progress
) -> ModelRef:
    """The recipe's model; what another trial or run made already is not made again."""
    one_seed = recipe.train.model_copy(update={"seeds": 1})
    return pipeline.train(
        recipe.model_copy(update={"train": one_seed}), manifest, split, _steps(weights, progress)
    ).model


def _steps(weights: Mapping[str, WeightsRef], progress: Progress) -> pipeline.Steps:
    """Each stage itself, within the trial's task; `weights` holds what each of `weight_sources` stands for."""

    def run(stage: Stage[RefT], *inputs: Any) -> RefT:
        return stage(*inputs, workspace=caching.workspace(), progress=progress)

    return pipeline.as_stages(run, weights)


def command(recipe: Recipe, base: Recipe, choice: str, sources: Sequence[str], kaggle_secret: str | None) -> str:
    """What retrains by `recipe`, as a shell takes it: `base`, which the user names by `choice`, with other settings.

    What `auto` stands for on this machine is left out: another one may be fast in other arithmetic.
    """
    words = ["fer", "retrain", "--recipe", choice]
    words += [word for source in sources for word in ("--source", source)]
    words += [word for assignment in overrides.assignments(recipe, base.resolved()) for word in ("--set", assignment)]
    return shlex.join(words if kaggle_secret is None else [*words, "--kaggle-secret", kaggle_secret])


@caching.uncached("show trials", retries=0)
def publish(
    recipe: Recipe,
    base: Recipe,
    choice: str,
    sources: Sequence[str],
    kaggle_secret: str | None,
    space: Mapping[str, str],
    trials: Sequence[search.Trial],
) -> SweepResult:
    """Put the trials in a table, a picture and one JSON document.

    `recipe` is `base`, which the user named by `choice`, with other settings.
    """
    best = search.best_of(trials)
    folder = settings.Settings.load().home / "reports" / "sweeps" / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    rows = search.table(trials)
    title = f"{recipe.name}: {len(trials)} trials" + (f", best validation accuracy {best.value:.4f}" if best else "")
    picture = plots.png(sweep_plots.trials(trials, space, title=title))
    best_recipe = _with_trial(recipe, best) if best is not None else None
    retrain = command(best_recipe, base, choice, sources, kaggle_secret) if best_recipe is not None else ""
    document = {
        "recipe": recipe.name,
        "sources": list(sources),
        "settings": overrides.assignments(recipe, base.resolved()),
        "space": dict(space),
        "best": None if best is None else best.number,
        "set": [] if best_recipe is None else overrides.assignments(best_recipe, base.resolved()),
        "command": retrain,
        "trials": [trial.model_dump(mode="json") for trial in trials],
    }
    paths = {"as JSON": folder / "sweep.json", "picture": folder / "trials.png"}
    disk.write(paths["as JSON"], json.dumps(document, indent=1, ensure_ascii=False).encode())
    disk.write(paths["picture"], picture)
    artifacts.table("trials", rows, title)
    shown = f"\n\nThe best:\n\n```\n{plain_text.visible(retrain)}\n```" if retrain else ""
    artifacts.markdown("trials-chart", f"{artifacts.picture(picture, 'Trials')}{shown}", title)
    return SweepResult(
        recipe=choice,
        rows=tuple(rows),
        best=best.value if best is not None else None,
        command=retrain,
        reports={name: str(path) for name, path in paths.items()},
    )


def require_best(result: SweepResult) -> None:
    """Raise TrainingError if no trial is complete."""
    if result.best is None:
        reason, _, _ = str(result.rows[0]["reason"]).partition(" Next: ")
        raise errors.TrainingError(
            "A sweep must have a trial that is complete.",
            received=f"none of {len(result.rows)}; trial {result.rows[0]['trial']}: {reason.rstrip('.')}",
            todo=f"see {result.reports['as JSON']}, then search another space or correct what went wrong",
        )
