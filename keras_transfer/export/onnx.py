"""Writes ONNX files: one input, one output, any batch, checked and simplified."""

from __future__ import annotations

import logging
from typing import Any

from keras_transfer.errors import ExportError
from keras_transfer.export import metadata
from keras_transfer.export.graph import Graph
from keras_transfer.export.metadata import Card
from keras_transfer.specs import IMAGE_INPUT, PROBABILITIES_OUTPUT

OPSET = 17
"""Operators of ONNX 1.12, which runtimes of 2022 and later read; later ones bring these networks nothing."""


def convert(graph: Graph, card: Card) -> bytes:
    """Return an ONNX file with a named, dynamic batch.

    Raises ExportError where an operator has no counterpart or the checker refuses the result.
    """
    import onnx
    import onnxsim
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            graph.frozen,
            name=card.contract.backbone or "model",
            input_names=[f"{IMAGE_INPUT}:0"],
            output_names=[f"{PROBABILITIES_OUTPUT}:0"],
            opset=OPSET,
        )
        _name(model)
        model, same = onnxsim.simplify(model)
        if not same:
            raise ExportError("ONNX: the simplified model does not compute what the converted one does.")
        metadata.into_onnx(model, card)
        onnx.checker.check_model(model, full_check=True)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"ONNX: this model could not be converted: {str(error).strip().splitlines()[0]}") from error
    return model.SerializeToString()


def _name(model: Any) -> None:
    """Give input and output the contract's names, without TensorFlow's `:0`, and the batch a name of its own."""
    names = {f"{IMAGE_INPUT}:0": IMAGE_INPUT, f"{PROBABILITIES_OUTPUT}:0": PROBABILITIES_OUTPUT}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in [*model.graph.input, *model.graph.output]:
        value.name = names.get(value.name, value.name)
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    if len(model.graph.input) != 1:
        extra = ", ".join(value.name for value in model.graph.input[1:])
        raise ExportError(f"ONNX: constants became inputs that nobody can fill: {extra}.")
