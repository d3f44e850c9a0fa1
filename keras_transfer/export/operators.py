"""Writes TensorFlow operators that ONNX lacks in operators it has."""

from __future__ import annotations

from typing import Any

import numpy as np


def erfc(context: Any, node: Any, name: str, _: Any) -> None:
    """Write Erfc, of which the exact GELU is made (ConvNeXt), as 1 - Erf."""
    dtype, shape = context.get_dtype(node.output[0]), context.get_shape(node.output[0])
    error = context.make_node("Erf", node.input, shapes=[shape], dtypes=[dtype])
    one = context.make_const(f"{name}_one", np.ones((), np.float32)).output[0]
    context.remove_node(name)
    context.make_node("Sub", [one, error.output[0]], name=name, outputs=node.output, shapes=[shape], dtypes=[dtype])


HANDLERS: dict[str, Any] = {"Erfc": (erfc, [])}
"""By TensorFlow operator, in the form that tf2onnx takes."""
