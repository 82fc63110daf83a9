"""A whole model from elsewhere, `.keras` or HDF5 of any Keras: read without running anything of it, and wrapped so that
it takes what every model here takes.

What its file doesn't say stands in an InputFormat: the order of its classes, how its pixels are scaled, sometimes its
size. The wrapped model takes grey pixels (N, H, W, 1), 0-255, and ends in probabilities (N, classes).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from fer import errors, plain_text
from fer.models import model_file, saved_model, weights_file

if TYPE_CHECKING:
    import keras

SUFFIXES = (".keras", ".hdf5", ".h5")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})", re.IGNORECASE)
_MOMENTS = re.compile(
    rf"({_NUMBER}(?:,{_NUMBER}){{2}}|{_NUMBER})/({_NUMBER}(?:,{_NUMBER}){{2}}|{_NUMBER})", re.IGNORECASE
)
_PROBED = 4  # images
_TOLERANCE = 1e-3  # of a sum of probabilities
_SCALES_ITSELF = ("Rescaling", "Normalization")
_MUST = "A model's file must be a whole model of Keras's own layers, as model.save() writes it."
_TODO = "save it anew by a current Keras, whole and without layers or functions of your own"


class InputFormat(BaseModel):
    """What a file may not say of its model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...] = Field(min_length=2, description="in the order of the model's outputs")
    height: int | None = Field(default=None, ge=8, le=1_024, description="pixels; None: as the file says")
    width: int | None = Field(default=None, ge=8, le=1_024, description="pixels; None: as the file says")
    scale: str | None = Field(
        default=None,
        description="what grey levels 0 to 255 become: LOW..HIGH, such as 0..1, -1..1 or 0..255, or MEAN/STD in grey "
        "levels, one number or three; None: the model scales them itself",
    )
    outputs: Literal["probabilities", "logits"] = Field(default="probabilities", description="what the model ends in")

    @field_validator("scale")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None:
            _affine(value)
        return value


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of `64` or `48x64`, height first. Raises ConfigError."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip())
    if match is None:
        raise errors.ConfigError(
            "A size must be one number of pixels, or HEIGHTxWIDTH.", received=repr(text), todo="for example --size 64"
        )
    return int(match[1]), int(match[2] or match[1])


def _affine(scale: str) -> tuple[list[float], list[float]]:
    """(factor, offset) by which grey levels become a model's input, one for all channels or one each."""
    if match := _RANGE.fullmatch(scale.replace(" ", "")):
        low, high = float(match[1]), float(match[2])
        if low < high:
            return [(high - low) / 255], [low]
    elif match := _MOMENTS.fullmatch(scale.replace(" ", "")):
        means, stds = ([float(number) for number in group.split(",")] for group in match.groups())
        n = max(len(means), len(stds))
        means, stds = means * (n // len(means)), stds * (n // len(stds))
        if min(stds) > 0:
            return [1 / std for std in stds], [-mean / std for mean, std in zip(means, stds, strict=True)]
    raise ValueError(f"must be LOW..HIGH or MEAN/STD, such as 0..1, -1..1, 0..255 or 127.5/127.5; is {scale!r}")


def load(path: Path, form: InputFormat, name: str) -> "keras.Model":
    """The model of a file, wrapped; `name` is the file's in errors. Nothing of it is run; its layers must be Keras's.

    Raises IntegrityError for a file that is damaged, beyond the limits or holds anything but such a model, ConfigError
    where it does not fit the form or the form lacks something.
    """
    import keras

    with saved_model.damage_as_error(path, _MUST, todo=_TODO):
        contents = _read(path)
        _set_size(contents.configuration, form)
        _require_input(contents.configuration, name)
        lay_out = None if path.suffix == ".keras" else _laid_out
        model_file.require_layers(contents, path, lay_out)
        model = (lay_out or _of_keras_3)(contents.configuration)
        model.load_weights(path)
    saved_model.require_finite(model.get_weights(), str(path))
    n_outputs, n_channels = model.output_shape[-1], model.input_shape[-1]
    if n_outputs != len(form.classes):
        raise errors.ConfigError(
            "A model must have one output a class.",
            received=f"{n_outputs} outputs, {len(form.classes)} classes: {', '.join(form.classes)}",
            todo=f"name its {n_outputs} classes in the order of its outputs: --classes A,B,…",
        )
    height, width = model.input_shape[1:3]
    inputs = keras.Input((height, width, 1), name="pixels")
    pixels = inputs if n_channels == 1 else keras.layers.Concatenate(name="channels")([inputs] * n_channels)
    outputs = model(_scaled(model, pixels, n_channels, form, name))
    if form.outputs == "logits":
        outputs = keras.layers.Softmax(name="probabilities")(outputs)
    wrapped = keras.Model(inputs, outputs)
    _require_probabilities(wrapped, (height, width, 1), name)
    return wrapped


def _scaled(model: "keras.Model", pixels: Any, n_channels: int, form: InputFormat, name: str) -> Any:
    import keras

    if form.scale is None:
        if any(type(layer).__name__ in _SCALES_ITSELF for layer in model.layers[:4]):
            return pixels
        raise errors.ConfigError(
            "How a model's pixels are scaled must be known.",
            received=f"{name}, which does not say",
            todo="say what grey levels 0 to 255 become: --scale 0..1, --scale -1..1, --scale 0..255 if they stay, or "
            "--scale MEAN/STD",
        )
    factors, offsets = _affine(form.scale)
    if len(factors) not in (1, n_channels):
        raise errors.ConfigError(
            "A scale must have one number, or one a channel.",
            received=f"{len(factors)} for {n_channels} channel{'s' * (n_channels != 1)}",
            todo="correct --scale",
        )
    scale, offset = (numbers[0] if len(numbers) == 1 else numbers for numbers in (factors, offsets))
    return keras.layers.Rescaling(scale, offset, name="scaled")(pixels)


def _require_probabilities(model: "keras.Model", shape: tuple[int, ...], name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (_PROBED, *shape), np.uint8)
    values = saved_model.probabilities(model, pixels, _PROBED)
    if values.min() < 0 or np.abs(values.sum(axis=1) - 1).max() > _TOLERANCE:
        raise errors.ConfigError(
            "A model must end in probabilities, which add up to 1.",
            received=f"sums from {values.sum(axis=1).min():.3g} to {values.sum(axis=1).max():.3g} of {name}",
            todo="if it ends in logits, say so: --logits; other outputs can't be judged here",
        )


def _read(path: Path) -> model_file.Contents:
    """The configuration and the number of weights. Raises IntegrityError, and what h5py raises for damaged bytes."""
    if path.suffix == ".keras":
        return model_file.read(path)
    import h5py

    n_values = weights_file.n_values(path, path)
    with h5py.File(path, "r") as opened:
        text = opened.attrs.get("model_config")
    if text is None:
        raise weights_file.refused("the model's layers, not its weights alone", f"no model_config in {path}")
    data = text if isinstance(text, bytes | str) else str(text)
    configuration = model_file.parsed(data, len(data), path)
    if names := sorted(set(_unknown(configuration))):
        received = f"{', '.join(plain_text.visible(name[:80]) for name in names[:5])} in {path}"
        raise weights_file.refused("layers of Keras's own that run no other code and read no file", received)
    return model_file.Contents(configuration, n_values)


def _unknown(configuration: Any) -> Iterator[str]:
    """The names of classes that are none of Keras's layers, initializers, regularizers or constraints: earlier versions
    name no modules.
    """
    import keras

    places = (keras.layers, keras.initializers, keras.regularizers, keras.constraints)
    waiting = [configuration]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            name = None if value.get("module") else value.get("class_name")  # with a module it is looked at before
            is_known = name in ("Model", "Functional", "Sequential") or any(
                isinstance(getattr(place, str(name), None), type) for place in places
            )
            if isinstance(name, str) and not is_known:
                yield name
            value = list(value.values())
        if isinstance(value, list):
            waiting += value


def _laid_out(configuration: dict[str, Any]) -> "keras.Model":
    """The model of a configuration as Keras 1 and 2 write it, whose layers name no modules."""
    import keras

    copy = json.loads(json.dumps(configuration))  # Keras changes what it reads
    config = copy["config"]
    if copy["class_name"] == "Sequential":
        layers = config if isinstance(config, list) else config["layers"]
        shape = layers[0]["config"].pop("batch_input_shape", None)
        if shape is not None:
            first = {"class_name": "InputLayer", "config": {"name": "pixels", "batch_shape": shape}}
            layers = [first, *(layers[1:] if layers[0]["class_name"] == "InputLayer" else layers)]
        config = {"name": "sequential", "layers": layers}
    kind = "Sequential" if copy["class_name"] == "Sequential" else "Model"
    whole = {"module": "keras", "class_name": kind, "registered_name": None, "config": config}
    return keras.saving.deserialize_keras_object(whole, safe_mode=True)


def _of_keras_3(configuration: dict[str, Any]) -> "keras.Model":
    import keras

    return keras.saving.deserialize_keras_object(configuration, safe_mode=True)


def _input_shapes(configuration: dict[str, Any]) -> list[list[Any]]:
    """The shapes of the model's inputs, batch first, as they stand in the configuration; changing one changes it."""
    config = configuration.get("config")
    layers = config if isinstance(config, list) else config.get("layers", []) if isinstance(config, dict) else []
    if configuration.get("class_name") == "Sequential":
        layers = layers[:1]
    shapes = []
    for layer in layers:
        settings = layer.get("config", {}) if isinstance(layer, dict) else {}
        for name in ("batch_shape", "batch_input_shape"):
            if isinstance(settings, dict) and isinstance(settings.get(name), list):
                shapes.append(settings[name])
    return shapes


def _set_size(configuration: dict[str, Any], form: InputFormat) -> None:
    """Put the form's size where the file leaves it open. Raises ConfigError if it says another."""
    for shape in _input_shapes(configuration)[:1]:
        for at, given in ((1, form.height), (2, form.width)):
            if len(shape) == 4 and given is not None:
                if shape[at] not in (None, given):
                    raise errors.ConfigError(
                        "A size must be that of the model's file, if that has one.",
                        received=f"{form.height}x{form.width}, where the file says {shape[1]}x{shape[2]}",
                        todo="leave out --size",
                    )
                shape[at] = given


def _require_input(configuration: dict[str, Any], name: str) -> None:
    shapes = _input_shapes(configuration)
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise errors.ConfigError(
            "A model must have one input, of images (N, height, width, channels).",
            received=f"{len(shapes)} inputs of the shapes {shapes[:3]} in {name}",
            todo="take another model",
        )
    _, height, width, channels = shapes[0]
    if channels not in (1, 3):
        raise errors.ConfigError(
            "A model must take images of one channel or three, channels last.",
            received=f"the input {shapes[0]} in {name}",
            todo="save it with channels last",
        )
    if height is None or width is None:
        raise errors.ConfigError(
            "The size of a model's images must be known.",
            received=f"{name}, which does not say",
            todo="say it in pixels: --size 64, or --size HEIGHTxWIDTH",
        )
