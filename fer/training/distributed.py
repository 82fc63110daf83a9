"""Training on several GPUs of a machine, or on several machines, by TensorFlow's own strategies.

Each replica takes its part of a global batch; losses and gradients are means over the whole, and batch norms see the
statistics of the whole, so that the weights are those of one process on the same batches except for rounding, and for
dropout, which every replica draws for itself. Keras 3's `fit` fails under several workers, so the step is written out.

Several machines are named by TF_CONFIG, as Kubernetes' TFJob and others set it. Every worker reads all images, makes
the same batches and takes its part of each.
"""

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fer import errors
from fer.training import losses, optimizers
from fer.training import trainer as trainers
from fer.training.config import TrainConfig

if TYPE_CHECKING:
    import keras


def strategy(config: TrainConfig) -> Any:
    """The tf.distribute strategy that `config.devices` means; None for one device.

    Make it before anything else is made with TensorFlow. Raises ConfigError.
    """
    if config.devices == "one":
        return None
    import keras

    if keras.config.backend() != "tensorflow":
        raise errors.ConfigError(
            "train.devices must be one unless the backend is TensorFlow, whose strategies the others are.",
            received=f"{config.devices} with {keras.config.backend()}",
            todo="unset KERAS_BACKEND, or set train.devices to one",
        )
    import tensorflow as tf

    if config.devices == "all":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if "worker" not in _cluster():
        raise errors.ConfigError(
            "Several workers must be named by TF_CONFIG.",
            received=repr(os.environ.get("TF_CONFIG", "")),
            todo='set it on each to {"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}',
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _cluster() -> dict[str, Any]:
    try:
        return dict(json.loads(os.environ.get("TF_CONFIG", ""))["cluster"])
    except (ValueError, LookupError, TypeError):
        return {}


def scope(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """Within it, the model whose weights the steps change is made."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def gather(strategy: Any, number: int) -> list[int]:
    """The number that each replica's process gives, the same list for all of them."""
    import tensorflow as tf

    def gathered() -> Any:
        return tf.distribute.get_replica_context().all_gather(tf.constant([number]), axis=0)

    results = strategy.experimental_local_results(strategy.run(tf.function(gathered)))
    numbers: list[int] = results[0].numpy().tolist()
    return numbers


class StrategyTrainer:
    """Steps of all replicas of a strategy at once. Every batch has `batch_size` images, as many for each replica."""

    def __init__(
        self, model: "keras.Model", config: TrainConfig, priors: np.ndarray, *, batch_size: int, strategy: Any
    ):
        self._strategy = strategy
        self._batch_size = batch_size
        if batch_size % strategy.num_replicas_in_sync:
            raise errors.ConfigError(
                "A batch must be a multiple of the replicas that share it.",
                received=f"{batch_size} images, {strategy.num_replicas_in_sync} replicas",
                todo="change train.batch_size",
            )
        with strategy.scope():
            self.model = trainers.training_model(model, config)
            self.optimizer = optimizers.adamw(config)
            self.optimizer.build(self.model.trainable_variables)
        self._loss = losses.loss(config, priors)
        self._run = self._compiled(config)

    def step(self, inputs: Any, targets: np.ndarray, weights: np.ndarray, learning_rate: float) -> trainers.StepResult:
        """Change the weights by one batch, of which each replica takes its part."""
        self.optimizer.learning_rate = learning_rate
        batch = [*(inputs if isinstance(inputs, list) else [inputs]), targets, weights]
        loss, n_right = self._run([self._split(values) for values in batch])
        return trainers.StepResult(float(loss), float(n_right) / self._batch_size)

    def _split(self, values: np.ndarray) -> Any:
        """Each replica's part of the rows."""
        share = self._batch_size // self._strategy.num_replicas_in_sync

        def part(context: Any) -> np.ndarray:
            first = context.replica_id_in_sync_group * share
            return values[first : first + share]

        return self._strategy.experimental_distribute_values_from_function(part)

    def _compiled(self, config: TrainConfig) -> Any:
        import tensorflow as tf

        def one_replica(part: list[Any]) -> tuple[Any, Any]:
            *inputs, targets, weights = part
            with tf.GradientTape() as tape:
                probabilities = self.model(inputs if len(inputs) > 1 else inputs[0], training=True)
                loss = tf.reduce_sum(self._loss.call(targets, probabilities) * weights) / self._batch_size
                scaled = self.optimizer.scale_loss(loss)
            variables = self.model.trainable_variables
            gradients = tape.gradient(scaled, [variable.value for variable in variables])
            self.optimizer.apply(gradients, variables)  # which sums them over the replicas
            is_right = tf.argmax(probabilities, axis=-1) == tf.argmax(targets, axis=-1)
            return loss, tf.reduce_sum(tf.cast(is_right, tf.float32))

        @tf.function(jit_compile=config.xla)
        def run(batch: list[Any]) -> tuple[Any, Any]:
            results = self._strategy.run(one_replica, args=(batch,))
            return tuple(self._strategy.reduce("SUM", result, axis=None) for result in results)

        return run
