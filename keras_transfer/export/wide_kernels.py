"""Takes depthwise filters of 7 x 7 places in a TFLite file apart into some that XNNPACK has kernels for: the same sums.

XNNPACK computes depthwise convolutions of up to 25 places. What is larger it takes for a group of one channel each, for
which a kernel is called that was made for sixteen and more: ConvNeXtTiny took twice as long in whole numbers as in
floats. The 5 x 5 places in the middle, the rows at the edge and the columns at
the edge are convolutions of 25, 21 and 15 places, the last two with a dilation of three, and are added up.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_transfer.export import tflite_tree

MOST = 25
"""Places of a depthwise filter that XNNPACK has kernels for."""
MIDDLE, REACH = 5, 3
"""Rows and columns of the part in the middle, and how far a filter of 7 looks to either side: the dilation by which
edges alone are looked at."""


def taken_apart(content: bytes) -> bytes:
    """Return the file with several depthwise convolutions in place of each one that is too wide.

    >>> wide_kernels.taken_apart(content)  # doctest: +SKIP

    content: a TFLite file; it comes back as it is where none is 7 places high or wide, computes in floats, has no
    dilation, pads with zeros (`same`), and has its kernel for itself.
    """
    return tflite_tree.rewritten(content, _instead)


def _instead(tree: Any, operator: Any) -> list[Any] | None:
    if not _is_too_wide(tree, operator):
        return None
    graph, kernel = tree.subgraphs[0], int(operator.inputs[1])
    readers = sum(kernel in each.inputs for each in graph.operators)
    owners = sum(each.buffer == graph.tensors[kernel].buffer for each in graph.tensors)
    return _parts(tree, operator) if readers == owners == 1 else None


def _is_too_wide(tree: Any, operator: Any) -> bool:
    from ai_edge_litert.schema_py_generated import BuiltinOperator, Padding, TensorType

    if tree.operatorCodes[operator.opcodeIndex].builtinCode != BuiltinOperator.DEPTHWISE_CONV_2D:
        return False
    options, tensors = operator.builtinOptions, tree.subgraphs[0].tensors
    given, kernel = (tensors[index] for index in operator.inputs[:2])
    every = (options.dilationHFactor, options.dilationWFactor) == (1, 1)
    sides = {int(side) for side in kernel.shape[1:3]}
    odd = sides <= {MIDDLE, 2 * REACH + 1} and np.prod(kernel.shape[1:3]) > MOST
    return bool(every and odd and options.padding == Padding.SAME and given.type == TensorType.FLOAT32)


def _parts(tree: Any, operator: Any) -> list[Any]:
    """The operators that give what a wide one gives: the one in the middle, and each edge with what adds it."""
    from ai_edge_litert.schema_py_generated import ActivationFunctionType, AddOptionsT

    tensors, (given, kernel, _), (made,) = tree.subgraphs[0].tensors, operator.inputs, operator.outputs
    whole = tflite_tree.data_of(tree, tensors[kernel]).reshape(tensors[kernel].shape)
    (middle, _), *edges = _cut(whole, *(int(side) for side in tensors[given].shape[1:3]))
    # In its place: the quantizer's calibrator reads every tensor of a file, and fails at one that no operator takes.
    tflite_tree.store(tree, tensors[kernel], middle)
    tensors[kernel].shape = np.array(middle.shape, np.int32)
    function, found = operator.builtinOptions.fusedActivationFunction, [operator]
    for number, (edge, dilation) in enumerate(edges, start=1):
        before, after = found[-1], AddOptionsT()
        before.outputs = [_like(tree, made, made, f", before edge {number}")]
        before.builtinOptions.fusedActivationFunction = ActivationFunctionType.NONE
        beside = _edge(tree, operator, made, f", edge {number}", edge, dilation)
        after.fusedActivationFunction = function
        both = [before.outputs[0], beside.outputs[0]]
        found += [beside, tflite_tree.operator(tree, "ADD", both, [made], after)]
    return found


def _edge(tree: Any, operator: Any, made: int, named: str, kernel: np.ndarray, dilation: tuple[int, int]) -> Any:
    """A convolution as another one is, but for its kernel, its dilation, and a bias of zeros."""
    options, (given, other, bias) = copy.copy(operator.builtinOptions), operator.inputs
    options.dilationHFactor, options.dilationWFactor = dilation
    weights = _like(tree, other, made, f"{named}, kernel", kernel)
    nothing = _like(tree, bias, made, f"{named}, bias", np.zeros(kernel.shape[-1], np.float32))
    outputs = [_like(tree, made, made, named)]
    return tflite_tree.operator(tree, "DEPTHWISE_CONV_2D", [given, weights, nothing], outputs, options)


def _cut(kernel: np.ndarray, height: int, width: int) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """The parts of a kernel (1, rows, columns, channels), and their dilations; none that sees nothing but what is
    beside a map of some height and width."""
    rows, columns = kernel.shape[1] > MIDDLE and height > REACH, kernel.shape[2] > MIDDLE and width > REACH
    above, beside = (REACH - MIDDLE // 2 if side > MIDDLE else 0 for side in kernel.shape[1:3])
    inner, between = slice(above, above + MIDDLE), slice(beside, beside + MIDDLE)
    yield kernel[:, inner, between], (1, 1)
    if rows:
        edges = kernel[:, ::REACH, slice(None) if columns else between].copy()
        edges[:, 1] = 0  # of the middle row, which was seen
        yield edges, (REACH, 1)
    if columns:
        edges = kernel[:, inner, ::REACH].copy()
        edges[:, :, 1] = 0
        yield edges, (1, REACH)


def _like(tree: Any, other: int, made: int, named: str, values: np.ndarray | None = None) -> int:
    """Add a tensor as another is, named after what is made, as no two may have one name; return its index."""
    tensors = tree.subgraphs[0].tensors
    tensor = copy.copy(tensors[other])
    tensor.name = tensors[made].name + named.encode()
    if values is not None:
        tensor.shape, tensor.shapeSignature = np.array(values.shape, np.int32), None
    return tflite_tree.added(tree, tensor, values)
