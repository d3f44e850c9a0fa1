"""Writes ONNX files: one input, the outputs by name, any batch, checked and simplified."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_transfer.errors import ExportError, KerasTransferError, UsageError, first_line, unknown
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


def write(
    graph: Graph, path: Path, card: Card, calibration: np.ndarray | None = None, *, layout: Layout = "nhwc"
) -> None:
    """Write an ONNX file with a named, dynamic batch at the card's precision.

    >>> write(trace(model, contract.outputs), Path("model.onnx"), Card(contract=contract))  # doctest: +SKIP

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
            model, weights = _simplified(graph, card, layout)
            model = PRECISIONS[card.precision](model, weights, calibration)
        onnx.checker.check_model(model, full_check=True)  # before it has its weights, which would be copied twice
        metadata.into_onnx(model, card)
    except KerasTransferError:
        raise
    except Exception as error:
        raise ExportError(f"ONNX: this model could not be converted: {first_line(error)}") from error
    with path.open("wb") as file:
        weightless.written(model, weights, file)


@contextlib.contextmanager
def _few_words() -> Iterator[None]:
    """The converters warn about TensorFlow functions they call themselves, which nobody here can change."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _simplified(graph: Graph, card: Card, layout: Layout) -> tuple[Any, dict[str, np.ndarray]]:
    """The model without its large weights, and these by the name of the input that stands for them."""
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
    in_order(model)
    operators.keep_padding(model)
    return model, weightless.settled(model, weights)


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


def _float32(model: Any, weights: dict[str, np.ndarray], calibration: np.ndarray | None) -> Any:
    return model


def _float16(model: Any, weights: dict[str, np.ndarray], calibration: np.ndarray | None) -> Any:
    """Large weights are stored in 16 bits and cast when the file is loaded; arithmetic stays float32 everywhere."""
    from onnx import TensorProto, helper

    large, casts = set(_large_weights(model, weights).values()), []
    for value in model.graph.input:
        name, halved = value.name, f"{value.name}_float16"
        if name in large:
            weights[halved] = weights.pop(name).astype(np.float16)
            value.CopyFrom(helper.make_tensor_value_info(halved, TensorProto.FLOAT16, weights[halved].shape))
            casts.append(helper.make_node("Cast", [halved], [name], f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _int8(model: Any, weights: dict[str, np.ndarray], calibration: np.ndarray | None) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    if calibration is None or not len(calibration):
        raise ExportError("int8 needs pictures to calibrate on, and none came. Give the training pictures.")

    pictures = iter(calibration[:CALIBRATION_PICTURES])

    class Pictures(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            picture = next(pictures, None)
            return None if picture is None else {IMAGE_INPUT: picture[None]}

    large = _large_weights(model, weights)
    weightless.fill(model, weights)
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
PRECISIONS: dict[str, Callable[[Any, dict[str, np.ndarray], np.ndarray | None], Any]] = {
    "float32": _float32,
    "float16": _float16,
    "int8": _int8,
}


def _large_weights(model: Any, weights: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Which nodes take large weights: {name of the node: name of the weights}."""
    return {
        node.name: node.input[1]
        for node in model.graph.node
        if node.op_type in _WITH_WEIGHTS and node.input[1] in weights and weights[node.input[1]].size >= LARGE_KERNEL
    }


def in_order(model: Any) -> None:
    """Name constants after the operators that take them first, count made-up names anew, and list all in that order.

    Of equal constants the converter keeps one, and which of them a set decides, otherwise in each process; so are the
    numbers of the names that it makes up (`Squeeze__432`): the same run would not be exported to the same bytes. What
    the simplifier notes of its work holds those names too, and goes. model: changed in place.
    """
    constants, names = {each.name: each for each in model.graph.initializer}, dict[str, str]()
    for number, node in enumerate(_nodes(model.graph)):
        for place, name in enumerate(node.input):
            if name in constants:
                names.setdefault(name, f"{node.name or number}/{place}")
            node.input[place] = names.get(name, name)
    taken = [constants[name] for name in names]
    left = sorted((each for name, each in constants.items() if name not in names), key=lambda each: each.name)
    for name, constant in constants.items():
        constant.name = names.get(name, name)
    inferred = [each for each in model.graph.value_info if each.name not in constants]
    _count_anew(model.graph)
    notes = [each for each in model.metadata_props if not each.key.startswith("onnxsim.")]
    for owner, field, values in (
        (model.graph, "initializer", [*taken, *left]),
        (model.graph, "value_info", sorted(inferred, key=lambda each: each.name)),
        (model, "metadata_props", notes),
    ):
        owner.ClearField(field)
        getattr(owner, field).extend(values)


def _count_anew(graph: Any) -> None:
    numbers: dict[str, str] = {}

    def named(name: str) -> str:
        return re.sub(r"(?<=__)\d+", lambda found: numbers.setdefault(found[0], str(len(numbers))), name)

    for node in _nodes(graph):
        node.name = named(node.name)
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
    for each in (*graph.initializer, *graph.value_info):
        each.name = named(each.name)


def _nodes(graph: Any) -> Iterator[Any]:
    """The operators of a graph and of those inside them, which take constants from outside."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


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
