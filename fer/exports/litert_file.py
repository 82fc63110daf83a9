"""A frozen TensorFlow function as LiteRT, in float32 and in 8 bits."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fer.engine import arithmetic


def frozen(traced: Any) -> Any:
    """A `tf.function` as a concrete function with its variables' values as constants.

    Through a SavedModel, as Keras exports, the same takes ten times as long, and each format again.
    """
    from tensorflow.python.framework import convert_to_constants

    return convert_to_constants.convert_variables_to_constants_v2(traced.get_concrete_function())


def converted(function: Any, pixels: np.ndarray | None = None) -> bytes:
    """The model of a `frozen` function; in 8 bits, if there are (N, H, W, 1) float32 `pixels`, by the ranges that its
    layers have on them. Input, output and softmax stay float32: else a probability is a multiple of 1/256, often 0.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if pixels is None:
            return bytes(converter.convert())

        def representative() -> Iterator[list[np.ndarray]]:
            for image in pixels:
                yield [image[np.newaxis]]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        selective = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=representative,
            debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["SOFTMAX"]),
        )
        return bytes(selective.get_nondebug_quantized_model())


def opened(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """What gives the (N, classes) float32 answers of the model in the file `path` to (N, H, W, 1) float32 pixels."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=arithmetic.SCORING_THREADS)
    (given,), (asked,) = interpreter.get_input_details(), interpreter.get_output_details()

    def answers(pixels: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(given["index"], list(pixels.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], pixels)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(asked["index"]))

    return answers
