"""Training: shards to a model, in a child process.

The loop is written out rather than left to `fit`: the data order, the learning rate and the augmentation are functions
of (seed, epoch, step), a loss that is not finite stops at its step, and two runs end in the same bits.
"""

import collections
import contextlib
import json
import math
import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data_contracts import files
from fer import augment, child, errors, feed, models, refs, stage, trained
from fer import workspace as workspaces
from fer.progress import Progress

if TYPE_CHECKING:
    import keras

_TELL_EVERY_S = 2.0
_SCORING_BATCH = 256


class TrainConfig(BaseModel):
    """How a model is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: models.ModelConfig = Field(default=models.ModelConfig(), description="which model, and how large")
    epochs: int = Field(
        default=30,
        ge=1,
        le=1_000,
        description="at most; each sees the train images once, but for those that fill no batch",
    )
    patience: int = Field(default=8, ge=1, description="epochs without a better validation accuracy before it stops")
    batch_size: int = Field(default=64, ge=1, le=4_096, description="images a step")
    learning_rate: float = Field(default=2e-3, gt=0, le=1, description="the highest; AdamW")
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="how the learning rate goes on after the warm-up: down to 0, or not at all"
    )
    warmup_epochs: float = Field(default=1.0, ge=0, le=1_000, description="over which the learning rate rises from 0")
    weight_decay: float = Field(default=1e-2, ge=0, le=1, description="of kernels, decoupled from the gradient")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="share of the label spread over all classes")
    augmentation: augment.AugmentConfig = Field(
        default=augment.AugmentConfig(rotation_deg=12, shift=0.08, shear_deg=0, zoom=0.12),
        description="drawn anew for each image in each epoch; all 0 and no flip: none",
    )
    augment_on: Literal["host", "accelerator"] = Field(
        default="host",
        description="what augments: the CPU beside the steps, or the device that trains; alike but for rounding",
    )
    resident_mb: int = Field(
        default=2_048,
        ge=0,
        description="MiB of pixels up to which a split is held in memory; a larger one is streamed, in another order",
    )
    seed: int = Field(default=0, ge=0, description="of weights, order, dropout and augmentation")
    timeout_s: float = Field(
        default=3_600,
        gt=0,
        exclude=True,  # from what is written, and so from the key: it decides whether there is a model, not which
        description="training that takes longer is stopped, and fails",
    )


@stage.stage("train")
def train(
    out: Path,
    balanced: refs.ShardsRef,
    shards: refs.ShardsRef,
    config: TrainConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> refs.ModelRef:
    """Train on `balanced`'s train split; keep the epoch that is best on `shards`'s validation split.

    Best is the highest accuracy, then the lowest loss. Writes `model.keras`, `preprocessing.json` and
    `history.json`. Raises TrainingError if it diverges, is killed or runs out of time; ConfigError without images.
    """
    _check(balanced, shards, config)
    shutil.copyfile(workspace.folder(shards) / files.PREPROCESSING, out / files.PREPROCESSING)
    started = time.monotonic()
    result = child.run(
        fit,
        {
            "balanced_folder": str(workspace.folder(balanced)),
            "balanced": balanced.model_dump(mode="json"),
            "shards_folder": str(workspace.folder(shards)),
            "shards": shards.model_dump(mode="json"),
            "out": str(out),
            "config": config.model_dump(mode="json"),
        },
        what="Training",
        timeout_s=config.timeout_s,
        progress=progress,
        if_too_slow="raise train.timeout_s, or lower train.epochs",
        if_out_of_memory="free some memory or lower train.batch_size, then run the same command again",
    )
    return refs.ModelRef(
        **result, model=config.model.name, classes=shards.classes, train_seconds=time.monotonic() - started
    )


def _check(balanced: refs.ShardsRef, shards: refs.ShardsRef, config: TrainConfig) -> None:
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
    out: str,
    config: dict[str, Any],
    *,
    progress: Progress,
) -> dict[str, Any]:
    """The child's work: write `model.keras` and `history.json` to `out`; return most fields of a ModelRef.

    `balanced` and `shards` are ShardsRefs, `config` a TrainConfig, as JSON says them.
    """
    settings = TrainConfig.model_validate(config)
    train_ref, validation_ref = refs.ShardsRef.model_validate(balanced), refs.ShardsRef.model_validate(shards)
    progress(0, settings.epochs, "reading the images")
    train_images = feed.open_split(Path(balanced_folder), "train", train_ref, settings.resident_mb)
    validation_images = feed.open_split(Path(shards_folder), "validation", validation_ref, settings.resident_mb)
    import keras

    keras.utils.set_random_seed(settings.seed)
    model = models.build(
        settings.model,
        height=train_ref.height,
        width=train_ref.width,
        n_classes=len(train_ref.classes),
        mean=validation_ref.mean,
        std=validation_ref.std,
    )
    weights = np.array([train_ref.class_weights.get(each, 1) for each in train_ref.classes], np.float32)
    run = _Run(model, train_images, weights, validation_images, settings, progress)
    run.epochs()
    folder = Path(out)
    model.save(folder / trained.MODEL)
    workspaces.write_atomically(folder / trained.HISTORY, json.dumps(run.history, indent=1).encode())
    return {
        "n_parameters": int(model.count_params()),
        "epochs_run": len(run.history["loss"]),
        "best_epoch": run.best_epoch,
        "validation_accuracy": run.history["validation_accuracy"][run.best_epoch - 1],
        "digest": trained.digest(model, (folder / files.PREPROCESSING).read_bytes()),
    }


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The learning rate of step 0, 1, ...: a linear warm-up, then half a cosine (Loshchilov & Hutter 2017) or flat."""
    warmup = config.warmup_epochs * steps_per_epoch
    if step + 1 < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    share = (step - warmup) / max(1.0, config.epochs * steps_per_epoch - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))


@dataclass
class _Run:
    """One training of one model, which ends with the best epoch's weights. Epochs count from 1."""

    model: "keras.Model"
    train: feed.Feed
    class_weights: np.ndarray  # (classes,) float32
    validation: feed.Feed
    config: TrainConfig
    progress: Progress
    history: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))
    best_epoch: int = 0

    def epochs(self) -> None:
        """Train until the last epoch or until patience ends."""
        trainer = compiled(self.model, self.config)
        best_weights: list[np.ndarray] = []
        best = (-1.0, -math.inf)
        started = time.monotonic()
        for epoch in range(1, self.config.epochs + 1):
            self._epoch(trainer, epoch)
            score = (self.history["validation_accuracy"][-1], -self.history["validation_loss"][-1])
            if score > best:
                best, self.best_epoch, best_weights = score, epoch, self.model.get_weights()
            left_s = (time.monotonic() - started) / epoch * (self.config.epochs - epoch)
            self.progress(epoch, self.config.epochs, self._note(left_s))
            if epoch - self.best_epoch >= self.config.patience:
                note = f"stopped at epoch {epoch}, the best was {self.best_epoch}"
                self.progress(self.config.epochs, self.config.epochs, note)
                break
        self.model.set_weights(best_weights)

    def _epoch(self, trainer: "keras.Model", epoch: int) -> None:
        batch_size = _batch_size(self.train, self.config)
        steps = self.train.n_images // batch_size
        eye = np.eye(len(self.class_weights), dtype=np.float32)
        losses, accuracies = np.zeros(steps), np.zeros(steps)
        started = told = time.monotonic()
        with contextlib.closing(batches_of(self.train, self.config, epoch)) as batches:
            for step, batch in enumerate(batches):
                rate = learning_rate(self.config, (epoch - 1) * steps + step, steps)
                trainer.optimizer.learning_rate = rate
                truth = eye[batch.class_indexes], self.class_weights[batch.class_indexes]
                logs = trainer.train_on_batch(inputs_of(batch), *truth, return_dict=True)
                losses[step], accuracies[step] = logs["loss"], logs["accuracy"]
                if not math.isfinite(losses[step]):
                    raise errors.TrainingError(
                        "The loss must stay finite.",
                        received=f"{losses[step]} at step {step + 1} of epoch {epoch}, learning rate {rate:.2g}",
                        todo="lower train.learning_rate",
                    )
                now = time.monotonic()
                if now - told >= _TELL_EVERY_S:
                    told = now
                    speed = (step + 1) * batch_size / (now - started)
                    note = f"epoch {epoch}: {(step + 1) / steps:.0%}, {speed:,.0f} images/s"
                    self.progress(epoch - 1, self.config.epochs, note)
        seconds = time.monotonic() - started
        validation_loss, validation_accuracy = self._validate()
        epoch_values = {
            "loss": float(losses.mean()),
            "accuracy": float(accuracies.mean()),
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "learning_rate": rate,
            "images_per_s": steps * batch_size / seconds,
        }
        for name, value in epoch_values.items():
            self.history[name].append(value)

    def _validate(self) -> tuple[float, float]:
        """The validation split's loss and accuracy."""
        loss, n_right = 0.0, 0
        for pixels, class_indexes in self.validation.pieces():
            found = trained.probabilities(self.model, pixels, _SCORING_BATCH)
            of_label = found[np.arange(len(found)), class_indexes]
            loss -= float(np.log(np.maximum(of_label, 1e-7)).sum(dtype=np.float64))
            n_right += int((found.argmax(axis=1) == class_indexes).sum())
        return loss / self.validation.n_images, n_right / self.validation.n_images

    def _note(self, left_s: float) -> str:
        last = {name: values[-1] for name, values in self.history.items()}
        best = self.history["validation_accuracy"][self.best_epoch - 1]
        left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
        return (
            f"train {last['accuracy']:.3f}, validation {last['validation_accuracy']:.3f} "
            f"(best {best:.3f} at {self.best_epoch}), {last['images_per_s']:,.0f} images/s, {left} left"
        )


def batches_of(source: feed.Feed, config: TrainConfig, epoch: int) -> Generator[feed.Batch]:
    """The batches that epoch 1, 2, ... trains on, made ahead of the steps. Close it. Raises IntegrityError."""
    batches = source.batches(_batch_size(source, config), config.seed, epoch)
    if feed.changes_pixels(config.augmentation):
        on_host = config.augment_on == "host"
        batches = feed.augmented(batches, config.seed, epoch, config.augmentation, apply=on_host)
    return feed.ahead(batches)


def _batch_size(source: feed.Feed, config: TrainConfig) -> int:
    return min(config.batch_size, source.n_images)


def inputs_of(batch: feed.Batch) -> Any:
    """What the `compiled` model takes of a batch."""
    if batch.draws is None:
        return batch.pixels
    from fer import augment_layer

    return [batch.pixels, augment_layer.packed(batch.draws)]


def compiled(model: "keras.Model", config: TrainConfig) -> "keras.Model":
    """A second model over the same weights: what is only of training is not saved with the first.

    It takes what `inputs_of` makes: where the accelerator augments, draws beside the pixels.
    """
    import keras

    inputs, outputs = model.inputs, model.outputs
    if config.augment_on == "accelerator" and feed.changes_pixels(config.augmentation):
        from fer import augment_layer

        inputs = [*inputs, keras.Input((augment_layer.PACKED,), name="draws")]
        outputs = model(augment_layer.Augmentation(config.augmentation)(*inputs))
    trainer = keras.Model(inputs, outputs)
    optimizer = keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    trainer.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing),
        metrics=["accuracy"],
    )
    return trainer
