"""Takes the scaling of pixels out of a quantized TFLite file, where a step of its first tensor is a pixel value.

What comes in is whole numbers already. Turning them into floats, rounding these and scaling them by a convolution cost
a twentieth of a call of EfficientNet-Lite0 and say nothing that a scale and a zero point do not say.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_transfer.export import tflite_tree

HALF_STEP = 0.5 + 1e-3
"""How far a pixel may end up from its place, in steps: as far as rounding carries it."""


def taken_as_they_are(quantized: bytes, factor: np.ndarray, offset: np.ndarray) -> bytes:
    """Return the file with one change of type, from uint8 to int8, in place of cast, rounding and scaling.

    quantized: an int8 TFLite file that starts with these three. factor, offset: (3,), of the scaling. The file comes
    back as it is where it starts otherwise, or where channels are scaled differently: then no one step fits them all.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    tree = tflite_tree.read(quantized)
    graph = tree.subgraphs[0]  # the main one: others hold the branches of loops and conditions
    first = graph.operators[:3]
    kinds = [tree.operatorCodes[operator.opcodeIndex].builtinCode for operator in first]
    if kinds != [BuiltinOperator.CAST, BuiltinOperator.QUANTIZE, BuiltinOperator.DEPTHWISE_CONV_2D]:
        return quantized
    _, change, scaling = first
    image, scaled = graph.tensors[graph.inputs[0]], graph.tensors[scaling.outputs[0]]
    if not _fits(scaled.quantization, factor, offset):
        return quantized
    image.quantization = _as_uint8(scaled.quantization)
    change.inputs, change.outputs = graph.inputs, scaling.outputs
    graph.operators = [change, *graph.operators[3:]]
    return tflite_tree.written(tree)


def _fits(steps: Any, factor: np.ndarray, offset: np.ndarray) -> bool:
    """Whether pixel value v of every channel lies where the tensor has its whole number v - 128."""
    values = np.arange(256)
    wanted = np.outer(values, factor) + offset
    held = (values - 128 - int(steps.zeroPoint[0])) * float(steps.scale[0])
    return bool(np.all(np.abs(wanted - held[:, None]) <= HALF_STEP * float(steps.scale[0])))


def _as_uint8(steps: Any) -> Any:
    from ai_edge_litert.schema_py_generated import QuantizationParametersT

    moved = QuantizationParametersT()
    moved.scale, moved.zeroPoint = steps.scale, np.asarray(steps.zeroPoint) + 128
    return moved
