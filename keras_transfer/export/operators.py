"""Writes operators so that ONNX runtimes compute what TensorFlow does."""

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


def keep_padding(model: Any) -> None:
    """Pad with the smallest positive number instead of zero wherever a max pooling follows (ResNetV2), in place.

    ONNX Runtime at its default optimization moves a padding of zeros into the pooling behind it, which pads with minus
    infinity: negative values at the border come out wrong by as much as they are below zero. Any other value stays.
    """
    from onnx import numpy_helper

    padders = {node.output[0]: node for node in model.graph.node if node.op_type == "Pad"}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    pooled = [node.input[0] for node in model.graph.node if node.op_type == "MaxPool"]
    for node in (padders[name] for name in pooled if name in padders):
        mode = next((attribute.s for attribute in node.attribute if attribute.name == "mode"), b"constant")
        value = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if mode != b"constant" or (value is not None and numpy_helper.to_array(value).any()):
            continue
        if ALMOST_ZERO not in constants:
            tiny = numpy_helper.from_array(np.array(np.finfo(np.float32).tiny), ALMOST_ZERO)
            model.graph.initializer.append(tiny)
            constants[ALMOST_ZERO] = tiny
        node.input[:] = [*node.input[:2], ALMOST_ZERO, *node.input[3:]]


ALMOST_ZERO = "almost_zero"
