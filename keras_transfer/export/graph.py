"""Traces a Keras model once and gives the forms of its graph that the converters read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_transfer.errors import ExportError
from keras_transfer.specs import IMAGE_INPUT, PROBABILITIES_OUTPUT


@dataclass(frozen=True)
class Scaling:
    """The factor and the offset that pixels of each channel take at the start of a frozen graph."""

    tensor: str
    """What is left when they are done."""
    factor: np.ndarray
    offset: np.ndarray

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """Return the scaled picture by one depthwise convolution.

        Left as a multiplication and an addition, quantization rounds the product to steps of 1.5 pixel values.
        """
        kernel = self.factor.reshape(1, 1, -1, 1)
        return tf.nn.depthwise_conv2d(tf.cast(image, tf.float32), kernel, [1, 1, 1, 1], "VALID") + self.offset


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
    scaling: Scaling | None
    """What happens to pixels first, where that is a factor and an offset."""

    def fixed(self, batch: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """Return the frozen graph as a function of a fixed batch, which calibration and edge runtimes want."""
        spec = tf.TensorSpec((batch, self.image_size, self.image_size, 3), tf.uint8, name=IMAGE_INPUT)

        def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
            source = {self.scaling.tensor: self.scaling(image)} if self.scaling else {IMAGE_INPUT: image}
            (output,) = tf.import_graph_def(
                self.frozen, input_map=source, return_elements=[f"{PROBABILITIES_OUTPUT}:0"], name=""
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
    frozen = _frozen(function)
    variables = tuple(variable.value for variable in model.variables)
    return Graph(function, variables, image_size, classes, frozen, _scaling(frozen))


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
    return _inlined(graph.as_graph_def(), image.shape)


def _inlined(graph_def: Any, shape: tf.TensorShape) -> Any:
    """Return the graph without calls of functions, which converters do not know.

    What Keras compiles with XLA (grouped convolutions on a CPU) is marked never to be inlined; here the marks go.
    """
    functions = graph_def.library.function
    if not functions:
        return graph_def
    nodes = (*graph_def.node, *(node for function in functions for node in function.node_def))
    for marked in (*functions, *nodes):
        for mark in ("_noinline", "_XlaMustCompile"):
            marked.attr.pop(mark, None)
    for function in functions:  # TensorFlow keeps one function per name and process, and has these with their marks
        function.signature.name += "_unmarked"
    for node in nodes:
        if node.attr["f"].func.name:
            node.attr["f"].func.name += "_unmarked"
        else:
            node.attr.pop("f")
    function = tf.compat.v1.wrap_function(
        lambda image: tf.import_graph_def(graph_def, {IMAGE_INPUT: image}, [f"{PROBABILITIES_OUTPUT}:0"], name=""),
        [tf.TensorSpec(shape, tf.uint8, name=IMAGE_INPUT)],
    )
    return convert_variables_to_constants_v2(function).graph.as_graph_def()


_BY_CHANNEL = {"Cast", "Identity", "Mul", "RealDiv", "Add", "AddV2", "Sub", "BiasAdd"}


def _scaling(frozen: Any) -> Scaling | None:
    """Follow the picture through operations with constants, and read factor and offset off the result."""
    nodes = {node.name: node for node in frozen.node}
    readers: dict[str, list[Any]] = {}
    for node in frozen.node:
        for name in node.input:
            readers.setdefault(_node_of(name), []).append(node)
    at = IMAGE_INPUT
    while len(readers.get(at, ())) == 1:
        (reader,) = readers[at]
        others = [nodes[_node_of(name)] for name in reader.input if _node_of(name) != at]
        if reader.op not in _BY_CHANNEL or not all(_constant(other, nodes) for other in others):
            break
        at = reader.name
    if at == IMAGE_INPUT or nodes[at].op == "Cast":
        return None
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
    with tf.compat.v1.Session(graph=graph) as session:
        dark, light = (
            session.run(f"{at}:0", {f"{IMAGE_INPUT}:0": np.full((1, *_side(frozen), 3), value, np.uint8)})[0, 0, 0]
            for value in (0, 255)
        )
    return Scaling(f"{at}:0", (light - dark) / 255, dark)


def _node_of(name: str) -> str:
    return name.lstrip("^").partition(":")[0]


def _constant(node: Any, nodes: dict[str, Any]) -> bool:
    while node.op in ("Identity", "Cast"):
        node = nodes[_node_of(node.input[0])]
    return node.op == "Const"


def _side(frozen: Any) -> tuple[int, ...]:
    (image,) = (node for node in frozen.node if node.name == IMAGE_INPUT)
    return tuple(dim.size for dim in image.attr["shape"].shape.dim[1:3])
