"""Keeps large weights out of a graph while it becomes ONNX, and puts them into the model that comes out.

Each of tf2onnx's two dozen passes leaves a copy of all constants behind in protobuf's arenas. A graph that takes its
weights as inputs is a few hundred kilobytes, however large the network is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import tensorflow as tf

from keras_transfer.errors import ExportError

MOST_BYTES = 2**31
"""Of a message that protobuf reads."""
_OF_LENGTH = 2
"""The kind of a field whose length precedes it."""
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
_SUMS = ("BiasAdd", "Add", "AddV2")


def folded(
    graph_def: Any, weights: Mapping[str, np.ndarray], takes: str, gives: Sequence[str]
) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a graph whose constants are computed, and the weights with the factors behind convolutions in them.

    A batch norm in inference mode is a factor and a summand for each channel. TensorFlow's optimizer moves the factor
    into the kernel (`MulConvPushDown` of grappler) where the kernel is a constant; here it is not, so that is done by
    hand, in the same order of operations and so to the same bits.

    graph_def: tf.GraphDef; weights: float32, by the placeholder that stands for them; takes, gives: names of nodes.
    """
    graph_def = _optimized(graph_def, weights, takes, gives)
    nodes = {node.name: node for node in graph_def.node}
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in graph_def.node:
        for name in node.input:
            readers[_node_of(name)].append(node)
    found, gone = dict(weights), set()
    for factor in [node for node in graph_def.node if node.op == "Mul"]:
        behind, scale = _by_constant(factor, nodes)
        sums, convolution = _behind(behind, nodes, readers)
        kernel = _node_of(convolution.input[1]) if convolution else ""
        if scale is None or kernel not in found or len(readers[kernel]) > 1:
            continue
        found[kernel] = _scaled(found[kernel], scale, convolution.op)
        for each in sums:
            constant = _scale_summand(each, scale, nodes, f"{factor.name}/of/{each.name}")
            nodes[constant.name] = constant
        for reader in readers[factor.name]:
            reader.input[:] = [behind if name == factor.name else name for name in reader.input]
        readers[_node_of(behind)] = readers[factor.name]
        gone.add(factor.name)
    left = [node for name, node in nodes.items() if name not in gone]
    graph_def = type(graph_def)(node=left, versions=graph_def.versions, library=graph_def.library)
    return graph_def, {name: value for name, value in found.items() if name in nodes}


def _optimized(graph_def: Any, weights: Mapping[str, np.ndarray], takes: str, gives: Sequence[str]) -> Any:
    """Return the graph as TensorFlow's optimizer leaves it, which computes what can be computed."""
    from tf2onnx import tf_loader

    # For every placeholder whose shape it knows the optimizer makes a tensor of that size, and keeps it.
    shapeless = type(graph_def)()
    shapeless.CopyFrom(graph_def)
    _set_shapes(shapeless, dict.fromkeys(weights, tf.TensorShape(None).as_proto()))
    with tf.Graph().as_default():
        names = [f"{name}:0" for name in (takes, *weights, *gives)]
        graph_def = tf_loader.tf_optimize(names[: len(weights) + 1], names[len(weights) + 1 :], shapeless)
    _set_shapes(graph_def, {name: tf.TensorShape(value.shape).as_proto() for name, value in weights.items()})
    return graph_def


def _set_shapes(graph_def: Any, shapes: Mapping[str, Any]) -> None:
    for node in graph_def.node:
        if node.name in shapes:
            node.attr["shape"].shape.CopyFrom(shapes[node.name])


def _by_constant(node: Any, nodes: Mapping[str, Any]) -> tuple[str, np.ndarray | None]:
    """What an operation takes beside a number for each channel, and these numbers; None where it takes none such."""
    for constant, other in (tuple(node.input[:2]), tuple(reversed(node.input[:2]))):
        at = nodes[_node_of(constant)]
        if at.op == "Const":
            value = tf.make_ndarray(at.attr["value"].tensor)
            if value.ndim == 0 or value.size == value.shape[-1]:
                return other, value
    return node.input[0], None


def _behind(name: str, nodes: Mapping[str, Any], readers: Mapping[str, Sequence[Any]]) -> tuple[list[Any], Any]:
    """The sums by channel that lead from a convolution to a tensor, and the convolution; None where there is none."""
    sums, at = [], nodes[_node_of(name)]
    while at.op in _SUMS and len(readers[at.name]) == 1:
        name, summand = _by_constant(at, nodes)
        if summand is None:
            return [], None
        sums.append(at)
        at = nodes[_node_of(name)]
    return sums, at if at.op in _CONVOLUTIONS and len(readers[at.name]) == 1 else None


def _scaled(kernel: np.ndarray, scale: np.ndarray, op: str) -> np.ndarray:
    """A kernel times a factor for each channel that it gives: HWIO, or HWCM of a depthwise one."""
    channels = kernel.shape[3:] if op == "Conv2D" else kernel.shape[2:]
    return kernel * np.broadcast_to(scale.reshape(-1), int(np.prod(channels))).reshape(channels)


def _scale_summand(node: Any, scale: np.ndarray, nodes: Mapping[str, Any], name: str) -> Any:
    """Let a sum add its constant times a factor, and return the node of that constant, which is given a name."""
    other, summand = _by_constant(node, nodes)
    assert summand is not None
    scaled = tf.compat.v1.NodeDef(name=name, op="Const")
    product = np.asarray(summand * scale, np.float32)
    scaled.attr["dtype"].type = tf.float32.as_datatype_enum
    scaled.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(product.reshape(-1) if node.op == "BiasAdd" else product))
    node.input[:] = [taken if taken == other else name for taken in node.input]
    return scaled


def settled(model: Any, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute what an ONNX model makes of weights alone; return the weights that it takes instead.

    Kernels are transposed so: the order of a convolution's sides and channels is another one in ONNX. model: changed in
    place; weights: by the name of the input that stands for them, each let go when something else was made of it.
    """
    from onnx import helper, numpy_helper

    constants = {each.name: each for each in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    readers = Counter(name for node in model.graph.node for name in set(node.input))
    known, nodes = weights, []
    for node in model.graph.node:
        taken = {name for name in node.input if name}
        if any(name in known for name in taken) and all(name in known or name in constants for name in taken):
            given = {name: known[name] if name in known else numpy_helper.to_array(constants[name]) for name in taken}
            known |= _computed(node, given, model)
            readers.subtract(taken)
            for name in [name for name in taken if not readers[name]]:
                known.pop(name, None)
        else:
            nodes.append(node)
    read = {name for node in nodes for name in node.input}
    found = {name: value for name, value in known.items() if name in read}
    inputs += [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in found.items()
    ]
    left = [each for name, each in constants.items() if name in read]  # not the shapes that kernels had
    for field, values in (("node", nodes), ("input", inputs), ("initializer", left)):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(values)
    return found


def fill(model: Any, weights: dict[str, np.ndarray]) -> None:
    """Put weights in the place of the inputs that stand for them, in place; each is let go as soon as it is there."""
    from onnx import numpy_helper

    _forget(model, weights)
    for name in list(weights):
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weights.pop(name)), name))


def written(model: Any, weights: dict[str, np.ndarray], file: BinaryIO) -> None:
    """Write an ONNX model with weights in the place of the inputs that stand for them; each is let go when it is there.

    What protobuf writes it first puts together in memory, in a buffer that it doubles and copies until all fits and
    whose earlier sizes it keeps: four times the weights, beside those in the model. So the model is written without
    them and they follow as what they are there, fields of the graph, whose order a reader of protobuf must not mind
    (https://protobuf.dev/programming-guides/encoding/#order). Raises ExportError for more than protobuf reads.
    """
    from onnx import GraphProto, ModelProto, TensorProto, helper

    _forget(model, weights)
    heads = []
    for name, value in weights.items():
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        told = TensorProto(name=name, data_type=kind, dims=value.shape).SerializeToString()
        told += _field(TensorProto, "raw_data", value.nbytes)
        heads.append(_field(GraphProto, "initializer", len(told) + value.nbytes) + told)
    graph = model.graph.SerializeToString()
    length = len(graph) + sum(map(len, heads)) + sum(value.nbytes for value in weights.values())
    model.ClearField("graph")
    model = model.SerializeToString()
    if len(model) + length >= MOST_BYTES:
        raise ExportError(f"ONNX: a file holds at most 2 GiB. This model takes {length / 2**30:.1f} GiB.")
    file.write(model + _field(ModelProto, "graph", length) + graph)
    for name, head in zip(list(weights), heads, strict=True):
        file.write(head)
        file.write(np.ascontiguousarray(weights.pop(name)).data)


def _field(message: Any, name: str, length: int) -> bytes:
    """What precedes a field of so many bytes in protobuf's wire format: its number and kind, and its length."""
    return _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | _OF_LENGTH) + _varint(length)


def _varint(number: int) -> bytes:
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def _forget(model: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Take the inputs away that stand for weights."""
    inputs = [value for value in model.graph.input if value.name not in weights]
    model.graph.ClearField("input")
    model.graph.input.extend(inputs)


def _computed(node: Any, given: Mapping[str, np.ndarray], model: Any) -> dict[str, np.ndarray]:
    """What one node makes of arrays, by the names of what it gives."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "of weights", inputs, outputs)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return dict(zip(node.output, ReferenceEvaluator(alone).run(None, dict(given)), strict=True))


def _node_of(name: str) -> str:
    return name.lstrip("^").partition(":")[0]
