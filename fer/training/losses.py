"""The losses of training: of probabilities against target shares, on any Keras backend."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fer.training.config import TrainConfig

if TYPE_CHECKING:
    import keras

_MIN_PRIOR = 1e-6  # a class's share, for a class without images
_MIN_PROBABILITY = 1e-30  # whose logarithm has a gradient, in float16 times a loss scale too
_MIN_COMPLEMENT = 1e-7  # 1 - p, whose power has a gradient


def loss(config: TrainConfig, priors: np.ndarray) -> "keras.losses.Loss":
    """The loss of probabilities (B, C) against target shares (B, C); `priors` (C,) are the train split's.

    Focal: Lin et al. 2017, arXiv:1708.02002. Logit-adjusted: Menon et al. 2021, arXiv:2007.07314. Both use logarithms:
    Keras' focal loss clips probabilities at 1e-7, and nothing would be learned from what is further off, as rare
    classes with margins are. Keras' plain cross-entropy recovers the logits, on TensorFlow.
    """
    import keras
    from keras import ops

    smoothing = config.label_smoothing
    if config.loss == "cross-entropy":
        return keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    tau = config.logit_tau if config.loss == "logit-adjusted" else 0.0
    margins = (tau * np.log(np.maximum(priors, _MIN_PRIOR))).astype(np.float32)

    class OfLogarithms(keras.losses.Loss):
        """Cross-entropy of p = softmax(logits + tau * log(prior)), times (1 - p)^gamma."""

        def call(self, y_true: Any, y_pred: Any) -> Any:
            shares = y_true * (1 - smoothing) + smoothing / len(priors)
            logs = ops.log_softmax(ops.log(ops.maximum(y_pred, _MIN_PROBABILITY)) + margins)
            if gamma:
                shares = shares * ops.maximum(1 - ops.exp(logs), _MIN_COMPLEMENT) ** gamma
            return -ops.sum(shares * logs, axis=-1)

    return OfLogarithms()
