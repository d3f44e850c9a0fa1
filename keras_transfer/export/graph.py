"""Traces a Keras model once and gives the forms of its graph that the converters read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_transfer.errors import ExportError
from keras_transfer.specs import IMAGE_INPUT, PROBABILITIES_OUTPUT


@dataclass(frozen=True)
class Graph:
    """One trace of a model in inference mode, with its variables and with its weights as constants."""

    function: Any
    """tf.ConcreteFunction: `image` uint8 (batch, side, side, 3) to {`probabilities`: float32 (batch, classes)}."""
    variables: tuple[Any, ...]
    """The tf.Variables the function reads."""
    image_size: int
    classes: int
    frozen: Any
    """tf.GraphDef without variables: `image` to `probabilities`, any batch."""

    def fixed(self, batch: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """Return the frozen graph as a function of a fixed batch, which calibration and edge runtimes want."""
        spec = tf.TensorSpec((batch, self.image_size, self.image_size, 3), tf.uint8, name=IMAGE_INPUT)

        def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
            (output,) = tf.import_graph_def(
                self.frozen,
                input_map={IMAGE_INPUT: image},
                return_elements=[f"{PROBABILITIES_OUTPUT}:0"],
                name="",
            )
            return {PROBABILITIES_OUTPUT: tf.ensure_shape(output, (batch, self.classes))}

        return tf.function(call, input_signature=[spec])


def trace(model: keras.Model) -> Graph:
    """Return the one trace that every format is written from.

    >>> trace(model).image_size  # doctest: +SKIP
    96

    model: one input, uint8 (None, side, side, 3), and one output, float32 (None, classes), rows that sum to 1.
    Raises ExportError where the model has another input or output.
    """
    image_size, classes = _checked(model)
    function = tf.function(
        lambda image: {PROBABILITIES_OUTPUT: model(image, training=False)},
        input_signature=[tf.TensorSpec((None, image_size, image_size, 3), tf.uint8, name=IMAGE_INPUT)],
    ).get_concrete_function()
    return Graph(function, tuple(v.value for v in model.variables), image_size, classes, _frozen(function))


def _checked(model: keras.Model) -> tuple[int, int]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ExportError(
            f"Only a model with one input and one output can be exported. "
            f"Received: {len(model.inputs)} inputs and {len(model.outputs)} outputs."
        )
    (image,), (output,) = model.inputs, model.outputs
    if image.dtype != "uint8" or len(image.shape) != 4 or image.shape[1] != image.shape[2] or image.shape[3] != 3:
        raise ExportError(
            f"The model's input must be uint8 (batch, side, side, 3) with the scaling of pixels inside the model. "
            f"Received: {image.dtype} {tuple(image.shape)}."
        )
    if image.shape[1] is None or output.dtype != "float32" or len(output.shape) != 2:
        raise ExportError(
            f"The model must take pictures of one known size and give float32 probabilities (batch, classes). "
            f"Received: {tuple(image.shape)} to {output.dtype} {tuple(output.shape)}."
        )
    return int(image.shape[1]), int(output.shape[1])


def _frozen(function: Any) -> Any:
    frozen = convert_variables_to_constants_v2(function)
    image, *others = frozen.inputs
    with tf.Graph().as_default() as graph:
        # What Keras keeps as an eager constant (the mean and variance of a Normalization layer) is a captured
        # input, not a variable: left alone it becomes an input of the ONNX file that nobody can fill.
        captured = zip(others, frozen.captured_inputs, strict=True)
        input_map = {image.op.name: tf.compat.v1.placeholder(tf.uint8, image.shape, name=IMAGE_INPUT)}
        input_map |= {tensor.op.name: tf.constant(value.numpy()) for tensor, value in captured}
        (output,) = tf.import_graph_def(
            frozen.graph.as_graph_def(), input_map=input_map, return_elements=[frozen.outputs[0].name], name=""
        )
        tf.identity(output, name=PROBABILITIES_OUTPUT)
    return graph.as_graph_def()
