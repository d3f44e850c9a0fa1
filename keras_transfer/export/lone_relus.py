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
    from ai_edge_litert.schema_py_generated import (
        ActivationFunctionType,
        AddOptionsT,
        BuiltinOperator,
        TensorType,
    )

    functions = {getattr(BuiltinOperator, name): getattr(ActivationFunctionType, name) for name in ("RELU", "RELU6")}
    tree = tflite_tree.read(quantized)
    graph, found = tree.subgraphs[0], False
    for place, operator in enumerate(graph.operators):
        kind = tree.operatorCodes[operator.opcodeIndex].builtinCode
        if kind in functions and graph.tensors[operator.inputs[0]].type == TensorType.INT8:
            options, given = AddOptionsT(), int(operator.inputs[0])
            options.fusedActivationFunction = functions[kind]
            inputs, found = [given, _zero(tree, given)], True
            graph.operators[place] = tflite_tree.operator(tree, "ADD", inputs, operator.outputs, options)
    return tflite_tree.written(tree) if found else quantized


def _zero(tree: Any, other: int) -> int:
    """Add a constant zero by the steps of another tensor; return its index."""
    tensor = copy.copy(tree.subgraphs[0].tensors[other])
    tensor.name += b", zero"
    tensor.shape, tensor.shapeSignature = np.array([1], np.int32), None
    return tflite_tree.added(tree, tensor, tensor.quantization.zeroPoint[:1].astype(np.int8))
