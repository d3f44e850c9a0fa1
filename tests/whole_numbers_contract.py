"""Holds a file in whole numbers to the twin that it was written from, operation by operation.

In a deep network one number that is rounded otherwise, of a hundred thousand, is enough: every layer behind it adds a
hundred of its inputs and rounds them again, and at the end nothing is alike to the last step but what is sure. So each
operation of the twin is given what the file had there, and what it makes of that is compared with the file.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
from ai_edge_litert.tools import flatbuffer_utils

from keras_transfer.training.rounding import STEPS, Rounding

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def alike(twin, path: Path, picture: np.ndarray) -> dict[str, float]:
    """By the name of its range, the share of what each operation gives that is the file's to one step.

    picture: uint8 (1, side, side, 3). What the file has no tensor of, because it computes more in one go, is missing.
    """
    tensors = tensors_of(path, picture)
    found: dict[str, float] = {}

    def compared(operation, *arguments, **options):
        given = operation(*arguments, **options)
        if not isinstance(operation, Rounding):
            return given
        wanted, step = np.asarray(given), float(operation.high - operation.low) / STEPS
        same_range = [
            values for values, scale in tensors if values.shape == wanted.shape and abs(scale - step) < 1e-4 * step
        ]
        if not same_range:
            return given
        nearest = min(same_range, key=lambda values: np.abs(values - wanted).mean())
        share = float(np.mean(np.abs(nearest - wanted) < 1.01 * step))
        found[operation.name] = min(share, found.get(operation.name, 1.0))
        return tf.constant(nearest)

    twin._run_through_graph([tf.constant(picture)], call_fn=compared)
    return found


def tensors_of(path: Path, picture: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """What each operator of a file gives for a picture, as floats, and the step that it is rounded to."""
    content = path.read_bytes()
    asked = Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    asked.allocate_tensors()
    (image,) = asked.get_input_details()
    asked.set_tensor(image["index"], picture)
    asked.invoke()
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(content)).subgraphs[0]
    found = []
    for index in (index for operator in graph.operators for index in operator.outputs):
        tensor = graph.tensors[index]
        if tensor.type == TensorType.INT8:
            (scale,), (zero,) = tensor.quantization.scale, tensor.quantization.zeroPoint
            values = asked.get_tensor(int(index)).astype(np.float32)
            found.append(((values - int(zero)) * np.float32(scale), float(scale)))
    return found


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
