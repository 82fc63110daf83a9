"""Transfer learning: which layers a phase trains, and whether its batch norms learn."""

import difflib
from typing import TYPE_CHECKING, Literal

from fer import errors

if TYPE_CHECKING:
    import keras

START, HEAD = "start", "head"
_POOLS = ("pool", "flatten")  # the first layer that is no longer the backbone's


def set_trainable(model: "keras.Model", train_from: str, batch_norm: Literal["trained", "frozen"]) -> None:
    """Make the layers from `train_from` on trainable, and no others; `start`: all, `head`: those after the backbone.

    Layers count in the order of `model.layers`. A batch norm that is not trainable also keeps its statistics, which a
    small batch would spoil (Keras: it runs as in inference); with `frozen` all batch norms of the backbone do.
    Raises ConfigError for an unknown layer, or one after which no layer has weights. Compile the model afterwards.
    """
    import keras

    names = [layer.name for layer in model.layers]
    head = _head(model)
    first = {START: 0, HEAD: head}.get(train_from, -1)
    if first < 0:
        if train_from not in names:
            near = difflib.get_close_matches(train_from, names, n=5, cutoff=0.3) or names[:5]
            raise errors.ConfigError(
                "A phase's train_from must be start, head or the name of a layer of the model.",
                received=repr(train_from),
                todo=f"take one such as {', '.join(near)}",
            )
        first = names.index(train_from)
    for at, layer in enumerate(model.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = at >= first and not (is_norm and batch_norm == "frozen" and at < head)
    if not model.trainable_weights:
        raise errors.ConfigError(
            "A phase must train a layer that has weights.",
            received=f"train_from {train_from}, from which on no layer has",
            todo="take an earlier layer, or head",
        )


def _head(model: "keras.Model") -> int:
    """The first layer after the backbone; where what classifies comes before the pool, that layer."""
    pool = next(at for at, layer in enumerate(model.layers) if layer.name in _POOLS)
    if any(layer.weights for layer in model.layers[pool:]):
        return pool
    return max(at for at, layer in enumerate(model.layers[:pool]) if layer.weights)
