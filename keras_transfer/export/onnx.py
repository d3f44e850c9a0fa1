"""Writes ONNX files: one input, the outputs by name, any batch, checked and simplified."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_transfer.errors import ExportError, KerasTransferError, UsageError, unknown
from keras_transfer.export import metadata, operators, weightless
from keras_transfer.export.graph import Graph, node_of
from keras_transfer.export.metadata import Card
from keras_transfer.specs import IMAGE_INPUT

Layout = Literal["nhwc", "nchw"]
OPSET = 17
"""Operators of ONNX 1.12, which runtimes of 2022 and later read; later ones bring these networks nothing."""


LARGE_KERNEL = 16_384
"""Weights from which a layer is stored in fewer bits; those below are a fraction of the file and most of the error."""
_WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")


def convert(graph: Graph, card: Card, calibration: np.ndarray | None = None, *, layout: Layout = "nhwc") -> bytes:
    """Return an ONNX file with a named, dynamic batch at the card's precision.

    calibration: uint8 (n, side, side, 3), read by `int8`. layout: of the picture that the file takes; `nchw`
    (batch, 3, side, side) is for engines that want channels first.
    Raises ExportError where an operator has no counterpart or the checker refuses the result.
    """
    import onnx

    if layout == "nchw" and card.contract.frames:
        raise UsageError("A clip has frames before its sides, so there is no nchw file of it. Export to: onnx")
    if card.precision not in PRECISIONS:
        raise UsageError(unknown("ONNX precision", card.precision, PRECISIONS))
    try:
        with _few_words():
            model = PRECISIONS[card.precision](_simplified(graph, card, layout), calibration)
        metadata.into_onnx(model, card)
        if card.precision != "float32":  # that one was checked before its weights, which would be copied twice
            onnx.checker.check_model(model, full_check=True)
    except KerasTransferError:
        raise
    except Exception as error:
        raise ExportError(f"ONNX: this model could not be converted: {str(error).strip().splitlines()[0]}") from error
    return model.SerializeToString()


@contextlib.contextmanager
def _few_words() -> Iterator[None]:
    """The converters warn about TensorFlow functions they call themselves, which nobody here can change."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _simplified(graph: Graph, card: Card, layout: Layout) -> Any:
    import onnx
    import onnxsim

    gives = [node_of(output) for output in graph.outputs]
    light, weights = weightless.folded(graph.light, graph.weights, graph.takes, gives)
    inputs, outputs = ([f"{name}:0" for name in names] for names in ((graph.takes, *weights), gives))
    model = _converted(light, inputs, outputs, card.contract.backbone or "model", layout)
    weights = dict(zip(inputs[1:], weights.values(), strict=True))
    _name(model, graph, weights)
    model, same = onnxsim.simplify(model)
    if not same:
        raise ExportError("ONNX: the simplified model does not compute what the converted one does.")
    operators.keep_padding(model)
    weights = weightless.settled(model, weights)
    onnx.checker.check_model(model, full_check=True)
    weightless.fill(model, weights)
    return model


def _converted(graph_def: Any, inputs: Sequence[str], outputs: Sequence[str], name: str, layout: Layout) -> Any:
    """What tf2onnx makes of a graph that TensorFlow has optimized already."""
    import tensorflow as tf
    from tf2onnx import optimizer, tfonnx

    with tf.Graph().as_default() as whole:
        tf.import_graph_def(graph_def, name="")
        settings: dict[str, Any] = {
            "opset": OPSET,
            "input_names": inputs,
            "output_names": outputs,
            "inputs_as_nchw": inputs[:1] if layout == "nchw" else None,
            "custom_op_handlers": operators.HANDLERS,
            "continue_on_error": True,
        }
        converted = tfonnx.process_tf_graph(whole, **settings)
        try:
            # It can copy the whole graph before each of its passes, to go on after one that failed: half of the time.
            converted = optimizer.optimize_graph(converted, catch_errors=False)
        except Exception:
            converted = optimizer.optimize_graph(tfonnx.process_tf_graph(whole, **settings), catch_errors=True)
    return converted.make_model(f"converted from {name}")


def _float32(model: Any, calibration: np.ndarray | None) -> Any:
    return model


def _float16(model: Any, calibration: np.ndarray | None) -> Any:
    """Large weights are stored in 16 bits and cast when the file is loaded; arithmetic stays float32 everywhere."""
    from onnx import TensorProto, helper, numpy_helper

    large = set(_large_weights(model).values())
    casts = []
    for weight in model.graph.initializer:
        if weight.name in large:
            name, halves = weight.name, numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(halves, f"{name}_float16"))
            casts.append(helper.make_node("Cast", [weight.name], [name], f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _int8(model: Any, calibration: np.ndarray | None) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    if calibration is None or not len(calibration):
        raise ExportError("int8 needs pictures to calibrate on, and none came. Give the training pictures.")

    pictures = iter(calibration[:CALIBRATION_PICTURES])

    class Pictures(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            picture = next(pictures, None)
            return None if picture is None else {IMAGE_INPUT: picture[None]}

    large = _large_weights(model)
    small = [node.name for node in model.graph.node if node.op_type in _WITH_WEIGHTS and node.name not in large]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        quantize_static(
            model,
            path,
            Pictures(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=[*_WITH_WEIGHTS, "Add"],
            nodes_to_exclude=small,
        )
        return onnx.load(path)


CALIBRATION_PICTURES = 100
PRECISIONS: dict[str, Callable[[Any, np.ndarray | None], Any]] = {
    "float32": _float32,
    "float16": _float16,
    "int8": _int8,
}


def _large_weights(model: Any) -> dict[str, str]:
    """Which nodes have large weights: {name of the node: name of its weights}."""
    sizes = {weight.name: int(np.prod(weight.dims)) for weight in model.graph.initializer}
    return {
        node.name: node.input[1]
        for node in model.graph.node
        if node.op_type in _WITH_WEIGHTS and sizes.get(node.input[1], 0) >= LARGE_KERNEL
    }


def _name(model: Any, graph: Graph, weights: Collection[str]) -> None:
    """Give input and outputs the contract's names, without TensorFlow's `:0`, and the batch a name of its own."""
    names = {f"{graph.takes}:0": graph.takes} | {f"{node_of(output)}:0": output.name for output in graph.outputs}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    inputs = [value for value in model.graph.input if value.name not in weights]
    for value in [*inputs, *model.graph.output]:
        value.name = names.get(value.name, value.name)
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    if len(inputs) != 1:
        extra = ", ".join(value.name for value in inputs[1:])
        raise ExportError(f"ONNX: constants became inputs that nobody can fill: {extra}.")
