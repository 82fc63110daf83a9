"""Starting weights: from a file to the layers of a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data_contracts import files
from fer import errors
from fer.models import saved_model, weights_file, zoo
from fer.models.config import ModelConfig

if TYPE_CHECKING:
    import keras


class Loaded(NamedTuple):
    """How many layers took their weights from a file, and the names of those with weights that did not."""

    n_layers: int
    not_loaded: tuple[str, ...]


def load_into(model: "keras.Model", config: ModelConfig, path: Path) -> Loaded:
    """Load the weights in `path` into the layers of `model` with the same names and shapes.

    Slightly negative variances, which conversions from other frameworks leave, become 0 with scales that compensate, so
    that the batch norms compute as before and can be trained. Raises IntegrityError for a file without such weights,
    with none that fit or with some that are not finite, and for one beyond the limits.
    """
    source = _read(config, path, model)
    source_layers = {layer.name: layer for layer in source.layers}
    n_layers, not_loaded = 0, []
    for layer in model.layers:
        if not layer.weights:
            continue
        weights = source_layers[layer.name].get_weights() if layer.name in source_layers else []
        if [array.shape for array in weights] != [tuple(variable.shape) for variable in layer.weights]:
            not_loaded.append(layer.name)
            continue
        saved_model.require_finite(weights, f"the layer {layer.name!r} of {path}")
        layer.set_weights(_without_negative_variances(layer, weights))
        n_layers += 1
    if n_layers == 0:
        raise errors.IntegrityError(
            "Starting weights must fit some layers of the model.",
            received=f"none of {path.name} that fit {config.name}",
            todo="check train.weights and train.model",
        )
    return Loaded(n_layers, tuple(not_loaded))


def _read(config: ModelConfig, path: Path, model: "keras.Model") -> "keras.Model":
    """A model with the file's weights."""
    import keras

    if path.name == files.MODEL:
        return saved_model.load(path.parent)
    backbone = getattr(zoo.module_of(config), "backbone_for_weights", None)
    source: keras.Model = keras.models.clone_model(model) if backbone is None else backbone(config)
    must = f"Starting weights must be those of {config.name} without its top, in one of Keras' forms."
    with saved_model.damage_as_error(path, must, todo="check train.weights and train.model"):
        weights_file.n_values(path, path)
        source.load_weights(path)
    return source


def _without_negative_variances(layer: Any, weights: list[np.ndarray]) -> list[np.ndarray]:
    """A conversion from a framework whose norms have a smaller epsilon takes the difference off the variances."""
    import keras

    if not isinstance(layer, keras.layers.BatchNormalization):
        return weights
    *others, variance = weights
    negative = (variance < 0) & (variance + layer.epsilon > 0)
    if layer.scale:
        gamma = others[0]
        gamma[negative] *= np.sqrt(layer.epsilon / (variance[negative] + layer.epsilon))
    return [*others, np.maximum(variance, 0)]
