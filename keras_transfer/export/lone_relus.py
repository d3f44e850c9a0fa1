"""Gives each ReLU that stands by itself in a quantized TFLite file an addition of zero to be part of: the same numbers.

XNNPACK computes a ReLU in int8 behind what it computes in one go, and leaves one that stands by itself, as before the
separable convolutions of Xception and NASNet, to LiteRT: NASNetMobile's 48 took as long as all that is around them, and
cut XNNPACK's part of the graph in two each. An addition has one to its end.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from keras_transfer.export import tflite_tree


def in_additions(quantized: bytes) -> bytes:
    """Return the file with x + 0 and a ReLU, or ReLU6, in one go in place of each that stands by itself in int8.

    >>> lone_relus.in_additions(quantized)  # doctest: +SKIP

    quantized: a TFLite file; it comes back as it is where it holds none.
    """
    return tflite_tree.rewritten(quantized, _instead)


def _instead(tree: Any, operator: Any) -> list[Any] | None:
    from ai_edge_litert.schema_py_generated import ActivationFunctionType, AddOptionsT, BuiltinOperator, TensorType

    functions = {getattr(BuiltinOperator, name): getattr(ActivationFunctionType, name) for name in ("RELU", "RELU6")}
    function = functions.get(tree.operatorCodes[operator.opcodeIndex].builtinCode)
    if function is None or tree.subgraphs[0].tensors[operator.inputs[0]].type != TensorType.INT8:
        return None
    given = int(operator.inputs[0])
    options = AddOptionsT()
    options.fusedActivationFunction = function
    return [tflite_tree.operator(tree, "ADD", [given, _zero(tree, given)], operator.outputs, options)]


def _zero(tree: Any, other: int) -> int:
    """Add a constant zero by the steps of another tensor; return its index."""
    tensor = copy.copy(tree.subgraphs[0].tensors[other])
    tensor.name += b", zero"
    tensor.shape, tensor.shapeSignature = np.array([1], np.int32), None
    return tflite_tree.added(tree, tensor, tensor.quantization.zeroPoint[:1].astype(np.int8))
