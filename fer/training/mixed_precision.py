"""The model that training steps change: a model's layers in another precision, one kernel for each batch norm.

On TensorFlow, Keras 3 makes a batch norm of a dozen element-wise operations, which at 48x48 take more time than the
convolutions; TensorFlow has it as one. benchmarks/training.py measures what that gains.
"""

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from keras import KerasTensor


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer of (N, H, W, C), with the same weights, whose training is TensorFlow's FusedBatchNormV3."""

    def call(self, inputs: "KerasTensor", training: bool | None = None, mask: Any = None) -> Any:
        """The normalised inputs (N, H, W, C); in training by their own statistics, which the moving ones follow."""
        if not (training and self.trainable):
            return super().call(inputs, training=False, mask=mask)
        import tensorflow as tf

        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma.value),
            offset=tf.convert_to_tensor(self.beta.value),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        for statistic, batch_value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            statistic.assign(statistic * self.momentum + batch_value * (1 - self.momentum))
        return normalised


def mixed_precision_copy(model: keras.Model, precision: str, *, fuse: bool, synchronise: bool = False) -> keras.Model:
    """A model with the layers and weights of `model`, float32, that computes in `precision` (`mixed_bfloat16`).

    Its weights and those of layers that are float32 whatever the policy, as "probabilities", stay float32. With `fuse`,
    which needs TensorFlow, batch norms of images are fused; with `synchronise` they see all replicas' images.
    """

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name != "probabilities":
            config["dtype"] = precision
        kind = type(layer)
        if synchronise and kind is keras.layers.BatchNormalization:
            config["synchronized"] = True
        if fuse and kind is keras.layers.BatchNormalization and len(layer.input.shape) == 4 and layer.scale:
            kind = FusedBatchNormalization
        return kind.from_config(config)

    clone = keras.models.clone_model(model, clone_function=copy)
    clone.set_weights(model.get_weights())
    return clone
