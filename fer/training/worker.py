"""A training's worker: what the child process of the stage `train` does, from the job to the files of the model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_contracts import files
from fer.engine import arithmetic, disk, outputs
from fer.engine.records import Record
from fer.models import freezing, pretrained, saved_model, validation, zoo
from fer.progress import Progress
from fer.shards import parquet
from fer.shards.refs import ShardsRef
from fer.training import checkpoint, hardware, input_pipeline, memory, soft_labels
from fer.training import trainer as trainers
from fer.training.config import TrainConfig

if TYPE_CHECKING:
    import keras

    from fer.training import loop

DIVERGED = "diverged"  # in the result of a training that diverged
_CHECKPOINT = Path(outputs.SCRATCH, "checkpoint.npz")
_MICRO_BATCH = Path(outputs.SCRATCH, "micro_batch.json")  # of the first attempt; later ones take no more


class TrainingJob(Record):
    """A training as its worker process is given it: where everything is, and how to train."""

    balanced_folder: Path
    balanced: ShardsRef
    shards_folder: Path
    shards: ShardsRef
    weights: Path | None  # that it starts from
    votes: Path | None  # that take the place of labels
    out: Path
    config: TrainConfig
    micro_batch: int  # at most


def fit(job: dict[str, Any], *, progress: Progress) -> dict[str, Any]:
    """Train as `job` says, a TrainingJob in JSON's types; write the model's files to `out`.

    Returns most fields of a ModelRef; of a training that diverged its message and the last step's images instead.
    Raises ConfigError for a phase that can't be, TooLittleMemory, IntegrityError.
    """
    from fer.training import distributed, loop

    given = TrainingJob.model_validate(job)
    config = given.config
    strategy = distributed.strategy(config)
    n_done = epochs_done(given.out)
    going_on = f", to go on after epoch {n_done}" if n_done else ""
    progress(n_done, config.n_epochs, f"reading the images{going_on}")
    data = _data(given)
    model = _model(config, given.balanced, given.shards)
    if given.weights is not None:
        loaded = pretrained.load_into(model, config.model, given.weights)
        new = ", ".join(loaded.not_loaded)
        progress.note(f"{loaded.n_layers} layers start from given weights; from random ones: {new or 'none'}")
    with distributed.scope(strategy):
        trainer_model = _trainer_model(model, config)
    checkpoint_path = given.out / _CHECKPOINT
    checkpoint_path.parent.mkdir(exist_ok=True)
    micro_batch, needed = _fit_to_memory(given, trainer_model, data.train.n_images, strategy, progress)
    training_loop = loop.TrainingLoop(
        model,
        trainer_model,
        data,
        config,
        micro_batch=micro_batch,
        strategy=strategy,
        output=loop.LoopOutput(checkpoint_path, lambda state: _write_history(given.out, state), progress),
    )
    is_whole = not checkpoint_path.exists()  # an earlier attempt took energy too, which nobody measured
    try:
        with hardware.metered() as meter:
            training_loop.run()
    except loop.Diverged as error:
        return {DIVERGED: {"message": str(error), "images": error.images}}
    saved_model.require_finite(model.get_weights(), "the trained model")
    model.save(given.out / files.MODEL)
    validation.write(given.out, _validation_outputs(model, given.shards_folder))
    _, at_once = trainers.batch_sizes(config, data.train.n_images, micro_batch)
    about = {
        "micro_batch": at_once,
        "estimated_memory_mb": needed.peak / memory.MB,
        "peak_memory_mb": memory.peak_mb(),
        "energy_kwh": meter.kwh if is_whole else None,
        "environment": arithmetic.environment()
        | {
            "device": hardware.gpu_name() or "CPU",
            "images at once": str(at_once),
            "replicas": str(1 if strategy is None else strategy.num_replicas_in_sync),
            "threads": str(config.threads),
            "precision": config.precision,
        },
    }
    disk.write(given.out / saved_model.ABOUT, json.dumps(about, indent=1).encode())
    state = training_loop.state
    return {
        "n_parameters": int(model.count_params()),
        "train_seconds": state.seconds,
        "epochs_run": state.epoch,
        "best_epoch": state.best_epoch,
        "validation_accuracy": state.best_score[0],
        "digest": saved_model.digest(model, (given.out / files.PREPROCESSING).read_bytes()),
    }


def epochs_done(out: Path) -> int:
    """The epochs that an earlier attempt finished, after which this one goes on."""
    return max((int(saved.record["epoch"]) for saved in checkpoint.read_all(out / _CHECKPOINT)), default=0)


def previous_micro_batch(out: Path) -> int | None:
    """How many images went through the model at once in an earlier attempt: as many do now, for the same bits."""
    try:
        return int(json.loads((out / _MICRO_BATCH).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _data(job: TrainingJob) -> "loop.TrainingData":
    from fer.training import loop

    resident_mb, classes = job.config.resident_mb, job.balanced.classes
    counts = np.array([job.balanced.counts["train"].get(label, 0) for label in classes], np.float32)
    return loop.TrainingData(
        train=input_pipeline.open_split(job.balanced_folder, "train", job.balanced, resident_mb),
        validation=input_pipeline.open_split(job.shards_folder, "validation", job.shards, resident_mb),
        class_weights=np.array([job.balanced.class_weights.get(label, 1) for label in classes], np.float32),
        priors=counts / counts.sum(),
        votes=None if job.votes is None else soft_labels.SoftLabels.read(job.votes),
    )


def _validation_outputs(model: "keras.Model", folder: Path) -> validation.Outputs:
    """What the model says of the validation split, read once more so that memory stays flat."""
    image_ids: list[str] = []
    class_indexes, probabilities = [], []
    for shard in parquet.iterate(folder, "validation"):
        pixels = shard.pixels[..., np.newaxis]
        image_ids += shard.image_ids
        class_indexes.append(shard.class_indexes)
        probabilities.append(saved_model.probabilities(model, pixels, saved_model.batch_size(pixels)))
    return validation.Outputs(image_ids, np.concatenate(class_indexes), np.concatenate(probabilities))


def _fit_to_memory(
    job: TrainingJob, trainer_model: "keras.Model", n_images: int, strategy: Any, progress: Progress
) -> tuple[int, memory.Estimate]:
    """How many images go through the model at once at most, and the memory that this needs. Raises TooLittleMemory."""
    config, micro_batch = job.config, job.micro_batch
    available = memory.available()
    is_resumed = (job.out / _CHECKPOINT).exists()
    if is_resumed:  # what is trained already was trained so: the rest gives the same bits
        micro_batch = min(micro_batch, previous_micro_batch(job.out) or micro_batch)
    estimated = _estimates(trainer_model, config, n_images, available.base)
    if config.micro_batch is None and strategy is None and not is_resumed:
        fewest = config.model.min_micro_batch
        micro_batch = memory.fitting_micro_batch(estimated, micro_batch, available, fewest=fewest)
    disk.write(job.out / _MICRO_BATCH, json.dumps(micro_batch).encode())
    _, at_once = trainers.batch_sizes(config, n_images, micro_batch)
    needed = estimated(at_once)
    progress.note(f"{needed.summary()} with {at_once} images at once, {available.summary()}")
    return micro_batch, needed


def _estimates(
    trainer_model: "keras.Model", config: TrainConfig, n_images: int, base: int
) -> Callable[[int], memory.Estimate]:
    """The estimate of the phase that needs most, by the images at once. Raises ConfigError for a phase that can't be,
    before any other has taken its time."""

    def estimated(micro_batch: int) -> memory.Estimate:
        estimates = []
        for phase in config.resolved_phases:
            freezing.set_trainable(trainer_model, phase.train_from, phase.batch_norm)
            estimates.append(
                memory.estimate(trainer_model, min(micro_batch, n_images), averaged=config.ema > 0, base=base)
            )
        return max(estimates, key=lambda estimate: estimate.peak)

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


def _trainer_model(model: "keras.Model", config: TrainConfig) -> "keras.Model":
    """The model whose weights the steps change: another one where it computes in other ways, or where `model` gets
    averages of its weights."""
    import keras

    from fer.training import mixed_precision

    is_alone = config.devices == "one"
    fuse = is_alone and keras.config.backend() == "tensorflow"
    if is_alone and not fuse and config.precision == "float32" and not config.ema:
        return model
    policy = config.precision.replace("-", "_")
    return mixed_precision.mixed_precision_copy(model, policy, fuse=fuse, synchronise=not is_alone)


def _write_history(out: Path, state: "loop.LoopState") -> None:
    import keras

    from fer.training import tensorboard

    disk.write(out / saved_model.HISTORY, json.dumps(state.history, indent=1).encode())
    if keras.config.backend() == "tensorflow":
        tensorboard.write(out / tensorboard.FOLDER, state.history)
