"""Takes hard swish apart in a quantized TFLite file: XNNPACK computes its parts in whole numbers, and not the whole.

`HARD_SWISH` in int8 is left to LiteRT, pixel by pixel, and cuts XNNPACK's part of the graph in two at every use. An
addition, a scaling and a product XNNPACK takes, and makes one table of 256 values of them.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from keras_transfer.export.float_tail import code_of

STEPS = 255


def taken_apart(quantized: bytes) -> bytes:
    """Return the file with x · (min(max(x + 3, 0), 6) / 6) in place of each hard swish in int8, every part rounded.

    >>> hard_swish.taken_apart(quantized)  # doctest: +SKIP

    quantized: a TFLite file; it comes back as it is where it holds none.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
    from ai_edge_litert.tools import flatbuffer_utils

    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(quantized))
    graph, operators, found = tree.subgraphs[0], [], False
    for operator in graph.operators:
        kind = tree.operatorCodes[operator.opcodeIndex].builtinCode
        if kind == BuiltinOperator.HARD_SWISH and graph.tensors[operator.inputs[0]].type == TensorType.INT8:
            operators += _parts(tree, int(operator.inputs[0]), int(operator.outputs[0]))
            found = True
        else:
            operators.append(operator)
    if not found:
        return quantized
    graph.operators = operators
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _parts(tree: Any, given: int, made: int) -> list[Any]:
    """The operators that give a hard swish of one tensor as another."""
    name = tree.subgraphs[0].tensors[made].name
    lifted = _like(tree, given, name + b", lifted", 6 / STEPS)
    gate = _like(tree, given, name + b", gate", 1 / STEPS)
    three, sixth = (_number(tree, given, name, number) for number in (3.0, 1 / 6))
    return [
        _operator(tree, "ADD", [given, three], lifted),
        _operator(tree, "MUL", [lifted, sixth], gate),
        _operator(tree, "MUL", [given, gate], made),
    ]


def _like(tree: Any, other: int, name: bytes, scale: float) -> int:
    """Add a tensor as another is, but for values from 0 to 255 times the scale; return its index."""
    graph, tensor = tree.subgraphs[0], copy.copy(tree.subgraphs[0].tensors[other])
    tensor.name, tensor.buffer, tensor.quantization = name, 0, copy.copy(tensor.quantization)
    tensor.quantization.scale, tensor.quantization.zeroPoint = np.array([scale], np.float32), np.array([-128])
    tensor.quantization.min = tensor.quantization.max = None
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _number(tree: Any, other: int, name: bytes, number: float) -> int:
    """Add a constant number above 0, in the steps of which it is the 255th; return its index."""
    from ai_edge_litert.schema_py_generated import BufferT

    buffer = BufferT()
    buffer.data = np.frombuffer(np.array([127], np.int8).tobytes(), np.uint8)
    tree.buffers.append(buffer)
    index = _like(tree, other, name + f", {number:.3f}".encode(), number / STEPS)
    tensor = tree.subgraphs[0].tensors[index]
    tensor.buffer, tensor.shape, tensor.shapeSignature = len(tree.buffers) - 1, np.array([1], np.int32), None
    return index


def _operator(tree: Any, name: str, inputs: list[int], output: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    operator, kind = schema.OperatorT(), f"{name.title()}Options"
    operator.opcodeIndex = code_of(tree, getattr(schema.BuiltinOperator, name))
    operator.inputs, operator.outputs = inputs, [output]
    operator.builtinOptions = getattr(schema, f"{kind}T")()
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    return operator
