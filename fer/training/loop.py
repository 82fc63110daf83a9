"""The training loop: epochs of steps, validation, the best epoch, and a checkpoint after each.

It is written out rather than left to Keras' `fit`: the data order, the learning rate, the augmentation and what dropout
draws are functions of (seed, epoch, step), a loss that is not finite stops at its step, and a training that was killed
after any epoch ends in the same bits as one that was not.
"""

import collections
import contextlib
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer import errors
from fer.models import freezing, saved_model
from fer.progress import Progress
from fer.training import checkpoint, input_pipeline, memory, optimizers, soft_labels
from fer.training import trainer as trainers
from fer.training.config import Phase, TrainConfig

if TYPE_CHECKING:
    import keras

_REPORT_INTERVAL_S = 2.0
# The average follows the weights in strides: the share that it keeps in one stride is that of as many steps.
_AVERAGING_STRIDE = 8
# An epoch whose mean loss is this many times that of guessing learns nothing any more.
_MAX_LOSS_RATIO = 10


class Diverged(errors.TrainingError):
    """Training that can't go on; `images` are the ids of the last batch's."""

    def __init__(self, must: str, *, received: str, todo: str, images: list[str]):
        super().__init__(must, received=received, todo=todo)
        self.images = images


@dataclass
class LoopState:
    """How far a training is: what a checkpoint holds beside the weights. Epochs count from 1."""

    phase: int = 0  # index in the config's phases
    phase_epoch: int = 0  # finished epochs of it
    epoch: int = 0  # of all phases
    seconds: float = 0.0  # that they took, in all attempts
    best_epoch: int = 0
    best_score: tuple[float, float] = (-1.0, -math.inf)  # validation accuracy, and minus its loss
    history: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))

    def record(self) -> dict[str, Any]:
        """The state in JSON's types."""
        return {**vars(self), "best_score": list(self.best_score), "history": dict(self.history)}

    @classmethod
    def of(cls, record: dict[str, Any]) -> "LoopState":
        """The state of a `record`."""
        history = collections.defaultdict(list, record["history"])
        return cls(**{**record, "best_score": tuple(record["best_score"]), "history": history})


@dataclass(frozen=True)
class TrainingData:
    """What a training learns from and is validated on, of C classes."""

    train: input_pipeline.InputPipeline
    validation: input_pipeline.InputPipeline
    class_weights: np.ndarray  # (C,) float32
    priors: np.ndarray  # (C,) float32: the shares of the classes in the train split
    votes: soft_labels.SoftLabels | None = None  # take the place of the labels of images that have some


@dataclass(frozen=True)
class LoopOutput:
    """Where a training reports to."""

    checkpoint_path: Path
    after_epoch: Callable[[LoopState], None]
    progress: Progress


class TrainingLoop:
    """One training of `model`, which ends with the best epoch's weights.

    `trainer_model` is the model that the steps change: another one where `model` gets averages or other precision.
    `strategy` is `fer.training.distributed`'s, None for one device.
    """

    def __init__(
        self,
        model: "keras.Model",
        trainer_model: "keras.Model",
        data: TrainingData,
        config: TrainConfig,
        *,
        micro_batch: int,
        strategy: Any,
        output: LoopOutput,
    ):
        self.model, self._trainer_model = model, trainer_model
        self._data, self._config, self._strategy, self._output = data, config, strategy, output
        if strategy is not None:  # a replica's part of the batch goes through it at once
            micro_batch = config.batch_size
        self._batch_size, self._micro_batch = trainers.batch_sizes(config, data.train.n_images, micro_batch)
        self._n_micro = self._batch_size // self._micro_batch
        self._steps = data.train.n_images // self._batch_size
        self._phases = config.resolved_phases
        self._n_epochs = sum(phase.epochs for phase in self._phases)
        self._averages: list[np.ndarray] | None = None
        self._best: list[np.ndarray] = model.get_weights()
        self.state = LoopState()

    def run(self) -> None:
        """Train until the last phase ends; continue where a checkpoint says that an earlier attempt was."""
        saved = self._saved_checkpoint()
        if saved is not None:
            self.state = LoopState.of(saved.record)
            self._best = saved.arrays["best"]
            self._output.after_epoch(self.state)  # a kill may have come between the checkpoint and this
        while self.state.phase < len(self._phases):
            self._run_phase(self._phases[self.state.phase], saved)
            saved = None
            self.state.phase += 1
            self.state.phase_epoch = 0
        if self.state.epoch < self._n_epochs:
            note = f"stopped at epoch {self.state.epoch}, the best was {self.state.best_epoch}"
            self._output.progress(self._n_epochs, self._n_epochs, note)
        self.model.set_weights(self._best)

    def _saved_checkpoint(self) -> checkpoint.Checkpoint | None:
        """The checkpoint of an earlier attempt; of workers, the last one that all have: one may be an epoch behind."""
        candidates = checkpoint.read_all(self._output.checkpoint_path)
        if self._strategy is None:
            return next(iter(candidates), None)
        from fer.training import distributed

        newest = max((candidate.record["epoch"] for candidate in candidates), default=0)
        common = min(distributed.gather(self._strategy, newest))
        saved = next((candidate for candidate in candidates if candidate.record["epoch"] == common), None)
        return saved if all(distributed.gather(self._strategy, int(saved is not None))) else None

    def _run_phase(self, phase: Phase, saved: checkpoint.Checkpoint | None) -> None:
        state = self.state
        trainer = self._trainer(phase)
        if saved is not None and state.phase_epoch:
            self._trainer_model.set_weights(saved.arrays["weights"])
            self._averages = saved.arrays["averages"] or None
            optimizers.restore(trainer.optimizer, saved.arrays["optimizer"], self._n_micro)
        else:
            self._trainer_model.set_weights(self._best)
            self._averages = None
        started, n_done = time.monotonic(), state.epoch
        while state.phase_epoch < phase.epochs and not self._out_of_patience():
            began = time.monotonic()
            values = self._epoch(trainer, phase)
            state.seconds += time.monotonic() - began
            state.epoch += 1
            state.phase_epoch += 1
            for name, value in values.items():
                state.history[name].append(value)
            score = (values["validation_accuracy"], -values["validation_loss"])
            if score > state.best_score:
                state.best_score, state.best_epoch, self._best = score, state.epoch, self.model.get_weights()
            self._check_divergence(values["loss"])
            self._write_checkpoint(trainer)
            self._output.after_epoch(state)
            left_s = (time.monotonic() - started) / (state.epoch - n_done) * (self._n_epochs - state.epoch)
            self._output.progress(state.epoch, self._n_epochs, self._epoch_text(left_s))

    def _trainer(self, phase: Phase) -> trainers.Trainer:
        freezing.set_trainable(self._trainer_model, phase.train_from, phase.batch_norm)
        if self._strategy is not None:
            from fer.training import distributed

            return distributed.StrategyTrainer(
                self._trainer_model,
                self._config,
                self._data.priors,
                batch_size=self._batch_size,
                strategy=self._strategy,
            )
        sizes = {"batch_size": self._batch_size, "micro_batch": self._micro_batch}
        trainer = trainers.LocalTrainer(self._trainer_model, self._config, self._data.priors, **sizes)
        trainer.optimizer.build(trainer.model.trainable_variables)
        return trainer

    def _out_of_patience(self) -> bool:
        """Whether this phase had its patience without a best epoch."""
        since = min(self.state.epoch - self.state.best_epoch, self.state.phase_epoch)
        return since >= self._config.patience

    def _epoch(self, trainer: trainers.Trainer, phase: Phase) -> dict[str, float]:
        """Train for one epoch; its values for the history."""
        config, epoch = self._config, self.state.epoch + 1
        trainers.seed_layers(self._trainer_model, config.seed, epoch)
        results = np.zeros((self._steps, 2))  # loss and accuracy of each step
        rate = 0.0
        started = reported = time.monotonic()
        with contextlib.closing(batches_of(self._data.train, self._batch_size, config, epoch)) as batches:
            for index, batch in enumerate(batches):
                done = self.state.phase_epoch * self._steps + index
                rate = learning_rate(phase, config.schedule, done, self._steps)
                examples = trainers.examples(
                    batch, config, self._data.class_weights, self._data.votes, epoch=epoch, step=index
                )
                results[index] = trainer.step(*examples, rate)
                if not math.isfinite(results[index, 0]):
                    raise Diverged(
                        "The loss must stay finite.",
                        received=f"{results[index, 0]} at step {index + 1} of epoch {epoch}, learning rate {rate:.2g}",
                        todo="lower train.learning_rate, or look at the images of the step",
                        images=batch.image_ids.tolist(),
                    )
                if config.ema and (done + 1) % _AVERAGING_STRIDE == 0:
                    self._average(done + 1)
                now = time.monotonic()
                if now - reported >= _REPORT_INTERVAL_S:
                    reported = now
                    self._report_step(index + 1, now - started)
        seconds = time.monotonic() - started
        if self.model is not self._trainer_model:
            self.model.set_weights(self._averages or self._trainer_model.get_weights())
        validation_loss, validation_accuracy = self._validate()
        if not math.isfinite(validation_loss):
            raise Diverged(
                "The validation loss must stay finite.",
                received=f"{validation_loss} after epoch {epoch}, learning rate {rate:.2g}",
                todo="lower train.learning_rate",
                images=[],
            )
        loss, accuracy = results.mean(axis=0).tolist()
        return {
            "loss": loss,
            "accuracy": accuracy,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "learning_rate": rate,
            "images_per_s": self._steps * self._batch_size / seconds,
            "peak_memory_mb": memory.peak_mb(),
            "ended_at": time.time(),
        }

    def _average(self, n_steps: int) -> None:
        """Let the average of all weights, batch norms' statistics too, follow; in the beginning it follows faster."""
        weights = self._trainer_model.get_weights()
        if self._averages is None:
            self._averages = [weight.copy() for weight in weights]
            return
        decay = np.float32(min(self._config.ema, (1 + n_steps) / (10 + n_steps)) ** _AVERAGING_STRIDE)
        for average, weight in zip(self._averages, weights, strict=True):
            average *= decay
            average += (1 - decay) * weight

    def _validate(self) -> tuple[float, float]:
        """The validation split's loss and accuracy."""
        loss, n_right = 0.0, 0
        for pixels, class_indexes in self._data.validation.chunks():
            probabilities = saved_model.outputs(self.model, pixels, saved_model.batch_size(pixels))
            of_label = probabilities[np.arange(len(probabilities)), class_indexes]
            loss -= float(np.log(np.maximum(of_label, 1e-7)).sum(dtype=np.float64))
            n_right += int((probabilities.argmax(axis=1) == class_indexes).sum())
        n_images = self._data.validation.n_images
        return loss / n_images, n_right / n_images

    def _write_checkpoint(self, trainer: trainers.Trainer) -> None:
        arrays = {
            "weights": self._trainer_model.get_weights(),
            "averages": self._averages or [],
            "best": self._best,
            "optimizer": optimizers.state(trainer.optimizer, self._n_micro),
        }
        latest = checkpoint.Checkpoint(self.state.record(), arrays)
        checkpoint.write(self._output.checkpoint_path, latest, keep_previous=self._strategy is not None)

    def _check_divergence(self, loss: float) -> None:
        guessing = math.log(max(2, len(self._data.class_weights)))
        if loss > _MAX_LOSS_RATIO * guessing:
            raise Diverged(
                f"The mean loss of an epoch must stay under {_MAX_LOSS_RATIO * guessing:.1f}, {_MAX_LOSS_RATIO} times "
                "that of guessing.",
                received=f"{loss:.1f} in epoch {self.state.epoch}, learning rate {self._last('learning_rate'):.2g}",
                todo="lower train.learning_rate",
                images=[],
            )

    def _report_step(self, n_steps: int, seconds: float) -> None:
        speed = n_steps * self._batch_size / seconds
        text = (
            f"epoch {self.state.epoch + 1}: {n_steps / self._steps:.0%}, {speed:,.0f} images/s, "
            f"{memory.peak_mb() / 1000:.1f} GB"
        )
        self._output.progress(self.state.epoch, self._n_epochs, text)

    def _epoch_text(self, left_s: float) -> str:
        left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
        return (
            f"train {self._last('accuracy'):.3f}, validation {self._last('validation_accuracy'):.3f} "
            f"(best {self.state.best_score[0]:.3f} at {self.state.best_epoch}), "
            f"{self._last('images_per_s'):,.0f} images/s, {memory.peak_mb() / 1000:.1f} GB, {left} left"
        )

    def _last(self, name: str) -> float:
        return self.state.history[name][-1]


def learning_rate(phase: Phase, schedule: str, n_done: int, steps_per_epoch: int) -> float:
    """The learning rate of the step after `n_done` of the phase: a linear warm-up, then half a cosine or flat.

    The cosine is Loshchilov & Hutter's (2017, arXiv:1608.03983). `phase` is one of `TrainConfig.resolved_phases`.
    """
    highest, warmup = phase.learning_rate or 0.0, (phase.warmup_epochs or 0.0) * steps_per_epoch
    if n_done + 1 < warmup:
        return highest * (n_done + 1) / warmup
    if schedule == "constant":
        return highest
    share = (n_done - warmup) / max(1.0, phase.epochs * steps_per_epoch - warmup)
    return highest * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))


def batches_of(
    source: input_pipeline.InputPipeline, batch_size: int, config: TrainConfig, epoch: int
) -> Generator[input_pipeline.Batch]:
    """The batches that epoch 1, 2, ... trains on, made while earlier steps run. Close it. Raises IntegrityError."""
    batches = source.batches(batch_size, config.seed, epoch)
    if input_pipeline.changes_pixels(config.augmentation):
        on_host = config.augment_on == "host"
        batches = input_pipeline.augmented(batches, config.seed, epoch, config.augmentation, apply=on_host)
    return input_pipeline.prefetch(batches)
