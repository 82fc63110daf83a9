"""A `.keras` file from elsewhere: what loading it would take is told from its headers and its configuration.

Keras builds whatever the configuration names before it looks at the weights: a layer of three million units takes
gigabytes. So the archive, the configuration and the headers of the weights are looked at first; then the layers are
laid out without values, and must need the weights that are there.
"""

import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fer import limits, plain_text
from fer.models import weights_file

if TYPE_CHECKING:
    import keras

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = {CONFIG, WEIGHTS, "metadata.json"}
_LOCAL_HEADER = struct.Struct("<26xHH")
_MAX_DEPTH = 64  # of the configuration: a model within a model within a model has some 40
_MAX_IN_SEQUENCE = 200  # Keras makes a sequential model anew for each of its layers: 400 take half a minute
_MOST_AT_ONCE = 256
_PIXELS_AT_ONCE = 2**20  # 20 images of 224x224, of which ResNet50 makes 64 MB in its first layer
_SMALL_WEIGHTS = 100_000  # numbers that a model may have beside those that its layers learn: states, an optimizer's
_OPTIMIZER_TIMES = 4  # an optimizer keeps up to three numbers a weight

# The modules of Keras that the configuration of a model may name, and what in them runs or reads something else.
_MODULES = frozenset(
    ("keras", *(f"keras.{name}" for name in ("layers", "models", "initializers", "regularizers", "constraints")))
) | {"keras.activations", "keras.src.models.functional", "keras.src.models.sequential", "keras.src.models.model"}
_NOT_LOADED = frozenset(
    (
        *("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "Pipeline"),
        *("StringLookup", "IntegerLookup", "TextVectorization", "FeatureSpace"),
    )
)
_NOT_BUILT = ("compile_config", "build_config")  # parts that loading without compiling leaves alone


class Contents(NamedTuple):
    """The configuration of a model, and how many numbers its weights are."""

    configuration: dict[str, Any]
    n_values: int


def read(path: Path) -> Contents:
    """What the file says of its model; no weight is read and nothing of it is run.

    Raises IntegrityError beyond the limits or for what Keras's safe mode must not load; what zipfile, h5py and json
    raise for damaged bytes.
    """
    limit = limits.current().model_bytes
    size_bytes = path.stat().st_size
    if size_bytes > limit:
        raise weights_file.refused(f"at most {limit:,} bytes", f"{size_bytes:,} in {path}", "model_bytes")
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = {entry.filename: entry for entry in archive.infolist()}
        if len(members) != len(archive.infolist()) or not {CONFIG, WEIGHTS} <= members.keys() <= _MEMBERS:
            names = ", ".join(plain_text.visible(name[:80]) for name in sorted(members)[:5])
            raise weights_file.refused(f"the files {', '.join(sorted(_MEMBERS))}, each once", f"{names} in {path}")
        for name, entry in members.items():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                received = f"{name} of {entry.file_size:,} bytes packed into {entry.compress_size:,} in {path}"
                raise weights_file.refused("files that are stored as they are, as Keras writes them", received)
        configuration = parsed(archive.read(CONFIG), members[CONFIG].file_size, path)
        window = _Window(file, _start(file, members[WEIGHTS]), members[WEIGHTS].file_size)
        return Contents(configuration, weights_file.n_values(io.BufferedReader(window), path))


def foreign(configuration: Any) -> Iterator[str]:
    """The names of what must not be loaded again, of a model as Keras serialises it: code, and what reads files."""
    waiting = [configuration]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            module, name = value.get("module"), value.get("class_name")
            if name in _NOT_LOADED:
                yield str(name)
            elif module is not None and name is not None:
                registered = value.get("registered_name")
                if module not in _MODULES or registered not in (None, name):
                    yield str(registered or f"{module}.{name}")
            value = [item for key, item in value.items() if key not in _NOT_BUILT]
        if isinstance(value, list | tuple):
            waiting += value


def images_at_once(height: int, width: int) -> int:
    """How many images of this size are scored at once: fewer of large ones, so that memory stays small."""
    return max(1, min(_MOST_AT_ONCE, _PIXELS_AT_ONCE // (height * width)))


def require_layers(
    contents: Contents, path: Path, lay_out: "Callable[[dict[str, Any]], keras.Model] | None" = None
) -> None:
    """Lay the model's layers out without values; raise IntegrityError unless they need the weights that are there.

    Raises it too where images that are scored at once would take more memory, or one of them more operations, than the
    limits allow; what Keras raises for a configuration that is no model's. `lay_out` makes a model of a configuration
    of another form than Keras 3 writes.
    """
    import keras

    # Its variables get their values when the next such scope ends, so it must be clear by then how many they are.
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = (lay_out or _laid_out)(contents.configuration)
            n_needed = sum(math.prod(variable.shape) for variable in model.variables)
            _require_weights(n_needed, contents.n_values, path)
            _require_work(model, path)
    except BaseException:
        keras.backend.clear_session()
        raise


def _laid_out(configuration: dict[str, Any]) -> "keras.Model":
    """The model of a configuration. One of layers in sequence is made at once: Keras would make it anew for each."""
    import keras

    if configuration.get("class_name") != "Sequential":
        return keras.saving.deserialize_keras_object(configuration, safe_mode=True)
    first, *others = configuration["config"]["layers"]
    outputs = inputs = keras.Input(batch_shape=first["config"]["batch_shape"])
    for layer in others:
        outputs = keras.saving.deserialize_keras_object(layer, safe_mode=True)(outputs)
    return keras.Model(inputs, outputs)


def _require_weights(n_needed: int, n_values: int, path: Path) -> None:
    if not n_needed - _SMALL_WEIGHTS <= n_values <= _OPTIMIZER_TIMES * n_needed + _SMALL_WEIGHTS:
        received = f"{n_values:,} numbers for layers that need {n_needed:,} in {path}"
        raise weights_file.refused("as many numbers as its layers need", received)


def _require_work(model: "keras.Model", path: Path) -> None:
    current = limits.current()
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or not all(shape[1:3]):
        raise weights_file.refused("layers for images (N, height, width, 1)", f"an input of {shape} in {path}")
    if not isinstance(model.output_shape, tuple) or len(model.output_shape) != 2:
        received = f"an output of {model.output_shape} in {path}"
        raise weights_file.refused("layers that end in one value a class", received)
    batch_size = images_at_once(*shape[1:3])
    layers = list(_layers(model))
    if len(layers) > current.model_layers:
        received = f"{len(layers):,} in {path}"
        raise weights_file.refused(f"at most {current.model_layers:,} layers", received, "model_layers")
    n_operations = 0
    for layer in layers:
        shape = _output_shape(layer)
        n_bytes = 4 * batch_size * math.prod(shape)
        if n_bytes > current.model_output_bytes:
            must_have = (
                f"layers whose output for {batch_size:,} images has at most {current.model_output_bytes:,} bytes"
            )
            received = f"{n_bytes:,} of {plain_text.visible(layer.name[:80])!r} in {path}"
            raise weights_file.refused(must_have, received, "model_output_bytes")
        n_operations += sum(math.prod(weight.shape) for weight in layer.weights) * math.prod(shape[:-1])
    if n_operations > current.model_operations:
        must_have = f"layers of at most {current.model_operations:,} operations an image"
        raise weights_file.refused(must_have, f"some {n_operations:,} in {path}", "model_operations")


def _layers(model: "keras.Model") -> "Iterator[keras.Layer]":
    """The layers, that of the input among them, and of models within the model theirs."""
    for layer in model.layers:
        within = getattr(layer, "layers", None)
        if isinstance(within, list):
            yield from _layers(layer)
        else:
            yield layer


def _output_shape(layer: "keras.Layer") -> tuple[int, ...]:
    """The layer's output for one image; an unknown side counts as one, and of several outputs the first counts."""
    try:
        output = layer.output
    except (AttributeError, ValueError):  # it is called several times, or never
        return ()
    while isinstance(output, list | tuple | dict):
        output = next(iter(output.values() if isinstance(output, dict) else output), None)
    return tuple(side or 1 for side in getattr(output, "shape", ())[1:])


def parsed(data: bytes | str, n_bytes: int, path: Path) -> dict[str, Any]:
    """A model's configuration, of JSON. Raises IntegrityError beyond the limits and for what must not be loaded."""
    limit = limits.current().model_configuration_bytes
    if n_bytes > limit:
        received = f"{n_bytes:,} in {path}"
        raise weights_file.refused(f"a {CONFIG} of at most {limit:,} bytes", received, "model_configuration_bytes")
    try:
        configuration = json.loads(data)
    except RecursionError:
        configuration = None
    if not isinstance(configuration, dict) or _depth(configuration) > _MAX_DEPTH:
        raise weights_file.refused(f"a {CONFIG} of a model, at most {_MAX_DEPTH} deep", f"another in {path}")
    _require_few_layers(configuration, path)
    if names := sorted({plain_text.visible(name[:80]) for name in foreign(configuration)}):
        received = f"{', '.join(names[:5])} in {path}"
        raise weights_file.refused("layers of Keras's own that run no other code and read no file", received)
    return configuration


def _require_few_layers(configuration: dict[str, Any], path: Path) -> None:
    limit = limits.current().model_layers
    n_layers = 0
    waiting: list[Any] = [configuration]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            layers = value.get("layers")
            n_layers += len(layers) if isinstance(layers, list) else 0
            if isinstance(layers, list) and "input_layers" not in value and len(layers) > _MAX_IN_SEQUENCE:
                must_have = f"at most {_MAX_IN_SEQUENCE} layers in a sequential model"
                raise weights_file.refused(must_have, f"{len(layers):,} in {path}")
            value = list(value.values())
        if isinstance(value, list):
            waiting += value
    if n_layers > limit:
        raise weights_file.refused(f"at most {limit:,} layers", f"{n_layers:,} in {path}", "model_layers")


def _depth(configuration: Any) -> int:
    depth, level = 0, [configuration]
    while level:
        depth += 1
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    return depth


def _start(file: Any, entry: zipfile.ZipInfo) -> int:
    """Where in the file the bytes of a stored member begin."""
    file.seek(entry.header_offset)
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return int(entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes)


class _Window(io.RawIOBase):
    """A part of a file as a file of its own, read only."""

    def __init__(self, file: Any, start: int, size: int):
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
