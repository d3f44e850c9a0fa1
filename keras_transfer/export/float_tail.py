"""Gives a quantized TFLite file back its last operations in float: those behind the last layer with weights.

Choosing boxes compares sums and products of small numbers; in 256 steps a box and its copy are one, and areas divide by
zero. These operations take a hundredth of the time, so nothing is gained by whole numbers there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from keras_transfer.errors import ExportError

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def in_float(quantized: bytes, exact: bytes) -> bytes:
    """Return the quantized file with all that comes after its last weighted layers as it is in the exact one.

    exact: the float32 file of the same graph. Tensors of the two are told by their names. Raises ExportError where the
    quantized file does not have what the last operations begin with.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    given, wanted = (flatbuffer_utils.read_model_from_bytearray(bytearray(each)) for each in (quantized, exact))
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
    return bytes(flatbuffer_utils.convert_object_to_bytearray(given))


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
    from ai_edge_litert.schema_py_generated import BuiltinOperator, OperatorT

    graph = model.subgraphs[0]
    if graph.tensors[index].type == like.type:
        return index
    tensor = copy.copy(like)
    tensor.name, tensor.buffer = like.name + b"_in_float", 0
    graph.tensors.append(tensor)
    operator = OperatorT()
    operator.opcodeIndex = _code(model, BuiltinOperator.DEQUANTIZE)
    operator.inputs, operator.outputs = [index], [len(graph.tensors) - 1]
    graph.operators.append(operator)
    return len(graph.tensors) - 1


def _code(model: Any, builtin: int, like: Any = None) -> int:
    """The index of an operator's code in a model, where it is added if it is not there."""
    from ai_edge_litert.schema_py_generated import OperatorCodeT

    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin and (like is None or code.version >= like.version):
            return index
    code = copy.copy(like) if like else OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)
    code.version = max(code.version, 1)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


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
    grafted.opcodeIndex = _code(model, code.builtinCode, code)
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
