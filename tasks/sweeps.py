"""A search's tasks: one a trial, and one that shows what came of all."""

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
from fer.engine import disk, stage
from fer.engine.refs import Ref
from fer.ingest.refs import ManifestRef
from fer.models import saved_model
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
from tasks import artifacts, caching, events
from tasks.results import SweepOutcome

RefT = TypeVar("RefT", bound=Ref)

_SECTIONS = ("preprocess", "balance", "train")  # what a trial may change: the data and its splits stay
_WEIGHTS = "train.weights"
_STAGES: tuple[stage.Stage[Any], ...] = (  # of a trial
    preprocess_stage.preprocess,
    balance_stage.balance,
    weights_stage.fetch,
    soft_labels.collect,
    train_stage.train,
)
_TRIED_AGAIN = (errors.OutOfTime, errors.OutOfMemory, errors.TooLittleMemory)  # another run may have more


class _Hopeless(errors.FerError):
    """The study gave a trial up: as one of this project's errors it leaves nothing to be resumed in the workspace."""


class _Stopped(Exception):
    """The search ends before its trials."""


def checked_space(plan: Recipe, space: Mapping[str, str]) -> dict[str, str]:
    """The space, each range in numbers of its setting's kind: `0..1` of a share is `0.0..1.0`.

    Raises ConfigError for a space that is empty, or in which some setting is not one that a trial may have.
    """
    if not space:
        raise errors.ConfigError(
            "A sweep must have a space to search.",
            received=f"none in the recipe {plan.name}, and none beside it",
            todo="for example --search 'train.learning_rate=1e-4..1e-2 log'",
        )
    found = search.parse_space([f"{path}={text}" for path, text in space.items()])
    for path in found:
        if path.split(".")[0] not in _SECTIONS:
            raise errors.ConfigError(
                "A sweep must change what is trained, not the data that it is measured by.",
                received=repr(path),
                todo=f"search settings of {', '.join(_SECTIONS)}",
            )
    for settings_ in search.corners(found):
        tried = _tried(plan, search.Trial(number=0, settings=settings_))
        for path, value in settings_.items():
            found[path] = _in_kind(found[path], path, value, operator.attrgetter(path)(tried))
    return found


def _in_kind(text: str, path: str, given: Any, taken: Any) -> str:
    """A dimension's text, of the kind of what the recipe made of a value given. Raises ConfigError if it took none."""
    if given is None and taken is not None:
        raise errors.ConfigError(
            "A choice of null must be what the recipe has: it stands for the recipe's own value.",
            received=f"{path}={text}, where the recipe has {taken!r}",
            todo="leave null out, or name the values themselves",
        )
    dimension = search.parse(text)
    return dimension.of_kind(taken).text() if isinstance(dimension, search.Range) else text


def _tried(plan: Recipe, trial: search.Trial) -> Recipe:
    """The recipe with the trial's settings. Raises ConfigError."""
    return overrides.apply(plan, overrides.parse_settings(trial.assignments())).resolved()


def sources_of_weights(plan: Recipe, space: Mapping[str, str]) -> list[str]:
    """The files and models that trials may start from; ImageNet's weights are the code's."""
    chosen = search.parse(space[_WEIGHTS]) if _WEIGHTS in space else None
    found = {plan.train.weights, *(chosen.values if isinstance(chosen, search.Choice) else ())}
    return sorted(found - {None, weights_stage.IMAGENET})


@contextlib.contextmanager
def studying(
    plan: Recipe, division: SplitRef, weights: Mapping[str, WeightsRef], space: Mapping[str, str], seed: int
) -> Iterator[search.Study]:
    """The study of this recipe, data, weights, code and space, by this process alone; a killed one's trials are in it.

    `weights`: what each of `sources_of_weights` stands for.
    """
    content = [
        plan.model_dump(mode="json"),
        division.digest,
        {source: ref.identity for source, ref in weights.items()},
        [each.code for each in _STAGES],
        dict(space),
        seed,
    ]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    workspace = caching.workspace()
    with workspace.locked("sweep", key):
        path = workspace.root / ".sweeps" / f"{key}.journal"
        yield search.Study(path, space, seed=seed, epochs=sum(each.epochs for each in plan.train.plan))


@task(name="trial", task_run_name="trial {trial.number}", **caching.UNCACHED, **caching.retried(3))
def run_trial(
    trial: search.Trial,
    plan: Recipe,
    manifest: ManifestRef,
    division: SplitRef,
    weights: Mapping[str, WeightsRef],
    is_hopeless: Callable[[int, int, float], bool],
    stopped: threading.Event,
) -> search.Trial:
    """Train with the trial's settings; what came of it.

    A training that fails by its settings is a failed trial. One that had too little time or memory stays unfinished.
    What would fail the next trial too, as a full disk or a store that refuses, is raised and ends the sweep.
    """
    name = f"trial {trial.number}"
    progress = artifacts.progress_bar(name)
    started = time.monotonic()
    curve: tuple[float, ...] = ()
    n_epochs = 0

    def told(done: int, total: int, text: str) -> None:
        if stopped.is_set():
            raise _Stopped
        progress(done, total, text)

    def watch(epoch: int, history: dict[str, list[float]]) -> None:
        nonlocal curve
        curve = _curve(history["validation_accuracy"][:epoch])
        hopeless = is_hopeless(trial.number, len(curve), curve[-1])
        if hopeless and len(curve) < n_epochs:  # after the last epoch the trial is complete
            raise _Hopeless(f"stopped after {len(curve)} epochs at {curve[-1]:.4f}, less than the median trial")

    def ended(state: search.State | None, said: object, **found: Any) -> search.Trial:
        seconds = time.monotonic() - started
        settings_ = ", ".join(f"{path}={json.dumps(value)}" for path, value in trial.settings.items())
        summary = f"{settings_}: {said}"
        events.publish(events.Ended(name, False, state in ("failed", None), seconds, summary))
        get_run_logger().info("%s: %s", name, plain_text.visible(summary))
        about = {"state": state, "curve": curve, "epochs": len(curve), "seconds": seconds, "reason": str(said)}
        return trial.model_copy(update=about | found)

    try:
        tried = _tried(plan, trial)
        n_epochs = sum(each.epochs for each in tried.train.plan)
        with train_stage.watching(watch):
            model = _train(tried, manifest, division, weights, Reporter(told, progress.note))
    except _Hopeless as error:
        return ended("pruned", error)
    except _TRIED_AGAIN as error:
        return ended(None, error)
    except (errors.ConfigError, errors.TrainingError) as error:
        if error.transient:
            raise
        return ended("failed", error)
    curve = curve or _known_curve(model)
    found = {"value": model.validation_accuracy, "epochs": model.epochs_run, "seconds": model.train_seconds}
    said = f"validation {model.validation_accuracy:.4f} after {model.epochs_run} epochs"
    return ended("complete", said, reason="", **found)


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
    plan: Recipe,
    manifest: ManifestRef,
    division: SplitRef,
    weights: Mapping[str, WeightsRef],
    progress: Progress,
) -> ModelRef:
    """The stages from pixels to a model; what another trial or run made already is not made again."""

    def run(one: stage.Stage[RefT], *inputs: Any) -> RefT:
        return one(*inputs, workspace=caching.workspace(), progress=progress)

    config = plan.train
    shards = run(preprocess_stage.preprocess, manifest, division, plan.preprocess)
    balanced = run(balance_stage.balance, shards, plan.balance)
    start = weights.get(config.weights) if config.weights is not None else None
    if start is None and config.weights is not None:
        start = run(weights_stage.fetch, weights_stage.resolve(config.weights, config.model), None)  # ImageNet's
    votes = run(soft_labels.collect, division) if config.soft_labels else None
    return run(train_stage.train, balanced, shards, start, votes, config)


def command(plan: Recipe, base: Recipe, recipe: str, sources: Sequence[str], kaggle_secret: str | None) -> str:
    """What retrains by `plan`, which is `base` with other settings, as a shell takes it; `recipe` stands for `base`.

    What `auto` stands for on this machine is left out: another one may be fast in other arithmetic.
    """
    words = ["fer", "retrain", "--recipe", recipe]
    words += [word for each in sources for word in ("--source", each)]
    words += [word for each in overrides.assignments(plan, base.resolved()) for word in ("--set", each)]
    return shlex.join(words if kaggle_secret is None else [*words, "--kaggle-secret", kaggle_secret])


@task(name="show trials", **caching.UNCACHED)
def publish(
    plan: Recipe,
    base: Recipe,
    recipe: str,
    sources: Sequence[str],
    kaggle_secret: str | None,
    space: Mapping[str, str],
    trials: Sequence[search.Trial],
) -> SweepOutcome:
    """Put the trials in a table, a picture and one JSON document.

    `plan` is `base`, which `recipe` names, with other settings.
    """
    best = search.best_of(trials)
    folder = settings.Settings.load().home / "reports" / "sweeps" / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    rows = search.table(trials)
    title = f"{plan.name}: {len(trials)} trials" + (f", best validation accuracy {best.value:.4f}" if best else "")
    picture = plots.png(sweep_plots.trials(trials, space, title=title))
    next_ = command(_tried(plan, best), base, recipe, sources, kaggle_secret) if best is not None else ""
    record = {
        "recipe": plan.name,
        "sources": list(sources),
        "settings": overrides.assignments(plan, base.resolved()),
        "space": dict(space),
        "best": None if best is None else best.number,
        "set": [] if best is None else overrides.assignments(_tried(plan, best), base.resolved()),
        "command": next_,
        "trials": [each.model_dump(mode="json") for each in trials],
    }
    made = {"as JSON": folder / "sweep.json", "picture": folder / "trials.png"}
    disk.write(made["as JSON"], json.dumps(record, indent=1, ensure_ascii=False).encode())
    disk.write(made["picture"], picture)
    artifacts.table("trials", rows, title)
    shown = f"\n\nThe best:\n\n```\n{plain_text.visible(next_)}\n```" if next_ else ""
    artifacts.markdown("trials-chart", f"{artifacts.picture(picture, 'Trials')}{shown}", title)
    return SweepOutcome(
        recipe=recipe,
        rows=tuple(rows),
        best=best.value if best is not None else None,
        command=next_,
        reports={name: str(path) for name, path in made.items()},
    )


def require_best(outcome: SweepOutcome) -> None:
    """Raise TrainingError if no trial is complete."""
    if outcome.best is None:
        reason, _, _ = str(outcome.rows[0]["reason"]).partition(" Next: ")
        raise errors.TrainingError(
            "A sweep must have a trial that is complete.",
            received=f"none of {len(outcome.rows)}; trial {outcome.rows[0]['trial']}: {reason.rstrip('.')}",
            todo=f"see {outcome.reports['as JSON']}, then search another space or correct what went wrong",
        )
