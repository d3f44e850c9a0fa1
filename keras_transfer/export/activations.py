"""Runs a float32 TFLite file on pictures, operator by operator, and measures what its layers give.

TensorFlow's own calibrator reads a tensor after operators that work in its place have overwritten it: before each
addition of a residual network it takes the range of the sum for that of a summand, up to twice as wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_transfer.export import tflite_tree

Read = Callable[[int], np.ndarray]
"""Gives a tensor of a file by its position, as the last picture left it."""


def shown(model: bytes, pictures: np.ndarray) -> Iterator[Read]:
    """Run a TFLite file on each picture, uint8 (n, side, side, 3), and give a way to read what stands between layers.

    No tensor shares its memory with another, so that all are there when the picture has gone through.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    for picture in pictures:
        interpreter.set_tensor(image["index"], picture[None])
        interpreter.invoke()
        yield interpreter.get_tensor


def on_steps(model: bytes, picture: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Return what the operators of a file in whole numbers give for a picture, each as floats and with its step.

    picture: uint8 (side, side, 3). Tensors that stay floats are left out.
    """
    from ai_edge_litert.schema_py_generated import TensorType

    graph = tflite_tree.read(model).subgraphs[0]
    (read,) = shown(model, picture[None])
    found = []
    for index in (int(index) for operator in graph.operators for index in operator.outputs):
        if graph.tensors[index].type == TensorType.INT8:
            (step,), (zero,) = graph.tensors[index].quantization.scale, graph.tensors[index].quantization.zeroPoint
            found.append(((read(index).astype(np.float32) - int(zero)) * np.float32(step), float(step)))
    return found


class Ranges:
    """The least and the largest value of every float tensor that an operator gives, over the pictures seen."""

    def __init__(self, model: bytes) -> None:
        from ai_edge_litert.schema_py_generated import TensorType

        self._model = tflite_tree.read(model)
        self.whole = len(self._model.subgraphs) == 1
        """Whether all is seen: branches of loops and conditions lie in graphs of their own, which are not."""
        graph = self._model.subgraphs[0]
        self._tensors = {
            int(index): graph.tensors[index]
            for operator in graph.operators
            for index in operator.outputs
            if graph.tensors[index].type == TensorType.FLOAT32
        }
        self._found: dict[int, tuple[Any, Any]] = {}

    def see(self, read: Read) -> None:
        """Take in what the file gave for one picture."""
        for index in self._tensors:
            values = read(index)
            if values.size:
                low, high = self._found.get(index, (np.inf, -np.inf))
                self._found[index] = min(low, values.min()), max(high, values.max())

    def by_name(self) -> dict[str, tuple[float, float]]:
        """Return the least and the largest value of each tensor."""
        return {self._tensors[index].name.decode(): found for index, found in self._found.items()}

    def written(self) -> bytes:
        """Return the file with each range where the quantizer looks for it."""
        from ai_edge_litert.schema_py_generated import QuantizationParametersT

        for index, (low, high) in self._found.items():
            tensor = self._tensors[index]
            tensor.quantization = tensor.quantization or QuantizationParametersT()
            tensor.quantization.min, tensor.quantization.max = [float(low)], [float(high)]
        return tflite_tree.written(self._model)
