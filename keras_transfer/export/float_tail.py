"""Gives a quantized TFLite file its last operations back in float: what chooses boxes, unit length, softmax of maps.

Choosing boxes compares sums and products of small numbers; in 256 steps a box and its copy are one, and areas divide by
zero. A length in 256 steps leaves some embeddings longer than others, and the longer ones seem to be more alike than
they are. These operations take a hundredth of the time, so nothing is gained by whole numbers there. A softmax for each
of 100,000 pixels took a third of a segmenter's time in whole numbers, and less than a sixth in three float operations.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_transfer.errors import ExportError
from keras_transfer.export import tflite_tree

LARGEST_LOGIT = 80.0
"""Of which the exponential, and a sum of some thousand of them, is still a float32; its negative is not yet zero."""

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def in_float(quantized: bytes, exact: bytes) -> bytes:
    """Return the quantized file with all that comes after its last weighted layers as it is in the exact one.

    exact: the float32 file of the same graph. Tensors of the two are told by their names. Raises ExportError where the
    quantized file does not have what the last operations begin with.
    """
    given, wanted = (tflite_tree.read(each) for each in (quantized, exact))
    graph, source = given.subgraphs[0], wanted.subgraphs[0]
    tail = _behind_weights(wanted)
    made = {index for operator in tail for index in operator.outputs}
    begins = _begins(source, tail, made)
    named = {tensor.name: index for index, tensor in enumerate(graph.tensors)}
    missing = [source.tensors[index].name.decode() for index in begins if source.tensors[index].name not in named]
    if missing:
        raise ExportError(f"TFLite int8: the converter renamed {', '.join(missing)}, where whole numbers were to end.")
    ends = {index: named[source.tensors[index].name] for index in begins}
    graph.operators = _needed(graph, list(ends.values()))
    moved = {index: _dequantized(given, ends[index], source.tensors[index]) for index in begins}
    for operator in tail:
        graph.operators.append(_grafted(given, wanted, operator, moved))
    _renamed_outputs(given, wanted, moved)
    return tflite_tree.written(given)


def softmax_in_float(quantized: bytes) -> bytes:
    """Return the quantized file with a last softmax over maps computed in float: the same answer, sooner and finer.

    In whole numbers no delegate takes it, and LiteRT's own kernel goes pixel by pixel; so does XNNPACK's in float. What
    whole numbers can say has an end, so nothing need be subtracted before the exponential, and a convolution with ones
    gives every class of a pixel their sum: three operations on the whole map. A file that ends otherwise, or whose
    logits reach beyond `LARGEST_LOGIT`, comes back as it is.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator, Conv2DOptionsT, DivOptionsT

    model = tflite_tree.read(quantized)
    graph = model.subgraphs[0]
    kinds = [model.operatorCodes[operator.opcodeIndex].builtinCode for operator in graph.operators[-2:]]
    if kinds != [BuiltinOperator.SOFTMAX, BuiltinOperator.DEQUANTIZE]:
        return quantized
    softmax, dequantize = graph.operators[-2:]
    logits, answer = int(softmax.inputs[0]), int(dequantize.outputs[0])
    is_map = len(graph.tensors[answer].shape) == 4
    if not is_map or softmax.builtinOptions.beta != 1 or not _within(graph.tensors[logits], LARGEST_LOGIT):
        return quantized
    del graph.operators[-2:]
    exact = _dequantized(model, logits, graph.tensors[answer])
    grown = _computed(model, "EXP", [exact], answer)
    convolution = Conv2DOptionsT()
    convolution.strideH = convolution.strideW = convolution.dilationHFactor = convolution.dilationWFactor = 1
    classes = int(graph.tensors[answer].shape[-1])
    ones = _constant(model, np.ones((classes, 1, 1, classes), np.float32), answer)
    none = _constant(model, np.zeros(classes, np.float32), answer)
    summed = _computed(model, "CONV_2D", [grown, ones, none], answer, convolution)
    _computed(model, "DIV", [grown, summed], answer, DivOptionsT(), to=answer)
    return tflite_tree.written(model)


def _within(tensor: Any, bound: float) -> bool:
    """Whether all that a tensor of signed bytes can stand for lies between -bound and bound."""
    (scale,), (zero,) = tensor.quantization.scale, tensor.quantization.zeroPoint
    return max(abs(-128 - int(zero)), abs(127 - int(zero))) * float(scale) <= bound


def _computed(model: Any, name: str, inputs: list[int], like: int, options: Any = None, to: int | None = None) -> int:
    """Add an operator and, where `to` does not say which one it fills, a tensor as another is; return its index."""
    graph = model.subgraphs[0]
    if to is None:
        tensor = copy.copy(graph.tensors[like])
        tensor.name = f"softmax_{name.lower()}".encode()
        to = tflite_tree.added(model, tensor)
    graph.operators.append(tflite_tree.operator(model, name, inputs, [to], options))
    return to


def _constant(model: Any, values: np.ndarray, like: int) -> int:
    """Add a constant of float32, else as another tensor is; return its index."""
    tensor = copy.copy(model.subgraphs[0].tensors[like])
    tensor.name = f"softmax_constant_{len(model.buffers) + 1}".encode()
    tensor.shape, tensor.shapeSignature = values.shape, None
    return tflite_tree.added(model, tensor, values)


def _behind_weights(model: Any) -> list[Any]:
    """The operators that no layer with weights comes after, in the order in which they run."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    codes = {getattr(BuiltinOperator, name) for name in WEIGHTED}
    graph, before, tail = model.subgraphs[0], set[int](), []
    for operator in reversed(graph.operators):
        weighted = model.operatorCodes[operator.opcodeIndex].builtinCode in codes
        if weighted or before.intersection(operator.outputs):
            before.update(operator.inputs)
        else:
            tail.append(operator)
    return tail[::-1]


def _begins(graph: Any, tail: Sequence[Any], made: set[int]) -> list[int]:
    """The tensors that the last operations take from those before them."""
    computed = {index for operator in graph.operators for index in operator.outputs}
    taken = (index for operator in tail for index in operator.inputs)
    return [index for index in dict.fromkeys(taken) if index in computed and index not in made]


def _needed(graph: Any, ends: Sequence[int]) -> list[Any]:
    """The operators that these tensors come from, in their order."""
    wanted, kept = set(ends), []
    for operator in reversed(graph.operators):
        if wanted.intersection(operator.outputs):
            wanted.update(operator.inputs)
            kept.append(operator)
    return kept[::-1]


def _dequantized(model: Any, index: int, like: Any) -> int:
    """Add the tensor that holds another one's values as floats, and what makes it; return its index."""
    graph = model.subgraphs[0]
    if graph.tensors[index].type == like.type:
        return index
    tensor = copy.copy(like)
    tensor.name = like.name + b"_in_float"
    made = tflite_tree.added(model, tensor)
    graph.operators.append(tflite_tree.operator(model, "DEQUANTIZE", [index], [made]))
    return made


def _grafted(model: Any, source: Any, operator: Any, moved: dict[int, int]) -> Any:
    """An operator of another model as one of this; `moved` learns where its tensors went."""
    graph, old = model.subgraphs[0], source.subgraphs[0]
    for index in (*operator.inputs, *operator.outputs):
        if index >= 0 and index not in moved:
            tensor = copy.copy(old.tensors[index])
            data = source.buffers[tensor.buffer]
            tensor.buffer = 0
            if data.data is not None and len(data.data):
                model.buffers.append(data)
                tensor.buffer = len(model.buffers) - 1
            graph.tensors.append(tensor)
            moved[index] = len(graph.tensors) - 1
    grafted, code = copy.copy(operator), source.operatorCodes[operator.opcodeIndex]
    grafted.opcodeIndex = tflite_tree.code_of(model, code.builtinCode, code)
    grafted.inputs, grafted.outputs = (
        [moved.get(index, index) for index in each] for each in (operator.inputs, operator.outputs)
    )
    return grafted


def _renamed_outputs(model: Any, source: Any, moved: dict[int, int]) -> None:
    """Let the outputs of a model be those of the source, told by the names in their signatures."""
    graph, (own,), (other,) = model.subgraphs[0], model.signatureDefs, source.signatureDefs
    new = {each.name: moved[each.tensorIndex] for each in other.outputs}
    places = {each.tensorIndex: new[each.name] for each in own.outputs}
    graph.outputs = [places[index] for index in graph.outputs]
    for each in own.outputs:
        each.tensorIndex = places[each.tensorIndex]
