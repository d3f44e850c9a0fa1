"""A TFLite file as the tree that its flatbuffer holds: how it is read and written, and what is added to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def read(content: bytes) -> Any:
    """Return the tree of a TFLite file, a `ModelT` of the schema; it may be changed and written again."""
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def written(tree: Any) -> bytes:
    """Return the TFLite file of a tree."""
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def rewritten(content: bytes, instead: Callable[[Any, Any], list[Any] | None]) -> bytes:
    """Return the TFLite file with other operators in place of some of its main graph; as it is where none is replaced.

    >>> tflite_tree.rewritten(content, lambda tree, operator: None) is content  # doctest: +SKIP
    True

    instead: of the tree and one of its operators, those that stand in its place, in their order; None where it stays.
    """
    tree = read(content)
    graph = tree.subgraphs[0]  # others hold the branches of loops and conditions
    found = [(operator, instead(tree, operator)) for operator in graph.operators]
    if all(made is None for _, made in found):
        return content
    graph.operators = [each for operator, made in found for each in ([operator] if made is None else made)]
    return written(tree)


def data_of(tree: Any, tensor: Any) -> np.ndarray:
    """Return what a constant holds, flat, in its own type."""
    return np.frombuffer(bytes(tree.buffers[tensor.buffer].data), _dtype(tensor))


def store(tree: Any, tensor: Any, values: np.ndarray) -> None:
    """Put values in place of what a constant holds, in its own type; its shape is the caller's affair."""
    tree.buffers[tensor.buffer].data = _bytes(values.astype(_dtype(tensor)))


def added(tree: Any, tensor: Any, values: np.ndarray | None = None) -> int:
    """Add a tensor to the main graph and return its index; values: what it holds where it is a constant."""
    from ai_edge_litert.schema_py_generated import BufferT

    tensor.buffer = 0  # of which no operator takes anything
    if values is not None:
        buffer = BufferT()
        buffer.data = _bytes(values)
        tree.buffers.append(buffer)
        tensor.buffer = len(tree.buffers) - 1
    graph = tree.subgraphs[0]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def operator(tree: Any, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> Any:
    """Return an operator that stands nowhere yet.

    name: as the schema has it, such as `CONV_2D`. inputs, outputs: indices of tensors. options: as that operator takes
    them, such as a `Conv2DOptionsT`.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator, BuiltinOptions, OperatorT

    made = OperatorT()
    made.opcodeIndex = code_of(tree, getattr(BuiltinOperator, name))
    made.inputs, made.outputs = list(inputs), list(outputs)
    if options is not None:
        made.builtinOptions = options
        made.builtinOptionsType = getattr(BuiltinOptions, type(options).__name__.removesuffix("T"))
    return made


def code_of(tree: Any, builtin: int, like: Any = None) -> int:
    """Return the index of an operator's code, which is added where it is not there; like: a code of another tree."""
    from ai_edge_litert.schema_py_generated import OperatorCodeT

    for index, code in enumerate(tree.operatorCodes):
        if code.builtinCode == builtin and (like is None or code.version >= like.version):
            return index
    code = copy.copy(like) if like else OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)
    code.version = max(code.version, 1)
    tree.operatorCodes.append(code)
    return len(tree.operatorCodes) - 1


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)


def _dtype(tensor: Any) -> type:
    from ai_edge_litert.schema_py_generated import TensorType

    kinds = {"FLOAT32": np.float32, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64}
    return next(dtype for name, dtype in kinds.items() if getattr(TensorType, name) == tensor.type)
