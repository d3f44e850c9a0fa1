"""Traces a Keras model and gives the forms of its graph that the converters read, large weights apart from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_transfer.errors import ArtifactError, ExportError
from keras_transfer.export.outputs import named
from keras_transfer.specs import DTYPES, IMAGE_INPUT, Output

ROUNDS = "FakeQuantWithMinMaxVars"
"""The operation that rounds to a range, which TensorFlow's converter takes for that of the tensor."""

LARGE = 1024
"""Numbers from which a matrix or a kernel is kept apart from the graph. Converters copy a graph some fifty times; what
is left in it then (vectors, kernels of first layers) is a hundredth of the weights."""


@dataclass(frozen=True)
class Affine:
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
    """A model in inference mode: its operations, and what they take, each large weight by its name."""

    model: keras.Model
    shape: tuple[int, ...]
    """Of one picture, (side, side, 3), of one clip, with its frames before that, or of (frames, features)."""
    outputs: tuple[Output, ...]
    """In the order of the contract."""
    light: Any
    """tf.GraphDef without variables or calls: what it takes to one node for each output (see `node_of`), any batch.
    Small weights are constants in it, each of `weights` is a placeholder of that name."""
    weights: Mapping[str, np.ndarray]
    """The large weights, `weights/` and the path that Keras has for each; they share the memory of the model's own."""
    affine: Affine | None
    """What happens to pixels first, where that is a factor and an offset."""
    takes: str = IMAGE_INPUT
    """What its input is called: a row of `specs.DTYPES`."""

    @property
    def ranged(self) -> bool:
        """Whether it rounds what flows, as a model does that was trained in whole numbers, and so brings the ranges."""
        return any(node.op == ROUNDS for node in self.light.node)

    @cached_property
    def function(self) -> Any:
        """tf.ConcreteFunction that reads the model's variables: what it takes to the outputs by name."""
        spec = tf.TensorSpec((None, *self.shape), DTYPES[self.takes], name=self.takes)
        return _traced(lambda given: named(self.model(given, training=False), self.outputs), [spec])

    @property
    def variables(self) -> tuple[Any, ...]:
        """The tf.Variables the function reads."""
        return tuple(variable.value for variable in self.model.variables)

    def fixed(self, batch: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """Return the graph as a function of a fixed batch and of constants, as calibration and edge runtimes want."""
        spec = tf.TensorSpec((batch, *self.shape), DTYPES[self.takes], name=self.takes)

        def call(given: tf.Tensor) -> dict[str, tf.Tensor]:
            # Pixels are whole numbers as they come: where ranges are not measured, that has to be said.
            pixels = tf.quantization.fake_quant_with_min_max_args(tf.cast(given, tf.float32), 0, 255)
            source = {self.takes: given}
            if self.affine:
                source = {self.affine.tensor: self.affine(pixels if self.ranged else given)}
            source |= {name: tf.constant(weight) for name, weight in self.weights.items()}
            wanted = [f"{node_of(output)}:0" for output in self.outputs]
            found = tf.import_graph_def(self.light, input_map=source, return_elements=wanted, name="")
            return {
                output.name: tf.ensure_shape(tensor, (batch, *output.shape))
                for output, tensor in zip(self.outputs, found, strict=True)
            }

        return tf.function(call, input_signature=[spec], autograph=False)


def node_of(output: Output) -> str:
    """Return the name of an output's node in a graph, where names have no spaces.

    >>> node_of(Output(name="number of detections", shape=()))
    'number_of_detections'
    """
    return output.name.replace(" ", "_")


def trace(model: keras.Model, outputs: Sequence[Output], takes: str = IMAGE_INPUT) -> Graph:
    """Return the graph that every format is written from.

    >>> trace(model, contract.outputs).shape  # doctest: +SKIP
    (96, 96, 3)

    model: one input, uint8 (None, side, side, 3), and as many outputs, float32 (None, …), as `outputs` names: in that
    order, or as a mapping with these names. takes: what files call that input, a row of `specs.DTYPES`; `features` are
    float32 (None, frames, numbers). Raises ExportError where the model has another input or other outputs.
    """
    shape = _checked(model, outputs, takes)
    light, weights = _lightened(model, outputs, tf.TensorSpec((None, *shape), DTYPES[takes], name=takes))
    affine = _affine(light) if takes == IMAGE_INPUT else None
    return Graph(model, shape, tuple(outputs), light, weights, affine, takes)


def _traced(call: Callable[..., Any], signature: Sequence[Any]) -> Any:
    # A Keras model is made of operations: for autograph to read its source again only costs seconds.
    return tf.function(call, input_signature=signature, autograph=False).get_concrete_function()


def _checked(model: keras.Model, outputs: Sequence[Output], takes: str) -> tuple[int, ...]:
    if len(model.inputs) != 1:
        raise ExportError(f"Only a model with one input can be exported. Received: {len(model.inputs)} inputs.")
    (given_to,) = model.inputs
    if takes == IMAGE_INPUT:
        _check_pixels(given_to)
    elif given_to.dtype != DTYPES[takes]:
        raise ExportError(f"The model's input must be {DTYPES[takes]} {takes}. Received: {given_to.dtype}.")
    try:
        given = named(model.output, outputs)
    except ArtifactError as error:
        raise ExportError(str(error)) from None
    for output in outputs:
        tensor = given[output.name]
        if tensor.dtype != "float32" or tuple(tensor.shape[1:]) != output.shape:
            raise ExportError(
                f"The contract promises {output.name} as float32 (batch, {', '.join(map(str, output.shape))}). "
                f"Received: {tensor.dtype} {tuple(tensor.shape)}."
            )
    return tuple(map(int, given_to.shape[1:]))


def _check_pixels(image: keras.KerasTensor) -> None:
    rank, (high, wide, channels) = len(image.shape), image.shape[-3:] if len(image.shape) > 3 else (0, 1, 0)
    if image.dtype != "uint8" or rank not in (4, 5) or high != wide or channels != 3:
        raise ExportError(
            f"The model's input must be uint8 (batch, side, side, 3) with the scaling of pixels inside the model. "
            f"Received: {image.dtype} {tuple(image.shape)}."
        )
    if None in image.shape[1:]:
        raise ExportError(f"The model must take pictures of one known size. Received: {tuple(image.shape)}.")


def _lightened(model: keras.Model, outputs: Sequence[Output], given: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Trace a model with its weights as arguments; return its operations, small weights in them, and the large ones.

    So no form of the graph that is made on the way holds the weights: each would be one more copy of them.
    """
    parts = (model.trainable_variables, model.non_trainable_variables)

    def call(given: tf.Tensor, learnable: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        said, _ = model.stateless_call(learnable, others, given, training=False)
        return named(said, outputs)

    function = _traced(call, [given, *([tf.TensorSpec(each.shape, each.dtype) for each in part] for part in parts)])
    variables = [variable for part in parts for variable in part]
    # What Keras keeps as an eager constant (the mean and variance of a Normalization layer) is captured, as it is no
    # variable: left alone it becomes an input of the ONNX file that nobody can fill.
    taken = (*(variable.value for variable in variables), *function.captured_inputs)
    values = [np.asarray(tf.convert_to_tensor(each)) for each in taken]  # of a variable itself it would be a copy
    names = _unique([*(each.path for each in variables), *("constant" for _ in function.captured_inputs)])
    wanted = [function.structured_outputs[output.name].name for output in outputs]
    graph_def = _inlined(function, wanted)
    weights = {name: value for name, value in zip(names, values, strict=True) if _is_large(value)}
    with tf.Graph().as_default() as graph:
        ours = [tf.compat.v1.placeholder(given.dtype, given.shape, name=given.name)]
        for name, value in zip(names, values, strict=True):
            apart = name in weights
            stands = (
                tf.compat.v1.placeholder(value.dtype, value.shape, name) if apart else tf.constant(value, name=name)
            )
            ours.append(stands)
        input_map = {tensor.op.name: each for tensor, each in zip(function.inputs, ours, strict=True)}
        found = tf.import_graph_def(graph_def, input_map=input_map, return_elements=wanted, name="")
        for output, tensor in zip(outputs, found, strict=True):
            tf.identity(tensor, name=node_of(output))
    return graph.as_graph_def(), weights


def _is_large(value: np.ndarray) -> bool:
    return value.ndim > 1 and value.size >= LARGE


def _unique(paths: Sequence[str]) -> list[str]:
    """Names for the nodes of weights: layers of one name (in nested models) give their weights one path."""
    seen: Counter[str] = Counter()
    found = []
    for path in paths:
        name = f"weights/{re.sub(r'[^A-Za-z0-9_.-]', '_', path.replace('/', '.'))}"
        found.append(f"{name}_{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def _inlined(function: Any, wanted: Sequence[str]) -> Any:
    """Return the graph of a function without calls of others, which converters do not know.

    What Keras compiles with XLA (grouped convolutions on a CPU) is marked never to be inlined; here the marks go.
    """
    graph_def = function.graph.as_graph_def()
    functions = graph_def.library.function
    if not functions:
        return graph_def
    nodes = (*graph_def.node, *(node for function in functions for node in function.node_def))
    for marked in (*functions, *nodes):
        for mark in ("_noinline", "_XlaMustCompile"):
            marked.attr.pop(mark, None)
    for each in functions:  # TensorFlow keeps one function per name and process, and has these with their marks
        each.signature.name += "_unmarked"
    for node in nodes:
        if node.attr["f"].func.name:
            node.attr["f"].func.name += "_unmarked"
        else:
            node.attr.pop("f")
    names = [tensor.op.name for tensor in function.inputs]
    whole = tf.compat.v1.wrap_function(
        lambda *given: tf.import_graph_def(graph_def, dict(zip(names, given, strict=True)), wanted, name=""),
        [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.op.name) for tensor in function.inputs],
    )
    return convert_variables_to_constants_v2(whole).graph.as_graph_def()


_BY_CHANNEL = {"Cast", "Identity", "Mul", "RealDiv", "Add", "AddV2", "Sub", "BiasAdd"}


def _affine(light: Any) -> Affine | None:
    """Follow the picture through operations with constants, and read factor and offset off the result."""
    nodes = {node.name: node for node in light.node}
    readers: dict[str, list[Any]] = {}
    for node in light.node:
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
        tf.import_graph_def(light, name="")
    with tf.compat.v1.Session(graph=graph) as session:
        dark, light = (
            session.run(f"{at}:0", {f"{IMAGE_INPUT}:0": np.full((1, *_side(light), 3), value, np.uint8)})[0, 0, 0]
            for value in (0, 255)
        )
    return Affine(f"{at}:0", (light - dark) / 255, dark)


def _node_of(name: str) -> str:
    return name.lstrip("^").partition(":")[0]


def _constant(node: Any, nodes: dict[str, Any]) -> bool:
    while node.op in ("Identity", "Cast"):
        node = nodes[_node_of(node.input[0])]
    return node.op == "Const"


def _side(light: Any) -> tuple[int, ...]:
    (image,) = (node for node in light.node if node.name == IMAGE_INPUT)
    return tuple(dim.size for dim in image.attr["shape"].shape.dim[1:3])
