"""Training: shards to a model, in a child process that goes on after the last finished epoch.

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
from typing import TYPE_CHECKING, Any

import numpy as np

from data_contracts import files
from fer import errors
from fer.engine import arithmetic, child_process, disk, outputs, stage
from fer.engine import workspace as workspaces
from fer.models import freezing, pretrained, saved_model, zoo
from fer.progress import Progress, Reporter
from fer.shards.refs import ShardsRef
from fer.training import hardware, input_pipeline, memory, soft_labels, step
from fer.training.config import TrainConfig
from fer.training.refs import ModelRef, SoftLabelsRef, WeightsRef

if TYPE_CHECKING:
    import keras


_CHECKPOINT = Path(outputs.SCRATCH, "checkpoint.npz")
_MICRO_BATCH = Path(outputs.SCRATCH, "micro_batch.json")  # of the first attempt; later ones take no more
_DIVERGED = "diverged"  # the kind of note that says which images the last step of a training had
_SHOWN_IMAGES = 4

Watcher = Callable[[int, dict[str, list[float]]], None]
_watcher: contextvars.ContextVar[Watcher | None] = contextvars.ContextVar("watcher", default=None)


@contextlib.contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Have `watcher(epoch, history)` called after each epoch that is trained meanwhile, in the thread that trains.

    `history` is one list per value, as long as there are epochs. An exception that it raises stops the training and
    comes out of the stage.
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
    `model.keras`, `preprocessing.json`, `history.json`, `training.json` and `tensorboard/`. Raises TrainingError if it
    diverges, is killed or runs out of time or of memory; ConfigError without images or for a phase that can't be;
    TooLittleMemory.
    """
    _check(balanced, shards, weights, votes, config)
    shutil.copyfile(workspace.folder(shards) / files.PREPROCESSING, out / files.PREPROCESSING)
    if weights is not None and (known := workspace.folder(weights) / files.WEIGHTS_TRAINED_ON).is_file():
        shutil.copyfile(known, out / known.name)
    arguments = {
        "balanced_folder": str(workspace.folder(balanced)),
        "balanced": balanced.model_dump(mode="json"),
        "shards_folder": str(workspace.folder(shards)),
        "shards": shards.model_dump(mode="json"),
        "weights": None if weights is None else str(workspace.folder(weights) / weights.file),
        "votes": None if votes is None else str(workspace.folder(votes) / soft_labels.FILE),
        "out": str(out),
        "config": config.model_dump(mode="json"),
    }
    result = _in_children(arguments, config, _watched(out, progress))
    diverged = result.pop(_DIVERGED, None)
    if diverged is not None:
        raise _divergence(diverged, workspace, out.name)
    started_from = None if weights is None else weights.origin
    return ModelRef(**result, model=config.model.name, classes=shards.classes, started_from=started_from)


def _in_children(arguments: dict[str, Any], config: TrainConfig, progress: Progress) -> dict[str, Any]:
    """What `fit` returns, with half the micro-batch after each time that memory ran out."""
    started = time.monotonic()
    micro_batch = config.micro_batch or config.batch_size
    while True:
        try:
            found: dict[str, Any] = child_process.run(
                fit,
                {**arguments, "micro_batch": micro_batch},
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
            return found
        except errors.OutOfMemory:
            micro_batch = min(micro_batch, _micro_batch_before(Path(arguments["out"])) or micro_batch)
            if config.devices != "one" or micro_batch % 2 or micro_batch // 2 < config.model.min_micro_batch:
                raise
            micro_batch //= 2
            progress.note(f"memory ran out: going on with {micro_batch} images at once")


def costs(folder: Path, model: ModelRef) -> str:
    """What the training of the model in `folder` took, in words."""
    about = json.loads((folder / saved_model.ABOUT).read_bytes())
    return (
        f"{model.train_seconds:,.0f} s of training, {about['micro_batch']} images at once; at most "
        f"{about['peak_memory_mb']:,.0f} MB of memory, where {about['estimated_memory_mb']:,.0f} were foreseen"
    )


def _watched(out: Path, progress: Progress) -> Progress:
    """The progress that also calls the watcher, if there is one, after each epoch."""
    watcher = _watcher.get()
    if watcher is None:
        return progress
    n_seen = 0

    def tell(done: int, total: int, text: str) -> None:
        nonlocal n_seen
        progress(done, total, text)
        path = out / saved_model.HISTORY
        if done > n_seen and path.exists():
            history = json.loads(path.read_bytes())
            n_epochs = len(history["loss"])  # fewer than `done` when the training stops before the last
            if n_epochs > n_seen:
                n_seen = n_epochs
                watcher(n_epochs, history)

    return Reporter(tell, progress.note)


def _divergence(found: dict[str, Any], workspace: workspaces.Workspace, key: str) -> errors.TrainingError:
    """The error, which names the first of the last batch's images, and where all of them are."""
    error = errors.Diverged(found["message"])
    if found["images"]:
        name = f"{key}.json"
        workspace.write_note(_DIVERGED, name, json.dumps(found, indent=1).encode())
        note = workspace.note(_DIVERGED, name)
        shown = ", ".join(found["images"][:_SHOWN_IMAGES])
        error = errors.Diverged(
            f"{found['message']} The step's {len(found['images'])} images: {shown}, … "
            f"(all: {note.location if note is not None else name})"
        )
    return error


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


def fit(
    balanced_folder: str,
    balanced: dict[str, Any],
    shards_folder: str,
    shards: dict[str, Any],
    weights: str | None,
    votes: str | None,
    out: str,
    config: dict[str, Any],
    micro_batch: int,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """The child's work: write `model.keras` and `history.json` to `out`; return most fields of a ModelRef.

    `balanced` and `shards` are ShardsRefs, `config` a TrainConfig, as JSON says them. What diverged returns its message
    and the last step's images instead.
    """
    import keras

    from fer.training import distributed, loop, tensorboard

    settings = TrainConfig.model_validate(config)
    strategy = distributed.strategy(settings)
    train_ref, validation_ref = ShardsRef.model_validate(balanced), ShardsRef.model_validate(shards)
    n_epochs = sum(each.epochs for each in settings.plan)
    progress(0, n_epochs, "reading the images")
    train_images = input_pipeline.open_split(Path(balanced_folder), "train", train_ref, settings.resident_mb)
    validation_images = input_pipeline.open_split(
        Path(shards_folder), "validation", validation_ref, settings.resident_mb
    )
    model = _model(settings, train_ref, validation_ref)
    if weights is not None:
        loaded = pretrained.load_into(model, settings.model, Path(weights))
        new = ", ".join(loaded.not_loaded)
        progress.note(f"{loaded.n_layers} layers start from given weights; from random ones: {new or 'none'}")
    with distributed.scope(strategy):
        inner = _inner(model, settings)
    room = memory.available()
    folder = Path(out)
    checkpoint_path = folder / _CHECKPOINT
    checkpoint_path.parent.mkdir(exist_ok=True)
    if checkpoint_path.exists():  # what is trained already was trained so: the rest gives the same bits
        micro_batch = min(micro_batch, _micro_batch_before(folder) or micro_batch)
    of_phases = _estimates(inner, settings, train_images.n_images, room.base)
    if settings.micro_batch is None and strategy is None and not checkpoint_path.exists():
        fewest = settings.model.min_micro_batch
        micro_batch = memory.fitting_micro_batch(of_phases, micro_batch, room, fewest=fewest)
    disk.write(folder / _MICRO_BATCH, json.dumps(micro_batch).encode())
    _, at_once = step.batch_sizes(settings, train_images.n_images, micro_batch)
    needed = of_phases(at_once)
    progress.note(f"{needed.summary()} with {at_once} images at once, {room.summary()}")
    counts = np.array([train_ref.counts["train"].get(each, 0) for each in train_ref.classes], np.float32)

    def after_epoch(state: "loop.State") -> None:
        disk.write(folder / saved_model.HISTORY, json.dumps(state.history, indent=1).encode())
        if keras.config.backend() == "tensorflow":
            tensorboard.write(folder / tensorboard.FOLDER, state.history)

    run = loop.Fitting(
        model,
        inner,
        train_images,
        validation_images,
        settings,
        class_weights=np.array([train_ref.class_weights.get(each, 1) for each in train_ref.classes], np.float32),
        priors=counts / counts.sum(),
        votes=None if votes is None else soft_labels.SoftLabels.read(Path(votes)),
        micro_batch=micro_batch,
        strategy=strategy,
        checkpoint_path=checkpoint_path,
        after_epoch=after_epoch,
        progress=progress,
    )
    try:
        run.run()
    except loop.Diverged as error:
        return {_DIVERGED: {"message": str(error), "images": error.images}}
    model.save(folder / saved_model.MODEL)
    about = {
        "micro_batch": at_once,
        "estimated_memory_mb": needed.peak / memory.MB,
        "peak_memory_mb": memory.peak_mb(),
        "environment": arithmetic.environment()
        | {
            "device": hardware.gpu_name() or "CPU",
            "images at once": str(at_once),
            "replicas": str(1 if strategy is None else strategy.num_replicas_in_sync),
            "threads": str(settings.threads),
            "precision": settings.precision,
        },
    }
    disk.write(folder / saved_model.ABOUT, json.dumps(about, indent=1).encode())
    return {
        "n_parameters": int(model.count_params()),
        "train_seconds": run.state.seconds,
        "epochs_run": run.state.epoch,
        "best_epoch": run.state.best_epoch,
        "validation_accuracy": run.state.best_score[0],
        "digest": saved_model.digest(model, (folder / files.PREPROCESSING).read_bytes()),
    }


def _micro_batch_before(folder: Path) -> int | None:
    """How many images went through the model at once in an earlier attempt: as many do now, for the same bits."""
    try:
        return int(json.loads((folder / _MICRO_BATCH).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _estimates(inner: "keras.Model", config: TrainConfig, n_images: int, base: int) -> Callable[[int], memory.Estimate]:
    """The estimate of the phase that needs most, by the images at once. Raises ConfigError for a phase that can't be,
    before any other has taken its time."""

    def estimated(micro_batch: int) -> memory.Estimate:
        found = []
        for phase in config.plan:
            freezing.set_trainable(inner, phase.train_from, phase.batch_norm)
            found.append(memory.estimate(inner, min(micro_batch, n_images), averaged=config.ema > 0, base=base))
        return max(found, key=lambda each: each.peak)

    estimated(1)
    return estimated


def _model(config: TrainConfig, train: ShardsRef, validation: ShardsRef) -> "keras.Model":
    """The model that is saved."""
    import keras

    keras.utils.set_random_seed(config.seed)
    return zoo.build(
        config.model,
        height=train.height,
        width=train.width,
        n_classes=len(train.classes),
        mean=validation.mean,
        std=validation.std,
    )


def _inner(model: "keras.Model", config: TrainConfig) -> "keras.Model":
    """The model whose weights the steps change: another one where it computes in other ways, or where `model` gets
    averages of its weights."""
    import keras

    from fer.training import mixed_precision

    is_alone = config.devices == "one"
    fuse = is_alone and keras.config.backend() == "tensorflow"
    if is_alone and not fuse and config.precision == "float32" and not config.ema:
        return model
    return mixed_precision.copied(model, config.precision.replace("-", "_"), fuse=fuse, synchronise=not is_alone)
