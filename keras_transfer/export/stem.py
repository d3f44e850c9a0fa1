"""Lets the first convolution of a quantized TFLite file see several pixels of a row at once: the same sums, sooner.

Kernels for whole numbers take up to 64 channels in one step and give as many, and are called anew for every place that
a filter lies on. Three channels fill none of that: with AMX the first convolution of MobileNetV3Small took three times
as long as in floats, and a third of the file's time. Pixels beside each other lie beside each other in memory: a row of
W pixels is one of W / 8 places of 24 channels, and four results beside each other are one place of the result. A filter
is written once for each of these, with zeros where it does not look.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from keras_transfer.export import tflite_tree

FILLED, MOST = 64, 4
"""Channels that a kernel gives in one step; results at once at most, as more and more products are with zeros."""
FEW_CHANNELS = 4
"""That a picture has at most: more fill a kernel by themselves."""


def widened(quantized: bytes) -> bytes:
    """Return the file with its first convolution over places of several pixels, and the same answers to the last bit.

    >>> stem.widened(quantized)  # doctest: +SKIP

    quantized: an int8 TFLite file. It comes back as it is where its first convolution has more than four channels, does
    not step over pixels, or looks further back than where it stands.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    tree = tflite_tree.read(quantized)
    graph = tree.subgraphs[0]  # the main one: others hold the branches of loops and conditions
    kinds = [tree.operatorCodes[operator.opcodeIndex].builtinCode for operator in graph.operators]
    if BuiltinOperator.CONV_2D not in kinds:
        return quantized
    place = kinds.index(BuiltinOperator.CONV_2D)
    convolution = graph.operators[place]
    image, kernel, bias = (graph.tensors[index] for index in convolution.inputs)
    at_once = _at_once(convolution, image, kernel)
    if not at_once:
        return quantized
    pixels = at_once * convolution.builtinOptions.strideW
    wide = _wider(tflite_tree.data_of(tree, kernel).reshape(kernel.shape), at_once, pixels)
    for tensor, values in ((kernel, wide), (bias, np.tile(tflite_tree.data_of(tree, bias), at_once))):
        tflite_tree.store(tree, tensor, values)
        tensor.shape = np.array(values.shape, np.int32)
    for tensor in (kernel, bias):
        tensor.quantization.scale = np.tile(tensor.quantization.scale, at_once)
        tensor.quantization.zeroPoint = np.tile(tensor.quantization.zeroPoint, at_once)
    before = _wide(tree, image, pixels)
    behind = _wide(tree, graph.tensors[convolution.outputs[0]], at_once)
    into = _reshape(tree, convolution.inputs[0], before)
    back = _reshape(tree, behind, convolution.outputs[0])
    convolution.inputs = [before, *convolution.inputs[1:]]
    convolution.outputs = [behind]
    convolution.builtinOptions.strideW = 1
    graph.operators[place : place + 1] = [into, convolution, back]
    return tflite_tree.written(tree)


def _at_once(convolution: Any, image: Any, kernel: Any) -> int:
    """How many results beside each other become one; 0 for a convolution that cannot be written so."""
    from ai_edge_litert.schema_py_generated import Padding, TensorType

    options, (_, _, width, channels) = convolution.builtinOptions, image.shape
    filters, _, reach, _ = kernel.shape
    step = options.strideW
    plain = options.dilationWFactor == 1 and options.padding == Padding.SAME and kernel.type == TensorType.INT8
    # Of a width that the step divides, one pixel that is missing lies to the right.
    if not plain or channels > FEW_CHANNELS or step < 2 or reach > step + 1:
        return 0
    at_once = max(1, min(MOST, FILLED // filters))
    return next((count for count in range(at_once, 0, -1) if width % (count * step) == 0), 0)


def _wider(kernel: np.ndarray, at_once: int, pixels: int) -> np.ndarray:
    """A kernel (filters, height, width, channels) for places of so many pixels, of which it looks at two."""
    filters, height, width, channels = kernel.shape
    step = pixels // at_once
    wider = np.zeros((at_once, filters, height, 2, pixels, channels), kernel.dtype)
    for result in range(at_once):
        for column in range(width):
            place, pixel = divmod(result * step + column, pixels)
            wider[result, :, :, place, pixel] = kernel[:, :, column]
    return wider.reshape(at_once * filters, height, 2, pixels * channels)


def _wide(tree: Any, tensor: Any, at_once: int) -> int:
    """Add a tensor like another with so many places of a row as one; return its index."""
    wide = copy.copy(tensor)
    batch, height, width, channels = (int(side) for side in tensor.shape)
    wide.shape = np.array([batch, height, width // at_once, channels * at_once], np.int32)
    wide.shapeSignature, wide.name = None, tensor.name + f", {at_once} at once".encode()
    return tflite_tree.added(tree, wide)


def _reshape(tree: Any, given: int, made: int) -> Any:
    """An operator that gives one tensor as another."""
    from ai_edge_litert.schema_py_generated import ReshapeOptionsT, TensorT, TensorType

    sides, shape, options = np.array(tree.subgraphs[0].tensors[made].shape, np.int32), TensorT(), ReshapeOptionsT()
    shape.name, shape.type, shape.shape = f"shape {len(tree.buffers) + 1}".encode(), TensorType.INT32, [len(sides)]
    options.newShape = sides
    return tflite_tree.operator(tree, "RESHAPE", [given, tflite_tree.added(tree, shape, sides)], [made], options)
