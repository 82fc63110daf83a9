"""A trainer: what makes the steps of training, from a batch to the change of the weights, on any Keras backend.

A batch's images may be blended, its targets are shares of classes, and it may go through the model in micro-batches
whose gradients are averaged: then the weights change as by the whole batch except for rounding, for batch norms, which
see the statistics of a micro-batch, and for dropout.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from fer.training import input_pipeline, losses, mixup, optimizers, soft_labels
from fer.training.config import TrainConfig

if TYPE_CHECKING:
    import keras

_BLEND = 1  # tells this use of (seed, epoch, step) from others


class Examples(NamedTuple):
    """The input of a step: `inputs` of the trainer's model, targets (B, C) float32, weights (B,) float32."""

    inputs: Any
    targets: np.ndarray
    weights: np.ndarray


class StepResult(NamedTuple):
    """Means over the batch: of the weighted loss, and of the images whose most probable class is their target's."""

    loss: float
    accuracy: float


class Trainer(Protocol):
    """What changes the weights of `model`."""

    model: "keras.Model"
    optimizer: "keras.optimizers.Optimizer"

    def step(self, inputs: Any, targets: np.ndarray, weights: np.ndarray, learning_rate: float) -> StepResult:
        """Change the weights by one batch; the arguments are the fields of Examples."""
        ...


class LocalTrainer:
    """Steps on the device that Keras chose. Every batch has `batch_size` images, a multiple of `micro_batch`."""

    def __init__(
        self, model: "keras.Model", config: TrainConfig, priors: np.ndarray, batch_size: int, micro_batch: int
    ):
        import keras

        self._micro_batch = micro_batch
        self._n_micro = batch_size // micro_batch
        self.optimizer = optimizers.adamw(config, self._n_micro)
        self.model = training_model(model, config)
        # On JAX, Keras would run each operation by itself.
        compiled = config.xla or keras.config.backend() == "jax"
        self.model.compile(
            optimizer=self.optimizer, loss=losses.loss(config, priors), metrics=["accuracy"], jit_compile=compiled
        )

    def step(self, inputs: Any, targets: np.ndarray, weights: np.ndarray, learning_rate: float) -> StepResult:
        """Change the weights by one batch, micro-batch by micro-batch."""
        self.optimizer.learning_rate = learning_rate
        sums = np.zeros(2)
        for index in range(self._n_micro):
            rows = slice(index * self._micro_batch, (index + 1) * self._micro_batch)
            part = [values[rows] for values in inputs] if isinstance(inputs, list) else inputs[rows]
            logs = self.model.train_on_batch(part, targets[rows], weights[rows], return_dict=True)
            sums += float(logs["loss"]), float(logs["accuracy"])
        if self._n_micro > 1:
            optimizers.drop_partial_batch(self.optimizer, self._n_micro)
        return StepResult(*(sums / self._n_micro).tolist())


def training_model(model: "keras.Model", config: TrainConfig) -> "keras.Model":
    """A second model over the same weights, with `examples` as inputs: what belongs to training only is not saved.

    Where the accelerator augments, its inputs are pixels and draws.
    """
    import keras

    inputs, outputs = model.inputs, model.outputs
    if augments_on_accelerator(config):
        from fer.training import augment_layer

        inputs = [*inputs, keras.Input((augment_layer.PACKED,), name="draws")]
        outputs = model(augment_layer.Augmentation(config.augmentation)(*inputs))
    return keras.Model(inputs, outputs)


def augments_on_accelerator(config: TrainConfig) -> bool:
    """Whether the device that trains also augments; then a batch carries its draws."""
    return config.augment_on == "accelerator" and input_pipeline.changes_pixels(config.augmentation)


def examples(
    batch: input_pipeline.Batch,
    config: TrainConfig,
    class_weights: np.ndarray,
    votes: soft_labels.SoftLabels | None = None,
    *,
    epoch: int,
    step: int,
) -> Examples:
    """The batch's examples, blended as drawn for (seed, epoch, step). `class_weights` is (C,) float32."""
    pixels = batch.pixels
    targets = np.eye(len(class_weights), dtype=np.float32)[batch.class_indexes]
    if votes is not None:
        targets = votes.replace_targets(targets, batch.image_ids.tolist())
    if config.mixup or config.cutmix:
        generator = np.random.default_rng([config.seed, epoch, step, _BLEND])
        pixels, targets = mixup.blend(pixels, targets, config, generator)
    inputs: Any = pixels
    if batch.draws is not None:
        from fer.training import augment_layer

        inputs = [pixels, augment_layer.packed(batch.draws)]
    return Examples(inputs, targets, targets @ class_weights)


def seed_layers(model: "keras.Model", seed: int, epoch: int) -> None:
    """Set the seeds of dropout and other random layers by (seed, epoch, layer): Keras restores no seed state."""
    for index, generator in enumerate(_seed_generators(model)):
        values = np.random.default_rng([seed, epoch, index]).integers(0, 2**31, 2)
        generator.state.assign(values.astype(generator.state.dtype))


def _seed_generators(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _seed_generators(layer)
        elif getattr(layer, "seed_generator", None) is not None:
            yield layer.seed_generator


def batch_sizes(config: TrainConfig, n_images: int, micro_batch: int) -> tuple[int, int]:
    """Images per step, which are all where a split has fewer than a batch; and per micro-batch, which divides them.

    Where no number from half of `micro_batch` on divides all of such a split, a few are left out of each epoch.
    """
    batch = min(config.batch_size, n_images)
    most = min(micro_batch, batch)
    fewest = min(most, max((most + 1) // 2, config.model.min_micro_batch))
    chosen = max(range(fewest, most + 1), key=lambda size: (batch - batch % size, size))
    return batch - batch % chosen, chosen
