"""A model file that is well-formed and ends the process that runs it."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

SIDE = 32
LEAST = -(2**31)


def write(path: Path) -> Path:
    """Write an ONNX file of the remainder of the least whole number by -1, for which ONNX Runtime gets SIGFPE."""
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    given = helper.make_tensor_value_info("probabilities", TensorProto.INT32, ["n", SIDE, SIDE, 3])
    numbers = [helper.make_tensor(name, TensorProto.INT32, [1], [each]) for name, each in (("least", LEAST), ("1", 1))]
    nodes = [
        helper.make_node("Cast", ["image"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Add", ["whole", "least"], ["lowest"]),
        helper.make_node("Sub", ["whole", "1"], ["minus 1"]),
        helper.make_node("Mod", ["lowest", "minus 1"], ["probabilities"]),
    ]
    graph = helper.make_graph(nodes, "crash", [image], [given], numbers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path
