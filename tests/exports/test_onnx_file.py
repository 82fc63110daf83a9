import gc
import weakref

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from fer import errors
from fer.exports import onnx_file


def graph(order, names):
    """relu(x · w) + mean over x · v: a model whose 5 nodes stand in this order and whose tensors have these names."""
    w, v = (
        numpy_helper.from_array(np.random.default_rng(n).normal(0, 1, (4, 3)).astype(np.float32), names[n])
        for n in (0, 1)
    )
    nodes = [
        helper.make_node("MatMul", ["x", names[0]], [names[2]], names[7]),
        helper.make_node("Relu", [names[2]], [names[3]]),
        helper.make_node("MatMul", ["x", names[1]], [names[4]]),
        helper.make_node("ReduceMean", [names[4]], [names[5]], keepdims=1, axes=[1]),
        helper.make_node("Add", [names[3], names[5]], [names[6]]),
    ]
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["unk__7", 4])]
    outputs = [helper.make_tensor_value_info(names[6], onnx.TensorProto.FLOAT, [names[7], 3])]
    constants = [w, v] if order[0] % 2 else [v, w]
    made = helper.make_graph([nodes[place] for place in order], names[7], inputs, outputs, constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


IN_ORDER = graph(range(5), "abcdefgh")


@given(
    order=st.permutations(range(5)),
    names=st.lists(st.text("abcdefg/:_1234567", min_size=1, max_size=12), min_size=8, max_size=8, unique=True),
)
def test_the_same_computation_is_the_same_bytes_however_it_is_written(order, names):
    written = onnx_file.canonical(graph(order, [f"{name}." for name in names]))
    assert written.SerializeToString(deterministic=True) == onnx_file.canonical(IN_ORDER).SerializeToString(
        deterministic=True
    )


def test_it_computes_what_it_did_under_the_agreed_names(tmp_path):
    x = np.random.default_rng(7).normal(0, 1, (5, 4)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(IN_ORDER.SerializeToString()).run(None, {"x": x})
    path = tmp_path / "model.onnx"
    onnx.save(onnx_file.canonical(IN_ORDER), path)
    assert np.array_equal(onnx_file.opened(path)(x), expected)
    session = onnxruntime.InferenceSession(path)
    assert [(one.name, one.shape) for one in (*session.get_inputs(), *session.get_outputs())] == [
        ("pixels", ["N", 4]),
        ("probabilities", ["N", 3]),
    ]


def test_nodes_that_the_output_does_not_need_are_left_out():
    more = onnx.ModelProto()
    more.CopyFrom(IN_ORDER)
    more.graph.node.append(helper.make_node("Relu", ["c"], ["unused"]))
    assert onnx_file.canonical(more) == onnx_file.canonical(IN_ORDER)


def test_a_graph_of_several_outputs_is_refused():
    two = onnx.ModelProto()
    two.CopyFrom(IN_ORDER)
    two.graph.output.append(helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, ["N", 3]))
    with pytest.raises(errors.ConfigError, match="1 inputs, 2 outputs"):
        onnx_file.canonical(two)


class Copied:
    """A graph that its nodes refer to, as tf2onnx copies it."""

    def __init__(self, _):
        self.nodes = [[self, number] for number in range(5_000)]


def test_copies_of_a_graph_are_freed_soon_after_their_last_use():
    beside = [[number] for number in range(300_000)]  # as many objects as TensorFlow brings, by which Python is slower
    gc.collect()
    before, alive, most, graph = gc.get_threshold(), weakref.WeakSet(), 0, None
    with onnx_file.collected_often():
        for _ in range(60):
            graph = Copied(graph)
            alive.add(graph)
            most = max(most, len(alive))
    assert beside
    assert most < 10  # 20 without
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
