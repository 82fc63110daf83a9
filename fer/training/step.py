"""A training step: from a batch to the change of the weights, on any Keras backend.

A batch's images may be blended, its targets are shares of classes, and it may go through the model in micro-batches
whose gradients are averaged: then the weights change as by the whole batch but for rounding, for batch norms, which see
the statistics of a micro-batch, and for dropout.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from fer.training import input_pipeline, soft_labels
from fer.training.config import TrainConfig

if TYPE_CHECKING:
    import keras

_BLEND = 1  # tells this use of (seed, epoch, step) from others
_ITERATION = "iteration"
# What an optimiser holds that is set anew at each step, or is 0 between two.
_ACCUMULATOR = "gradient_accumulator"
_NO_STATE = ("learning_rate", _ACCUMULATOR)
_RAREST = 1e-6  # a class's share, of one that has no image
_LEAST = 1e-30  # a probability, whose logarithm has a gradient, in float16 times a loss scale too
_LEFT = 1e-7  # 1 - p, whose power has a gradient


class Examples(NamedTuple):
    """What a step learns from: `inputs` of the trainer's model, targets (B, C) float32, weights (B,) float32."""

    inputs: Any
    targets: np.ndarray
    weights: np.ndarray


class StepResult(NamedTuple):
    """The means over the batch: of the weighted loss, and of the images whose most likely class is their target's."""

    loss: float
    accuracy: float


class Trainer(Protocol):
    """What changes the weights of `model`."""

    model: "keras.Model"
    optimizer: "keras.optimizers.Optimizer"

    def step(self, inputs: Any, targets: np.ndarray, weights: np.ndarray, learning_rate: float) -> StepResult: ...


class LocalTrainer:
    """Steps on the device that Keras chose. Every batch has `batch_size` images, a multiple of `micro_batch`."""

    def __init__(
        self, model: "keras.Model", config: TrainConfig, priors: np.ndarray, batch_size: int, micro_batch: int
    ):
        import keras

        self._micro_batch = micro_batch
        self._n_micro = batch_size // micro_batch
        self.optimizer = optimizer(config, self._n_micro)
        self.model = trained_model(model, config)
        # On JAX, Keras would run each operation by itself.
        compiled = config.xla or keras.config.backend() == "jax"
        self.model.compile(
            optimizer=self.optimizer, loss=loss(config, priors), metrics=["accuracy"], jit_compile=compiled
        )

    def step(self, inputs: Any, targets: np.ndarray, weights: np.ndarray, learning_rate: float) -> StepResult:
        self.optimizer.learning_rate = learning_rate
        found = np.zeros(2)
        for at in range(self._n_micro):
            rows = slice(at * self._micro_batch, (at + 1) * self._micro_batch)
            some = [each[rows] for each in inputs] if isinstance(inputs, list) else inputs[rows]
            logs = self.model.train_on_batch(some, targets[rows], weights[rows], return_dict=True)
            found += float(logs["loss"]), float(logs["accuracy"])
        if self._n_micro > 1:
            _leave_out_half_a_batch(self.optimizer, self._n_micro)
        return StepResult(*(found / self._n_micro).tolist())


def optimizer(config: TrainConfig, n_micro: int = 1) -> "keras.optimizers.Optimizer":
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), which decays kernels only."""
    import keras

    steps = n_micro if n_micro > 1 else None
    made = keras.optimizers.AdamW(
        config.learning_rate, weight_decay=config.weight_decay, gradient_accumulation_steps=steps
    )
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if config.precision == "mixed-float16":  # whose small gradients are 0 unless the loss is scaled up
        return keras.optimizers.LossScaleOptimizer(made)
    return made


def _leave_out_half_a_batch(optimizer: "keras.optimizers.Optimizer", n_micro: int) -> None:
    """Between two batches: forget gradients of a batch of which a micro-batch was left out because it overflowed.

    So the batch is left out as it is without micro-batches; else the optimiser would count on from its middle.
    """
    variables = getattr(optimizer, "inner_optimizer", optimizer).variables  # one that scales losses counts nothing
    counter = next(each for each in variables if each.name == _ITERATION)
    n_counted = int(counter) % n_micro
    if n_counted:
        counter.assign(int(counter) - n_counted)
        for each in variables:
            if each.name.endswith(_ACCUMULATOR):
                each.assign(np.zeros(each.shape, each.dtype))


def loss(config: TrainConfig, priors: np.ndarray) -> "keras.losses.Loss":
    """The loss of probabilities (B, C) against target shares (B, C); `priors` (C,) are the train split's.

    Focal: Lin et al. 2017, arXiv:1708.02002. Logit-adjusted: Menon et al. 2021, arXiv:2007.07314. Both are of
    logarithms: Keras' focal loss cuts probabilities off at 1e-7, and what is further off, as rare classes are with
    margins, would not be learned from. Its plain one finds the logits again, on TensorFlow.
    """
    import keras
    from keras import ops

    smoothing = config.label_smoothing
    if config.loss == "cross-entropy":
        return keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    tau = config.logit_tau if config.loss == "logit-adjusted" else 0.0
    margins = (tau * np.log(np.maximum(priors, _RAREST))).astype(np.float32)

    class OfLogarithms(keras.losses.Loss):
        """Cross-entropy of p = softmax(logits + tau * log(prior)), times (1 - p)^gamma."""

        def call(self, y_true: Any, y_pred: Any) -> Any:
            shares = y_true * (1 - smoothing) + smoothing / len(priors)
            logs = ops.log_softmax(ops.log(ops.maximum(y_pred, _LEAST)) + margins)
            if gamma:
                shares = shares * ops.maximum(1 - ops.exp(logs), _LEFT) ** gamma
            return -ops.sum(shares * logs, axis=-1)

    return OfLogarithms()


def trained_model(model: "keras.Model", config: TrainConfig) -> "keras.Model":
    """A second model over the same weights, which takes what `examples` makes: what is only of training is not saved.

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
    """The batch's examples, blended as drawn for (seed, epoch, step). `class_weights` is (C,) float32.

    mixup: Zhang et al. 2018, arXiv:1710.09412; cutmix: Yun et al. 2019, arXiv:1905.04899; each with one share a batch.
    """
    pixels = batch.pixels
    targets = np.eye(len(class_weights), dtype=np.float32)[batch.class_indexes]
    if votes is not None:
        targets = votes.in_place_of(targets, batch.image_ids.tolist())
    if config.mixup or config.cutmix:
        draw = np.random.default_rng([config.seed, epoch, step, _BLEND])
        pixels, targets = _blended(pixels, targets, config, draw)
    inputs: Any = pixels
    if batch.draws is not None:
        from fer.training import augment_layer

        inputs = [pixels, augment_layer.packed(batch.draws)]
    return Examples(inputs, targets, targets @ class_weights)


def _blended(
    pixels: np.ndarray, targets: np.ndarray, config: TrainConfig, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Each image with a share of another of the batch: pixels (B, H, W, 1) float32 and targets."""
    other = draw.permutation(len(pixels))
    by_box = draw.random() < (0.5 if config.mixup and config.cutmix else float(config.mixup == 0))
    alpha = config.cutmix if by_box else config.mixup
    kept = draw.beta(alpha, alpha)
    mixed = pixels.astype(np.float32)
    if by_box:
        height, width = pixels.shape[1:3]
        side = math.sqrt(1 - kept)
        top, left = draw.integers(height), draw.integers(width)  # the middle of the box, which the edges cut
        rows = slice(max(0, round(top - side * height / 2)), min(height, round(top + side * height / 2)))
        columns = slice(max(0, round(left - side * width / 2)), min(width, round(left + side * width / 2)))
        mixed[:, rows, columns] = pixels[other, rows, columns]
        kept = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    else:
        mixed *= np.float32(kept)
        mixed += np.float32(1 - kept) * pixels[other]
    return mixed, (kept * targets + (1 - kept) * targets[other]).astype(np.float32)


def state_of(optimizer: "keras.optimizers.Optimizer", n_micro: int) -> list[np.ndarray]:
    """What the optimiser has learned and how many steps it made, between two steps; the same for any micro-batch."""
    from keras import ops

    found = [(each.name, ops.convert_to_numpy(each)) for each in _learned(optimizer)]
    return [value // n_micro if name == _ITERATION else value for name, value in found]


def restore(optimizer: "keras.optimizers.Optimizer", state: list[np.ndarray], n_micro: int) -> None:
    """Put back what `state_of` said, in an optimiser that is built."""
    for variable, value in zip(_learned(optimizer), state, strict=True):
        variable.assign(value * n_micro if variable.name == _ITERATION else value)


def _learned(optimizer: "keras.optimizers.Optimizer") -> list[Any]:
    return [each for each in optimizer.variables if not each.name.endswith(_NO_STATE)]


def seed_layers(model: "keras.Model", seed: int, epoch: int) -> None:
    """Set what dropout and other random layers draw from, by (seed, epoch, layer): Keras restores no seed state."""
    for at, generator in enumerate(_seed_generators(model)):
        drawn = np.random.default_rng([seed, epoch, at]).integers(0, 2**31, 2)
        generator.state.assign(drawn.astype(generator.state.dtype))


def _seed_generators(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _seed_generators(layer)
        elif getattr(layer, "seed_generator", None) is not None:
            yield layer.seed_generator


def batch_sizes(config: TrainConfig, n_images: int, micro_batch: int) -> tuple[int, int]:
    """Images a step, which are all where a split has fewer than a batch; and at once, which divide them.

    Where no number from half of `micro_batch` on divides all of such a split, a few are left out of each epoch.
    """
    batch = min(config.batch_size, n_images)
    most = min(micro_batch, batch)
    fewest = min(most, max((most + 1) // 2, config.model.min_micro_batch))
    at_once = max(range(fewest, most + 1), key=lambda each: (batch - batch % each, each))
    return batch - batch % at_once, at_once
