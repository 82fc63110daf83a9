"""A frozen TensorFlow function as ONNX, in float32 and in 8 bits: the same bytes whenever it is converted.

tf2onnx keeps operations and constants in sets, whose order is that of addresses in memory: what it numbers and the
order in which it writes are drawn anew each time. So a graph is written again from its output, with names by place.
"""

import contextlib
import gc
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer import errors
from fer.engine import arithmetic

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT = "pixels", "probabilities"
_OPSET = 18
_BATCH = 32  # images, whose ranges are looked at together


def converted(function: Any, spec: Any) -> "onnx.ModelProto":
    """The float32 model of a `tf.function` of one input, of the `tf.TensorSpec` `spec`."""
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with collected_often():
            model, _ = tf2onnx.convert.from_function(function, input_signature=[spec], opset=_OPSET)
    return canonical(model)


@contextlib.contextmanager
def collected_often() -> Iterator[None]:
    """Have what is copied within the `with` block, and refers to itself, freed soon after its last use.

    tf2onnx copies the graph with all weights for each of a dozen optimisers. Python, which goes by the number of
    objects, leaves most copies there: 7.1 GB for 94 MB of weights, which are 3.6 GB so.
    """
    before = gc.get_threshold()
    gc.freeze()  # what is there already is not looked through each time
    gc.collect()  # nor counted: all is looked through once a quarter of it is new
    gc.set_threshold(1_000, 5, 1)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def quantised(model: "onnx.ModelProto", pixels: np.ndarray) -> "onnx.ModelProto":
    """The model in 8 bits, by the ranges that its layers have on (N, H, W, 1) float32 `pixels`; softmax stays float32.

    Weights have a scale for each filter. In 8 bits a probability would be a multiple of 1/256, often 0.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = iter(range(0, len(pixels), _BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            start = next(self._batches, None)
            return None if start is None else {INPUT: pixels[start : start + _BATCH]}

    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, simplified, small = (Path(temporary) / name for name in ("model.onnx", "simplified.onnx", "int8.onnx"))
        onnx.save(model, whole)
        shape_inference.quant_pre_process(whole, simplified, skip_symbolic_shape=True)
        softmax = [node.name for node in onnx.load(simplified).graph.node if node.op_type == "Softmax"]
        quantization.quantize_static(
            simplified,
            small,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=softmax,
        )
        return canonical(onnx.load(small))


def canonical(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The same computation, its nodes in the order in which its output needs them, each name told by its place.

    Raises ConfigError for a graph with several inputs or outputs, or with others inside its nodes.
    """
    import onnx

    graph = model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    inputs = [one for one in graph.input if one.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1 or any(_has_graph(node) for node in graph.node):
        raise errors.ConfigError(
            "What is exported to ONNX must be a graph of one input and one output, without loops and branches.",
            received=f"{len(inputs)} inputs, {len(graph.output)} outputs",
            todo='leave it out: --set export.formats=["litert"]',
        )
    made_by = {name: node for node in graph.node for name in node.output}
    names = {"": "", inputs[0].name: INPUT, graph.output[0].name: OUTPUT}
    nodes: list[onnx.NodeProto] = []
    kept: list[onnx.TensorProto] = []
    for node in _in_order(graph.output[0].name, made_by):
        for name in node.input:
            if name in constants and name not in names:
                names[name] = f"constant_{len(kept)}"
                kept.append(constants[name])
        for name in node.output:
            names.setdefault(name, f"tensor_{len(nodes)}" if len(node.output) == 1 else f"tensor_{len(nodes)}_{name}")
        nodes.append(node)
    written = onnx.ModelProto()
    written.CopyFrom(model)
    written.ClearField("metadata_props")
    written.graph.Clear()
    written.graph.name = "model"
    for number, node in enumerate(nodes):
        one = written.graph.node.add()
        one.CopyFrom(node)
        one.name, one.doc_string = f"{node.op_type}_{number}", ""
        one.ClearField("metadata_props")
        one.input[:], one.output[:] = [names[name] for name in node.input], [names[name] for name in node.output]
        one.attribute.sort(key=lambda attribute: attribute.name)
    for constant in kept:
        one = written.graph.initializer.add()
        one.CopyFrom(constant)
        one.name = names[constant.name]
    for part, name, value in ((written.graph.input, INPUT, inputs[0]), (written.graph.output, OUTPUT, graph.output[0])):
        one = part.add()
        one.CopyFrom(value)
        one.name = name
        one.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.checker.check_model(written)
    return written


def _has_graph(node: "onnx.NodeProto") -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _in_order(output: str, made_by: "dict[str, onnx.NodeProto]") -> "Iterator[onnx.NodeProto]":
    """The nodes that `output` needs, each after those that it needs itself: from its first input to its last."""
    done: set[int] = set()
    waiting = [(output, False)]
    while waiting:
        name, is_ready = waiting.pop()
        node = made_by.get(name)
        if node is None or id(node) in done:
            continue
        if is_ready:
            done.add(id(node))
            yield node
        else:
            waiting.append((name, True))
            waiting += [(needed, False) for needed in reversed(node.input)]


def opened(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """What gives the (N, classes) float32 answers of the model in the file `path` to (N, H, W, 1) float32 pixels."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arithmetic.SCORING_THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run(None, {INPUT: pixels})[0])
