"""The training loop: epochs of steps, validation, the best epoch, and a checkpoint after each.

It is written out rather than left to Keras' `fit`: the data order, the learning rate, the augmentation and what dropout
draws are functions of (seed, epoch, step), a loss that is not finite stops at its step, and a training that was killed
after any epoch ends in the same bits as one that was not.
"""

import collections
import contextlib
import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer import errors
from fer.models import freezing, saved_model
from fer.progress import Progress
from fer.training import checkpoint, input_pipeline, memory, soft_labels, step
from fer.training.config import Phase, TrainConfig

if TYPE_CHECKING:
    import keras

_TELL_EVERY_S = 2.0
# The average follows the weights in strides: the share it keeps of itself in one is that of as many steps.
_AVERAGED_EVERY = 8
# An epoch whose mean loss is this many times that of guessing learns nothing any more.
_DIVERGED = 10


class Diverged(errors.TrainingError):
    """Training that can't go on; `images` are the ids of the last batch's."""

    def __init__(self, must: str, *, received: str, todo: str, images: list[str]):
        super().__init__(must, received=received, todo=todo)
        self.images = images


@dataclass
class State:
    """How far a training is: what a checkpoint holds beside the weights. Epochs count from 1."""

    phase: int = 0  # index in the plan
    phase_epoch: int = 0  # finished epochs of it
    epoch: int = 0  # of all
    seconds: float = 0.0  # that they took, in all attempts
    best_epoch: int = 0
    best_score: tuple[float, float] = (-1.0, -math.inf)  # validation accuracy, and minus its loss
    history: dict[str, list[float]] = field(default_factory=lambda: collections.defaultdict(list))

    def record(self) -> dict[str, Any]:
        return {**vars(self), "best_score": list(self.best_score), "history": dict(self.history)}

    @classmethod
    def of(cls, record: dict[str, Any]) -> "State":
        history = collections.defaultdict(list, record["history"])
        return cls(**{**record, "best_score": tuple(record["best_score"]), "history": history})


class Fitting:
    """One training of `model`, which ends with the best epoch's weights.

    `inner` is the model that the steps change: another one where `model` gets averages or other precision.
    `class_weights` and `priors` are (C,) float32; `votes` take the place of the labels of images that have some.
    `strategy` is `fer.training.distributed`'s, None for one device.
    """

    def __init__(
        self,
        model: "keras.Model",
        inner: "keras.Model",
        train: input_pipeline.Feed,
        validation: input_pipeline.Feed,
        config: TrainConfig,
        *,
        class_weights: np.ndarray,
        priors: np.ndarray,
        votes: soft_labels.SoftLabels | None,
        micro_batch: int,
        strategy: Any,
        checkpoint_path: Path,
        after_epoch: Any,
        progress: Progress,
    ):
        self.model, self._inner = model, inner
        self._train, self._validation, self._config = train, validation, config
        self._class_weights, self._priors, self._votes = class_weights, priors, votes
        self._strategy = strategy
        if strategy is not None:  # a replica's part of the batch goes through it at once
            micro_batch = config.batch_size
        self._batch_size, self._micro_batch = step.batch_sizes(config, train.n_images, micro_batch)
        self._n_micro = self._batch_size // self._micro_batch
        self._steps = train.n_images // self._batch_size
        self._checkpoint_path = checkpoint_path
        self._after_epoch, self._progress = after_epoch, progress
        self._plan = config.plan
        self._n_epochs = sum(each.epochs for each in self._plan)
        self._averages: list[np.ndarray] | None = None
        self._best: list[np.ndarray] = model.get_weights()
        self.state = State()

    def run(self) -> None:
        """Train until the last phase ends; go on where a checkpoint says that an earlier attempt was."""
        found = self._checkpoint()
        if found is not None:
            self.state = State.of(found.record)
            self._best = found.arrays["best"]
            self._after_epoch(self.state)  # a kill may have come between the checkpoint and this
        while self.state.phase < len(self._plan):
            self._run_phase(self._plan[self.state.phase], found)
            found = None
            self.state.phase += 1
            self.state.phase_epoch = 0
        if self.state.epoch < self._n_epochs:
            note = f"stopped at epoch {self.state.epoch}, the best was {self.state.best_epoch}"
            self._progress(self._n_epochs, self._n_epochs, note)
        self.model.set_weights(self._best)

    def _checkpoint(self) -> checkpoint.Checkpoint | None:
        """What an earlier attempt had finished; of workers, what all of them had: one may be an epoch behind."""
        kept = checkpoint.read_all(self._checkpoint_path)
        if self._strategy is None:
            return next(iter(kept), None)
        from fer.training import distributed

        newest = max((each.record["epoch"] for each in kept), default=0)
        common = min(distributed.of_all(self._strategy, newest))
        found = next((each for each in kept if each.record["epoch"] == common), None)
        return found if all(distributed.of_all(self._strategy, int(found is not None))) else None

    def _run_phase(self, phase: Phase, found: checkpoint.Checkpoint | None) -> None:
        state = self.state
        trainer = self._trainer(phase)
        if found is not None and state.phase_epoch:
            self._inner.set_weights(found.arrays["weights"])
            self._averages = found.arrays["averages"] or None
            step.restore(trainer.optimizer, found.arrays["optimizer"], self._n_micro)
        else:
            self._inner.set_weights(self._best)
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
            self._after_epoch(state)
            left_s = (time.monotonic() - started) / (state.epoch - n_done) * (self._n_epochs - state.epoch)
            self._progress(state.epoch, self._n_epochs, self._note(left_s))

    def _trainer(self, phase: Phase) -> step.Trainer:
        freezing.set_trainable(self._inner, phase.train_from, phase.batch_norm)
        if self._strategy is not None:
            from fer.training import distributed

            return distributed.StrategyTrainer(
                self._inner, self._config, self._priors, batch_size=self._batch_size, chosen=self._strategy
            )
        sizes = {"batch_size": self._batch_size, "micro_batch": self._micro_batch}
        made = step.LocalTrainer(self._inner, self._config, self._priors, **sizes)
        made.optimizer.build(made.model.trainable_variables)
        return made

    def _out_of_patience(self) -> bool:
        """Whether this phase had its patience without a best epoch."""
        since = min(self.state.epoch - self.state.best_epoch, self.state.phase_epoch)
        return since >= self._config.patience

    def _epoch(self, trainer: step.Trainer, phase: Phase) -> dict[str, float]:
        """Train for one epoch; its values for the history."""
        config, epoch = self._config, self.state.epoch + 1
        step.seed_layers(self._inner, config.seed, epoch)
        found = np.zeros((self._steps, 2))
        rate = 0.0
        started = told = time.monotonic()
        with contextlib.closing(batches_of(self._train, self._batch_size, config, epoch)) as batches:
            for at, batch in enumerate(batches):
                done = self.state.phase_epoch * self._steps + at
                rate = learning_rate(phase, config.schedule, done, self._steps)
                examples = step.examples(batch, config, self._class_weights, self._votes, epoch=epoch, step=at)
                found[at] = trainer.step(*examples, rate)
                if not math.isfinite(found[at, 0]):
                    raise Diverged(
                        "The loss must stay finite.",
                        received=f"{found[at, 0]} at step {at + 1} of epoch {epoch}, learning rate {rate:.2g}",
                        todo="lower train.learning_rate, or look at the images of the step",
                        images=batch.image_ids.tolist(),
                    )
                if config.ema and (done + 1) % _AVERAGED_EVERY == 0:
                    self._average(done + 1)
                now = time.monotonic()
                if now - told >= _TELL_EVERY_S:
                    told = now
                    self._tell(at + 1, now - started)
        seconds = time.monotonic() - started
        if self.model is not self._inner:
            self.model.set_weights(self._averages or self._inner.get_weights())
        validation_loss, validation_accuracy = self._validate()
        if not math.isfinite(validation_loss):
            raise Diverged(
                "The validation loss must stay finite.",
                received=f"{validation_loss} after epoch {epoch}, learning rate {rate:.2g}",
                todo="lower train.learning_rate",
                images=[],
            )
        loss, accuracy = found.mean(axis=0).tolist()
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
        weights = self._inner.get_weights()
        if self._averages is None:
            self._averages = [each.copy() for each in weights]
            return
        kept = np.float32(min(self._config.ema, (1 + n_steps) / (10 + n_steps)) ** _AVERAGED_EVERY)
        for average, weight in zip(self._averages, weights, strict=True):
            average *= kept
            average += (1 - kept) * weight

    def _validate(self) -> tuple[float, float]:
        """The validation split's loss and accuracy."""
        loss, n_right = 0.0, 0
        for pixels, class_indexes in self._validation.pieces():
            found = saved_model.probabilities(self.model, pixels, saved_model.batch_size(pixels))
            of_label = found[np.arange(len(found)), class_indexes]
            loss -= float(np.log(np.maximum(of_label, 1e-7)).sum(dtype=np.float64))
            n_right += int((found.argmax(axis=1) == class_indexes).sum())
        return loss / self._validation.n_images, n_right / self._validation.n_images

    def _write_checkpoint(self, trainer: step.Trainer) -> None:
        arrays = {
            "weights": self._inner.get_weights(),
            "averages": self._averages or [],
            "best": self._best,
            "optimizer": step.state_of(trainer.optimizer, self._n_micro),
        }
        found = checkpoint.Checkpoint(self.state.record(), arrays)
        checkpoint.write(self._checkpoint_path, found, keep_before=self._strategy is not None)

    def _check_divergence(self, loss: float) -> None:
        guessing = math.log(max(2, len(self._class_weights)))
        if loss > _DIVERGED * guessing:
            raise Diverged(
                f"The mean loss of an epoch must stay under {_DIVERGED * guessing:.1f}, {_DIVERGED} times that of "
                "guessing.",
                received=f"{loss:.1f} in epoch {self.state.epoch}, learning rate {self._last('learning_rate'):.2g}",
                todo="lower train.learning_rate",
                images=[],
            )

    def _tell(self, n_steps: int, seconds: float) -> None:
        speed = n_steps * self._batch_size / seconds
        note = (
            f"epoch {self.state.epoch + 1}: {n_steps / self._steps:.0%}, {speed:,.0f} images/s, "
            f"{memory.peak_mb() / 1000:.1f} GB"
        )
        self._progress(self.state.epoch, self._n_epochs, note)

    def _note(self, left_s: float) -> str:
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

    The cosine is Loshchilov & Hutter's (2017, arXiv:1608.03983). `phase` is one of `TrainConfig.plan`.
    """
    highest, warmup = phase.learning_rate or 0.0, (phase.warmup_epochs or 0.0) * steps_per_epoch
    if n_done + 1 < warmup:
        return highest * (n_done + 1) / warmup
    if schedule == "constant":
        return highest
    share = (n_done - warmup) / max(1.0, phase.epochs * steps_per_epoch - warmup)
    return highest * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))


def batches_of(
    source: input_pipeline.Feed, batch_size: int, config: TrainConfig, epoch: int
) -> Generator[input_pipeline.Batch]:
    """The batches that epoch 1, 2, ... trains on, made ahead of the steps. Close it. Raises IntegrityError."""
    batches = source.batches(batch_size, config.seed, epoch)
    if input_pipeline.changes_pixels(config.augmentation):
        on_host = config.augment_on == "host"
        batches = input_pipeline.augmented(batches, config.seed, epoch, config.augmentation, apply=on_host)
    return input_pipeline.ahead(batches)
