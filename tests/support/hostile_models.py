"""Models' files from elsewhere, made without Keras, and what they are refused for.

A whole one is `keras_file()`: two layers that take (8, 8, 1) pixels to three probabilities.
"""

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import h5py
import numpy as np

CLASSES = ("angry", "happy", "sad")
_N_PIXELS = 64


@dataclasses.dataclass(frozen=True)
class Model:
    """A file and what its refusal says; `lays_out`: only once its layers are laid out, which takes Keras."""

    name: str
    make: Callable[[], bytes]
    message: str
    lays_out: bool = False


def layer(kind: str, module: str = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def dense(units: int, **more: Any) -> dict[str, Any]:
    return layer("Dense", name="probabilities", units=units, activation="softmax", **more)


def model(*layers: dict[str, Any], shape: Iterable[int | None] = (None, 8, 8, 1)) -> dict[str, Any]:
    """The configuration of a sequential model."""
    first = layer("InputLayer", batch_shape=list(shape), dtype="float32", name="pixels")
    return layer("Sequential", "keras", name="m", layers=[first, *layers])


def usual() -> dict[str, Any]:
    return model(layer("Flatten", name="flatten"), dense(3))


def weights(arrays: dict[str, np.ndarray] | None = None, also: Callable[[h5py.File], object] | None = None) -> bytes:
    """Weights as Keras writes them; `also` changes the file before it is closed."""
    buffer = io.BytesIO()
    if arrays is None:
        arrays = {"0": np.ones((_N_PIXELS, 3), np.float32), "1": np.zeros(3, np.float32)}
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(f"layers/dense/vars/{name}", data=array)
        file.create_group("layers/flatten/vars")
        if also is not None:
            also(file)
    return buffer.getvalue()


def keras_file(
    configuration: Any = None,
    weights_data: bytes | None = None,
    *,
    more: dict[str, bytes] | None = None,
    left_out: Iterable[str] = (),
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """A `.keras` file of this configuration (JSON, or bytes as they are) and these weights."""
    if not isinstance(configuration, bytes):
        configuration = json.dumps(usual() if configuration is None else configuration).encode()
    members = {
        "metadata.json": b'{"keras_version": "3.15.1", "date_saved": "2026-11-30@00:00:00"}',
        "config.json": configuration,
        "model.weights.h5": weights() if weights_data is None else weights_data,
    } | (more or {})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            if name not in left_out:
                archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def with_value(value: float) -> bytes:
    """A whole model with one weight of this value."""
    kernel = np.ones((_N_PIXELS, 3), np.float32)
    kernel[5, 1] = value
    return keras_file(weights_data=weights({"0": kernel, "1": np.zeros(3, np.float32)}))


def _within(n: int) -> dict[str, Any]:
    """Models within each other."""
    inner = usual()
    for _ in range(n):
        inner = layer("Sequential", "keras", name="m", layers=[inner])
    return inner


def _foreign(kind: str, module: str = "keras.layers", **config: Any) -> Callable[[], bytes]:
    return lambda: keras_file(model(layer("Flatten"), layer(kind, module, **config), dense(3)))


def _linked(link: Any) -> bytes:
    return keras_file(weights_data=weights(also=lambda file: file.__setitem__("layers/dense/vars/2", link)))


def _array(**options: Any) -> Callable[[], bytes]:
    """A file of weights with one more array, made with these options of h5py."""
    return lambda: keras_file(weights_data=weights(also=lambda file: file.create_dataset("more", **options)))


def _of_elsewhere(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((9,), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (9,))
    file.create_virtual_dataset("layers/dense/vars/2", layout)


def _registered() -> bytes:
    configuration = usual()
    configuration["config"]["layers"][1]["registered_name"] = "evil>Layer"
    return keras_file(configuration)


def _lambda() -> dict[str, Any]:
    function = {"class_name": "__lambda__", "config": {"code": "4wAAAAA=", "defaults": None, "closure": None}}
    return layer("Lambda", name="l", function=function)


def _zip_of_zeros() -> bytes:
    """A configuration of 30 MB in 30 KB."""
    compressor = zlib.compressobj(9, wbits=-15)
    block = b" " * 2**20
    packed = b"".join(compressor.compress(block) for _ in range(30)) + compressor.flush()
    data = bytearray(keras_file(packed))
    size = len(packed).to_bytes(4, "little")
    real = (30 * 2**20).to_bytes(4, "little")
    for mark, method_at, size_at in ((b"PK\x03\x04", 8, 18), (b"PK\x01\x02", 10, 20)):
        at = data.index(b"config.json", data.index(mark)) - (30 if mark == b"PK\x03\x04" else 46)
        assert bytes(data[at + size_at : at + size_at + 4]) == size
        data[at + method_at : at + method_at + 2] = b"\x08\0"
        data[at + size_at + 4 : at + size_at + 8] = real
    return bytes(data)


_MUST = "whole Keras model"
_STORED = "stored as they are"
_OWN = "Keras's own that run no other code"
_NEEDED = "as many numbers as its layers need"

MODELS = (
    Model("model-no-bytes", lambda: b"", _MUST),
    Model("model-words", lambda: b"not found\n", _MUST),
    Model("model-pickle", lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.", _MUST),
    Model("model-h5-as-keras", weights, _MUST),
    Model("model-cut", lambda: keras_file()[: len(keras_file()) // 2], _MUST),
    Model("model-without-last-byte", lambda: keras_file()[:-1], _MUST),
    Model("model-without-configuration", lambda: keras_file(left_out=("config.json",)), "the files config.json"),
    Model("model-without-weights", lambda: keras_file(left_out=("model.weights.h5",)), "the files config.json"),
    Model("model-with-a-script", lambda: keras_file(more={"assets/run.py": b"x"}), "the files config.json"),
    Model("model-leading-out", lambda: keras_file(more={"../escaped": b"x"}), "the files config.json"),
    Model("model-of-numpy-weights", lambda: keras_file(more={"model.weights.npz": b"x"}), "the files config.json"),
    Model("model-deflated", lambda: keras_file(method=zipfile.ZIP_DEFLATED), _STORED),
    Model("model-bzip2", lambda: keras_file(method=zipfile.ZIP_BZIP2), _STORED),
    Model("model-configuration-bomb", _zip_of_zeros, _STORED),
    Model("model-configuration-large", lambda: keras_file(b" " * (5 << 20)), "config.json of at most 4,194,304 bytes"),
    Model("model-configuration-empty", lambda: keras_file(b""), _MUST),
    Model("model-configuration-words", lambda: keras_file(b"words"), _MUST),
    Model("model-configuration-not-utf-8", lambda: keras_file(b'{"\xff": 1}'), _MUST),
    Model("model-configuration-list", lambda: keras_file(b"[]"), "config.json of a model"),
    Model("model-configuration-null", lambda: keras_file(b"null"), "config.json of a model"),
    Model("model-configuration-of-brackets", lambda: keras_file(b"[" * 100_000), "at most 64 deep"),
    Model("model-configuration-deep", lambda: keras_file(b'{"a":' * 200 + b"1" + b"}" * 200), "at most 64 deep"),
    Model("model-within-models", lambda: keras_file(_within(40)), "at most 64 deep"),
    Model("model-huge-number", lambda: keras_file(b'{"a": ' + b"9" * 5_000 + b"}"), _MUST),
    Model("model-lambda", lambda: keras_file(model(layer("Flatten"), _lambda(), dense(3))), _OWN),
    Model("model-torch", _foreign("TorchModuleWrapper", module="x"), _OWN),
    Model("model-torch-module", _foreign("Linear", "torch.nn"), r"torch\.nn\.Linear"),
    Model("model-jax", _foreign("JaxLayer"), _OWN),
    Model("model-saved-model", _foreign("TFSMLayer", filepath="/etc"), _OWN),
    Model("model-vocabulary-file", _foreign("StringLookup", vocabulary="/etc/passwd"), _OWN),
    Model("model-os", _foreign("system", "os"), r"os\.system"),
    Model("model-builtins", _foreign("eval", "builtins"), r"builtins\.eval"),
    Model("model-subprocess", _foreign("Popen", "subprocess", args=["true"]), r"subprocess\.Popen"),
    Model("model-keras-utilities", _foreign("get_file", "keras.utils", origin="http://127.0.0.1"), r"get_file"),
    Model("model-other-package", _foreign("Layer", "keras_hub.layers"), "keras_hub"),
    Model("model-relative-module", _foreign("Layer", "..fer"), _OWN),
    Model("model-registered", _registered, "evil>Layer"),
    Model("model-name-of-controls", _foreign("\x1b[2J\u202e", "evil"), r"evil\.\\u001b\[2J\\u202e"),
    Model("model-initializer-elsewhere", lambda: keras_file(
        model(layer("Flatten"), dense(3, kernel_initializer=layer("x", "evil")))), r"evil\.x"),
    Model("weights-no-bytes", lambda: keras_file(weights_data=b""), _MUST),
    Model("weights-words", lambda: keras_file(weights_data=b"words"), _MUST),
    Model("weights-cut", lambda: keras_file(weights_data=weights()[:900]), _MUST),
    Model("weights-linked-outside", lambda: _linked(h5py.ExternalLink("/etc/passwd", "x")), "no links"),
    Model("weights-linked-within", lambda: _linked(h5py.SoftLink("/layers/dense/vars/0")), "no links"),
    Model("weights-of-another-file", _array(shape=(9,), dtype="f4", external=[("/etc/passwd", 0, 36)]),
          "arrays of their own file"),
    Model("weights-virtual", lambda: keras_file(weights_data=weights(also=_of_elsewhere)), "arrays of their own file"),
    Model("weights-of-objects", _array(data=["words"], dtype=h5py.string_dtype()), "arrays of numbers"),
    Model("weights-of-references", _array(shape=(9,), dtype=h5py.ref_dtype), "arrays of numbers"),
    Model("weights-never-written", _array(shape=(2**28,), dtype="f4"), "at most 1,073,741,824 bytes|as large as"),
    Model("weights-of-petabytes", _array(shape=(2**50,), dtype="f4", chunks=(2**20,)), "at most 1,073,741,824 bytes"),
    Model("weights-sparse", _array(shape=(2**24,), dtype="f4", chunks=(2**16,)), "as large as the file says"),
    Model("weights-compressed", _array(data=np.zeros(2**22, np.float32), compression="gzip"),
          "as large as the file says"),
    Model("weights-of-nothing", lambda: keras_file(weights_data=weights({})), _MUST, lays_out=True),
    Model("model-units-of-millions", lambda: keras_file(model(layer("Flatten"), dense(3_000_000))), _NEEDED,
          lays_out=True),
    Model("model-units-of-billions", lambda: keras_file(model(layer("Flatten"), dense(2**31 - 1))), _NEEDED,
          lays_out=True),
    Model("model-units-negative", lambda: keras_file(model(layer("Flatten"), dense(-3))), _MUST, lays_out=True),
    Model("model-units-of-words", lambda: keras_file(model(layer("Flatten"), dense("many"))), _MUST, lays_out=True),
    Model("model-embedding", lambda: keras_file(
        model(layer("Flatten"), layer("Embedding", input_dim=10**9, output_dim=9))), _NEEDED, lays_out=True),
    Model("model-enlarging", lambda: keras_file(
        model(layer("UpSampling2D", name="u", size=[1_000, 1_000]), layer("GlobalAveragePooling2D"), dense(3))),
        "output for 256 images", lays_out=True),
    Model("model-of-operations", lambda: keras_file(
        model(layer("Conv2D", name="c", filters=64, kernel_size=[7, 7], padding="same"),
              layer("Conv2D", name="d", filters=256, kernel_size=[51, 51], padding="same"),
              layer("GlobalAveragePooling2D", name="pool"), dense(3), shape=(None, 64, 64, 1)),
        weights({"0": np.zeros((51, 51, 64, 256), np.float32)})), "operations an image", lays_out=True),
    Model("model-of-giant-pictures", lambda: keras_file(model(layer("GlobalAveragePooling2D"), dense(3),
                                                              shape=(None, 2**20, 2**20, 1))),
          "output for 1 images", lays_out=True),
    Model("model-of-texts", lambda: keras_file(model(dense(3), shape=(None, 64))), "height, width, 1", lays_out=True),
    Model("model-of-any-size", lambda: keras_file(
        model(layer("GlobalAveragePooling2D"), dense(3), shape=(None, None, None, 1))), "height, width, 1",
        lays_out=True),
    Model("model-without-layers", lambda: keras_file(model()), "one value a class", lays_out=True),
    Model("model-of-unknown-layer", lambda: keras_file(model(layer("NoSuchLayer"))), _MUST, lays_out=True),
    Model("model-of-many-layers-in-sequence", lambda: keras_file(
        model(*(layer("ReLU", name=f"r{n}") for n in range(300)), layer("Flatten"), dense(3))),
        "at most 200 layers in a sequential model"),
    Model("model-of-many-layers", lambda: keras_file(
        model(*(model(*(layer("ReLU") for _ in range(150))) for _ in range(9)))), "at most 1,000 layers"),
)  # fmt: skip
