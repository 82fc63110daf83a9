"""The stage `train`: shards to a model, in a worker process that continues after the last finished epoch.

What is finished is in `out` until the model is: after a kill the next attempt takes it from there, and ends in the same
bits. When memory runs out, half as many images go through the model at once.
"""

import contextlib
import contextvars
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_contracts import files
from fer import errors
from fer.engine import stage
from fer.engine import workspace as workspaces
from fer.engine.processes import child_process
from fer.models import saved_model
from fer.progress import Progress, Reporter
from fer.shards.refs import ShardsRef
from fer.training import soft_labels, worker
from fer.training.config import TrainConfig
from fer.training.refs import ModelRef, SoftLabelsRef, WeightsRef
from fer.training.worker import TrainingJob

_DIVERGED_NOTE = "diverged"  # the kind of note that names the images of a training's last step
_SHOWN_IMAGES = 4

Watcher = Callable[[int, dict[str, list[float]]], None]
_watcher: contextvars.ContextVar[Watcher | None] = contextvars.ContextVar("watcher", default=None)


@contextlib.contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Have `watcher(epoch, history)` called after each epoch that is trained meanwhile, in the thread that trains.

    `history` is one list per value, as long as there are epochs. An exception that it raises stops the training and
    is raised by the stage.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@stage.stage("train", resumable=True)
def train(
    out: Path,
    balanced: ShardsRef,
    shards: ShardsRef,
    weights: WeightsRef | None,
    votes: SoftLabelsRef | None,
    config: TrainConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> ModelRef:
    """Train on `balanced`'s train split; keep the epoch that is best on `shards`'s validation split.

    It starts from `weights`, or from random ones. Best is the highest accuracy, then the lowest loss. Writes
    `model.keras`, `preprocessing.json`, `history.json`, `validation.parquet`, `training.json` and `tensorboard/`.
    Raises TrainingError if it diverges, is killed or runs out of time or of memory; ConfigError without images or for a
    phase that can't be; TooLittleMemory.
    """
    _check(balanced, shards, weights, votes, config)
    shutil.copyfile(workspace.folder(shards) / files.PREPROCESSING, out / files.PREPROCESSING)
    if weights is not None and (trained_on := workspace.folder(weights) / files.WEIGHTS_TRAINED_ON).is_file():
        shutil.copyfile(trained_on, out / trained_on.name)
    job = TrainingJob(
        balanced_folder=workspace.folder(balanced),
        balanced=balanced,
        shards_folder=workspace.folder(shards),
        shards=shards,
        weights=None if weights is None else workspace.folder(weights) / weights.file,
        votes=None if votes is None else workspace.folder(votes) / soft_labels.FILE,
        out=out,
        config=config,
        micro_batch=config.micro_batch or config.batch_size,
    )
    if n_done := worker.epochs_done(out):
        progress.note(f"goes on after epoch {n_done} of {config.n_epochs}")
        progress(n_done, config.n_epochs, f"going on after epoch {n_done}")
    result = _in_worker(job, _watched(out, progress))
    diverged = result.pop(worker.DIVERGED, None)
    if diverged is not None:
        raise _divergence(diverged, workspace, out.name)
    started_from = None if weights is None else weights.origin
    return ModelRef(**result, model=config.model.name, classes=shards.classes, started_from=started_from)


def _in_worker(job: TrainingJob, progress: Progress) -> dict[str, Any]:
    """The result of `worker.fit`, with half the micro-batch after each time that memory ran out."""
    started = time.monotonic()
    config, micro_batch = job.config, job.micro_batch
    while True:
        try:
            result: dict[str, Any] = child_process.run(
                worker.fit,
                {"job": job.model_copy(update={"micro_batch": micro_batch}).model_dump(mode="json")},
                child_process.Job(
                    "Training",
                    timeout_s=config.timeout_s - (time.monotonic() - started),
                    if_too_slow="run the same command again, which goes on after the last finished epoch; or raise "
                    "train.timeout_s, or lower train.epochs",
                    if_out_of_memory="free some memory or train a smaller model, then run the same command again",
                    threads=config.threads,
                    xla=config.xla,
                ),
                progress=progress,
            )
            return result
        except errors.OutOfMemory:
            micro_batch = min(micro_batch, worker.previous_micro_batch(job.out) or micro_batch)
            if config.devices != "one" or micro_batch % 2 or micro_batch // 2 < config.model.min_micro_batch:
                raise
            micro_batch //= 2
            progress.note(f"memory ran out: going on with {micro_batch} images at once")


def _watched(out: Path, progress: Progress) -> Progress:
    """The progress that also calls the watcher, if there is one, after each epoch."""
    watcher = _watcher.get()
    if watcher is None:
        return progress
    n_seen = 0

    def report(done: int, total: int, text: str) -> None:
        nonlocal n_seen
        progress(done, total, text)
        path = out / saved_model.HISTORY
        if done > n_seen and path.exists():
            history = json.loads(path.read_bytes())
            n_epochs = len(history["loss"])  # fewer than `done` when the training stops before the last
            if n_epochs > n_seen:
                n_seen = n_epochs
                watcher(n_epochs, history)

    return Reporter(report, progress.note)


def _divergence(diverged: dict[str, Any], workspace: workspaces.Workspace, key: str) -> errors.TrainingError:
    """The error, which names the first of the last batch's images, and where all of them are."""
    message, images = diverged["message"], diverged["images"]
    if not images:
        return errors.Diverged(message)
    place = workspace.write_note(_DIVERGED_NOTE, f"{key}.json", diverged)
    shown = ", ".join(images[:_SHOWN_IMAGES])
    return errors.Diverged(f"{message} The step's {len(images)} images: {shown}, … (all: {place})")


def _check(
    balanced: ShardsRef,
    shards: ShardsRef,
    weights: WeightsRef | None,
    votes: SoftLabelsRef | None,
    config: TrainConfig,
) -> None:
    if (config.weights is None) != (weights is None) or config.soft_labels != (votes is not None):
        raise ValueError(
            "Training must be given the weights and votes that its config names, and no others. "
            f"Received: weights={weights!r}, votes={votes!r} for {config.weights!r} and {config.soft_labels}."
        )
    if config.precision == "auto":
        raise ValueError("Training must be given a precision; see `fer.training.hardware.resolve`. Received: 'auto'.")
    n_train = sum(balanced.counts.get("train", {}).values())
    n_validation = sum(shards.counts.get("validation", {}).values())
    if balanced.classes != shards.classes or n_train < 1 or n_validation < 1:
        raise errors.ConfigError(
            "Training must have train and validation images of the same classes.",
            received=f"{n_train} train images of {balanced.classes}, {n_validation} validation of {shards.classes}",
            todo="check the split settings",
        )
