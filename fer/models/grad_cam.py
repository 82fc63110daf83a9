"""Where a network looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), of any network with a convolution.

The feature maps of the last convolution, weighed by the gradient of a class's score in them, added up; what is
negative, and so speaks for other classes, counts as 0. The gradient is taken place by place (HiResCAM, Draelos & Carin
2020, arXiv:2011.08891): where a network ends in a mean over all places it is the same as Grad-CAM's mean gradient of a
map, and where a dense layer looks at each place, as in `sequential-cnn`, that mean says little. The score is what goes
into the softmax, whose own gradient vanishes where a model is sure. Gradients are those of a weight that is added to
the maps, by one step of plain gradient descent: so any Keras backend does.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

_LEAST = 1e-7  # of a probability whose logarithm stands for a score


class GradCam:
    """The maps of one model, for batches of `batch_size` images; `layer` is the name of the layer whose maps they are.

    Raises ValueError for a model that `feature_layer` finds nothing in.
    """

    def __init__(self, model: "keras.Model", batch_size: int):
        import keras

        target = feature_layer(model)
        if target is None:
            raise ValueError(f"A model must have a convolution of more than one place. Received: {model.name}.")
        self.layer = target
        self._batch_size = batch_size
        inputs, features, scores = _graph(model, target)
        self._n_classes = int(scores.shape[-1])
        self._to_features = keras.Model(inputs, features)
        self._probe = _probe(keras.Model(features, scores), batch_size)
        self.height, self.width = (int(side) for side in features.shape[1:3])

    def heat(self, pixels: np.ndarray, class_indexes: np.ndarray) -> np.ndarray:
        """(N, height, width) float32 of 0 to 1, for (N, H, W, 1) uint8 `pixels`: where the class of each image is seen.

        The warmest place of an image has 1; an image in which nothing speaks for its class has 0 all over.
        """
        maps = np.zeros((len(pixels), self.height, self.width), np.float32)
        for start in range(0, len(pixels), self._batch_size):
            rows = slice(start, start + self._batch_size)
            maps[rows] = self._of_batch(pixels[rows], class_indexes[rows])
        return maps

    def _of_batch(self, pixels: np.ndarray, class_indexes: np.ndarray) -> np.ndarray:
        n_missing = self._batch_size - len(pixels)
        padded = np.concatenate([pixels, np.zeros((n_missing, *pixels.shape[1:]), pixels.dtype)])
        targets = np.eye(self._n_classes, dtype=np.float32)[np.pad(class_indexes, (0, n_missing))]
        features = np.asarray(self._to_features.predict_on_batch(padded), np.float32)
        self._probe.delta.assign(np.zeros(features.shape, np.float32))
        self._probe.train_on_batch(features, targets)
        gradients = np.asarray(self._probe.delta.value, np.float32)
        maps = np.maximum((features * gradients).sum(axis=-1), 0)[: len(pixels)]
        warmest = maps.max(axis=(1, 2), keepdims=True)
        return np.divide(maps, warmest, out=np.zeros_like(maps), where=warmest > 0)


def feature_layer(model: "keras.Model") -> str | None:
    """The name of the layer whose feature maps say where a model looks; None if it has no convolution of more than one
    place.

    It is the last layer with maps of the size that the last convolution has: its norm and activation, or the end of its
    residual block, belong to it; a pool after it would leave fewer places. A model within the model is one layer.
    """
    found = None
    size: tuple[int, ...] = ()
    for layer in model.layers:
        shape = _map_shape(layer)
        if shape is None:
            continue
        if _convolves(layer):
            found, size = layer.name, shape
        elif found is not None and shape == size:
            found = layer.name
    return found


def _map_shape(layer: Any) -> tuple[int, int] | None:
    """Height and width of a layer's only output, if it is of maps of more than one place."""
    import keras

    try:
        output = layer.output
    except (AttributeError, ValueError):  # it is not part of a graph, or has several outputs
        return None
    if not isinstance(output, keras.KerasTensor) or len(output.shape) != 4 or None in output.shape[1:]:
        return None
    height, width = output.shape[1:3]
    return (height, width) if height * width > 1 else None


def _convolves(layer: Any) -> bool:
    from keras import layers

    if hasattr(layer, "layers"):
        return any(_convolves(inner) for inner in layer.layers)
    kinds = (layers.Conv2D, layers.SeparableConv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose)
    return isinstance(layer, kinds)


def _graph(model: "keras.Model", target: str) -> tuple[Any, Any, Any]:
    """A second graph over the same layers: its inputs, the output of `target`, and the scores before the softmax."""
    import keras

    tensors: dict[str, Any] = {}
    last = model.layers[-1]

    def call(layer: Any, *arguments: Any, **named: Any) -> Any:
        tensors[layer.name] = layer(*arguments, **named)
        if layer is last:
            tensors["scores"] = _scores(layer, arguments[0], tensors[layer.name])
        return tensors[layer.name]

    functional = keras.Model(model.inputs, model.outputs)
    again = keras.models.clone_model(functional, clone_function=lambda layer: layer, call_function=call)
    return again.inputs, tensors[target], tensors["scores"]


def _scores(last: Any, given: Any, probabilities: Any) -> Any:
    """What the last layer makes of `given` before its softmax; of another last layer the logarithm of what it says."""
    import keras

    is_softmax = getattr(last, "activation", None) is keras.activations.softmax
    if isinstance(last, keras.layers.Softmax) or (is_softmax and isinstance(last, keras.layers.Activation)):
        return given
    if is_softmax and isinstance(last, keras.layers.Dense):
        linear = keras.layers.Dense(last.units, use_bias=last.use_bias, dtype="float32", name="scores")
        scores = linear(given)
        linear.set_weights(last.get_weights())
        return scores
    return keras.ops.log(keras.ops.maximum(probabilities, _LEAST))


def _probe(to_scores: "keras.Model", batch_size: int) -> Any:
    """A model from feature maps to scores whose one weight, `delta`, is added to the maps.

    A step on (maps, targets) from 0 leaves in it the gradient of the targets' scores, over the number of images.
    """
    import keras

    class Probe(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.to_scores = to_scores
            self.to_scores.trainable = False
            self.delta = self.add_weight(shape=(batch_size, *to_scores.input_shape[1:]), initializer="zeros")

        def call(self, features: Any) -> Any:
            return self.to_scores(features + self.delta, training=False)

    def loss(targets: Any, scores: Any) -> Any:
        return -keras.ops.sum(targets * scores, axis=-1)

    probe = Probe()
    compiled = keras.config.backend() == "jax"  # where Keras would run each operation by itself
    probe.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss, jit_compile=compiled)
    return probe
