"""Takes hard swish apart in a quantized TFLite file: XNNPACK computes its parts in whole numbers, and not the whole.

`HARD_SWISH` in int8 is left to LiteRT, pixel by pixel, and cuts XNNPACK's part of the graph in two at every use. An
addition, a scaling and a product XNNPACK takes, and makes one table of 256 values of them.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from keras_transfer.export import tflite_tree

STEPS = 255
"""Between the whole numbers of a signed byte, from the first to the last."""


def taken_apart(quantized: bytes) -> bytes:
    """Return the file with x · (min(max(x + 3, 0), 6) / 6) in place of each hard swish in int8, every part rounded.

    >>> hard_swish.taken_apart(quantized)  # doctest: +SKIP

    quantized: a TFLite file; it comes back as it is where it holds none.
    """
    return tflite_tree.rewritten(quantized, _instead)


def _instead(tree: Any, operator: Any) -> list[Any] | None:
    from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType

    if tree.operatorCodes[operator.opcodeIndex].builtinCode != BuiltinOperator.HARD_SWISH:
        return None
    given = int(operator.inputs[0])
    if tree.subgraphs[0].tensors[given].type != TensorType.INT8:
        return None
    return _parts(tree, given, int(operator.outputs[0]))


def _parts(tree: Any, given: int, made: int) -> list[Any]:
    """The operators that give a hard swish of one tensor as another."""
    from ai_edge_litert.schema_py_generated import AddOptionsT, MulOptionsT

    name = tree.subgraphs[0].tensors[made].name
    lifted, gate = (
        tflite_tree.added(tree, _like(tree, given, name + part, most))
        for part, most in ((b", lifted", 6.0), (b", gate", 1.0))
    )
    three, sixth = (_number(tree, given, name, number) for number in (3.0, 1 / 6))
    return [
        tflite_tree.operator(tree, "ADD", [given, three], [lifted], AddOptionsT()),
        tflite_tree.operator(tree, "MUL", [lifted, sixth], [gate], MulOptionsT()),
        tflite_tree.operator(tree, "MUL", [given, gate], [made], MulOptionsT()),
    ]


def _like(tree: Any, other: int, name: bytes, most: float) -> Any:
    """A tensor as another is, but for values from 0 to `most`."""
    tensor = copy.copy(tree.subgraphs[0].tensors[other])
    tensor.name, tensor.quantization = name, copy.copy(tensor.quantization)
    tensor.quantization.scale, tensor.quantization.zeroPoint = np.array([most / STEPS], np.float32), np.array([-128])
    tensor.quantization.min = tensor.quantization.max = None
    return tensor


def _number(tree: Any, other: int, name: bytes, number: float) -> int:
    """Add a constant number above 0, the last of the steps from 0 to it; return its index."""
    tensor = _like(tree, other, name + f", {number:.3f}".encode(), number)
    tensor.shape, tensor.shapeSignature = np.array([1], np.int32), None
    return tflite_tree.added(tree, tensor, np.array([127], np.int8))
