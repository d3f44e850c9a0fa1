"""What of a TFLite file has weights, and what of it is computed in whole numbers."""

from pathlib import Path

from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
from ai_edge_litert.tools import flatbuffer_utils

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def weighted(path: Path) -> list[tuple[str, int]]:
    """Every operator of a file that has weights, by its name, and the type that it takes."""
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(path.read_bytes()))
    graph, kinds = tree.subgraphs[0], {getattr(BuiltinOperator, name): name for name in WEIGHTED}
    codes = [tree.operatorCodes[operator.opcodeIndex].builtinCode for operator in graph.operators]
    return [
        (kinds[code], graph.tensors[operator.inputs[0]].type)
        for code, operator in zip(codes, graph.operators, strict=True)
        if code in kinds
    ]


def in_floats(path: Path) -> list[str]:
    """What the operators of a file give that is not in whole numbers, by name."""
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(path.read_bytes())).subgraphs[0]
    given = [graph.tensors[index] for operator in graph.operators for index in operator.outputs]
    return [tensor.name.decode() for tensor in given if tensor.type == TensorType.FLOAT32]
