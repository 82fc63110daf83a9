"""The optimizer of training, and its state between two steps, for checkpoints."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fer.training.config import TrainConfig

if TYPE_CHECKING:
    import keras

_ITERATION = "iteration"
# Optimizer variables that are set anew at each step, or are 0 between two.
_ACCUMULATOR = "gradient_accumulator"
_NO_STATE = ("learning_rate", _ACCUMULATOR)


def adamw(config: TrainConfig, n_micro: int = 1) -> "keras.optimizers.Optimizer":
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), which decays kernels only.

    `n_micro` is the number of micro-batches per step.
    """
    import keras

    steps = n_micro if n_micro > 1 else None
    optimizer = keras.optimizers.AdamW(
        config.learning_rate, weight_decay=config.weight_decay, gradient_accumulation_steps=steps
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if config.precision == "mixed-float16":  # whose small gradients are 0 unless the loss is scaled up
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def drop_partial_batch(optimizer: "keras.optimizers.Optimizer", n_micro: int) -> None:
    """Between two batches: forget the gradients of a batch of which a micro-batch was left out because it overflowed.

    So the batch is left out as it is without micro-batches; else the optimizer would count on from its middle.
    """
    variables = getattr(optimizer, "inner_optimizer", optimizer).variables  # a loss scale's own counts nothing
    counter = next(variable for variable in variables if variable.name == _ITERATION)
    n_counted = int(counter) % n_micro
    if n_counted:
        counter.assign(int(counter) - n_counted)
        for variable in variables:
            if variable.name.endswith(_ACCUMULATOR):
                variable.assign(np.zeros(variable.shape, variable.dtype))


def state(optimizer: "keras.optimizers.Optimizer", n_micro: int) -> list[np.ndarray]:
    """The optimizer's learned variables and its number of steps, between two steps; the same for any micro-batch."""
    from keras import ops

    values = [(variable.name, ops.convert_to_numpy(variable)) for variable in _state_variables(optimizer)]
    return [value // n_micro if name == _ITERATION else value for name, value in values]


def restore(optimizer: "keras.optimizers.Optimizer", values: list[np.ndarray], n_micro: int) -> None:
    """Put `values`, which `state` returned, into an optimizer that is built."""
    for variable, value in zip(_state_variables(optimizer), values, strict=True):
        variable.assign(value * n_micro if variable.name == _ITERATION else value)


def _state_variables(optimizer: "keras.optimizers.Optimizer") -> list[Any]:
    return [variable for variable in optimizer.variables if not variable.name.endswith(_NO_STATE)]
