"""The frozen part of a network as an inference function, on the fastest engine that agrees with Keras."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.errors import UsageError, unknown

TOLERANCE = 1e-4
"""Largest difference from Keras, relative to the largest feature (absolute where features are below 1)."""

Compute = Callable[[np.ndarray], tuple[np.ndarray, ...]]
"""uint8 (batch, height, width, 3) in; float32 features (batch, …) out, one array for each output of the model. Of clips
(batch, frames, height, width, 3) in and (batch, frames, …) out."""


@dataclass(frozen=True)
class Prefix:
    """A frozen part, ready to compute features."""

    engine: str
    reason: str
    compute: Compute
    feature_shapes: tuple[tuple[int, ...], ...]
    """Of one picture, one for each output of the model."""
    largest: float
    """Magnitude of the largest feature of the pictures it was proven on."""
    digest: str
    """SHA-256 over the graph, its constants and its weights: equal digests give equal features."""


def build(model: keras.Model, *, check: np.ndarray, engine: str = "auto") -> Prefix:
    """Return `model` (picture to features) as a function on the engine asked for, proven on `check`.

    >>> build(model, check=pictures[:8]).engine  # doctest: +SKIP
    'litert'

    check: uint8 (n, height, width, 3), real pictures. An engine whose features differ from Keras' by more than
    `TOLERANCE`, or that cannot take the graph, is passed over and the reason kept; Keras itself always can.
    """
    if engine != "auto" and engine not in ENGINES:
        raise UsageError(unknown("engine", engine, ["auto", *ENGINES]))
    reference = _of_samples(check, _arrays(model(check, training=False)))
    shapes = tuple(each.shape[1:] for each in reference)
    largest = max(float(np.abs(each).max(initial=0.0)) for each in reference)
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    candidates = [engine] if engine != "auto" else ["keras"] if on_gpu else list(ENGINES)
    passed_over = []
    for name in [*candidates, "keras"]:
        try:
            compute = _by_sample(ENGINES[name](model))
            difference = _difference(compute(check), reference)
        except Exception as error:  # converters raise what they like; a bfloat16 graph is one that none of them takes
            if name == "keras":
                raise
            first = (str(error).splitlines() or [type(error).__name__])[0]
            passed_over.append(f"{name} cannot: {first[:120]}")
            continue
        if difference <= TOLERANCE or name == "keras":
            reason = "; ".join([f"{name} agrees with Keras to {difference:.0e}", *passed_over])
            return Prefix(name, reason, compute, shapes, largest, digest_of(model))
        passed_over.append(f"{name} differs by {difference:.0e}")
    raise AssertionError("Keras agrees with itself")


def _difference(features: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """The largest difference of any feature, as a share of the largest one of its tensor."""
    return max(
        float(np.abs(ours - theirs).max(initial=0.0)) / max(1.0, float(np.abs(theirs).max(initial=0.0)))
        for ours, theirs in zip(features, reference, strict=True)
    )


def _by_sample(compute: Compute) -> Compute:
    return lambda images: _of_samples(images, compute(images))


def _of_samples(images: np.ndarray, features: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Give features a row for each sample: those of a clip's frames come one after another."""
    count = len(images)
    return tuple(
        each if len(each) == count else each.reshape(count, len(each) // count, *each.shape[1:]) for each in features
    )


def _arrays(outputs: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(each, np.float32) for each in tf.nest.flatten(outputs))


def _litert(model: keras.Model) -> Compute:
    from ai_edge_litert.interpreter import Interpreter

    graph, image, features = _frozen_graph(model)
    converter = tf.compat.v1.lite.TFLiteConverter(graph.as_graph_def(), [image], features)
    interpreter = Interpreter(model_content=converter.convert(), num_threads=_threads())
    source = interpreter.get_input_details()[0]["index"]
    # The converter gives outputs in an order of its own; they keep the names of their tensors.
    by_name = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    targets = [by_name[tensor.op.name] for tensor in features]
    # Measured best of 1, 4, 16, 32 pictures: activations of a batch still fit the cache.
    chunk = max(1, 16 // math.prod(model.input.shape[1:-3]))

    def compute(images: np.ndarray) -> tuple[np.ndarray, ...]:
        parts = []
        for start in range(0, len(images), chunk):
            part = images[start : start + chunk]
            interpreter.resize_tensor_input(source, part.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(source, part)
            interpreter.invoke()
            parts.append([interpreter.get_tensor(target) for target in targets])
        return tuple(map(np.concatenate, zip(*parts, strict=True)))

    return compute


def _threads() -> int:
    """As many as TensorFlow was told to take, else one for each core."""
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or os.cpu_count() or 1


def _onnxruntime(model: keras.Model) -> Compute:
    import onnxruntime
    import tf2onnx

    signature = [tf.TensorSpec(model.input.shape, tf.uint8, name="image")]
    function = tf.function(lambda image: _named(model(image, training=False)), input_signature=signature)
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=18)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: tuple(session.run(None, {name: images}))


def _keras(model: keras.Model) -> Compute:
    signature = [tf.TensorSpec(model.input.shape, tf.uint8)]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    return lambda images: _arrays(function(tf.constant(images)))


ENGINES: dict[str, Callable[[keras.Model], Compute]] = {
    "litert": _litert,
    "onnxruntime": _onnxruntime,
    "keras": _keras,
}


def _named(outputs: Any) -> list[Any]:
    """The outputs in a flat list, each under a name of its own, so that they are found in whatever order they come."""
    return [tf.identity(each, f"features_{position:03}") for position, each in enumerate(tf.nest.flatten(outputs))]


def _frozen_graph(model: keras.Model) -> tuple[tf.Graph, Any, list[Any]]:
    """The graph, its input and its outputs, with the weights as constants from the start.

    Tracing with variables and freezing them afterwards says the same in three times the time.
    """
    values = [(variable, variable.numpy()) for variable in model.variables]
    graph = tf.Graph()
    with graph.as_default():
        image = tf.compat.v1.placeholder(tf.uint8, model.input.shape, name="image")
        constants = [(variable, tf.constant(value)) for variable, value in values]
        with keras.StatelessScope(state_mapping=constants):
            return graph, image, _named(model(image, training=False))


def digest_of(model: keras.Model) -> str:
    """Return the SHA-256 (hex) of what `model` computes: kinds, constants and wiring of its operations, and weights.

    Names are left out, because they move from build to build.
    """
    sha = hashlib.sha256(repr(model.input.shape).encode())
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    made = [tensor for node in nodes for tensor in node.outputs]
    position = {id(tensor): number for number, tensor in enumerate(made)}
    for node in nodes:
        called = _placed((node.arguments.args, node.arguments.kwargs), position) if node.input_tensors else ()
        given = [tensor.shape for tensor in node.outputs]
        sha.update(repr((type(node.operation).__name__, _constants(node.operation), called, given)).encode())
    sha.update(repr([position[id(tensor)] for tensor in model.outputs]).encode())
    for variable in model.weights:
        sha.update(variable.numpy().tobytes())
    return sha.hexdigest()


def _constants(operation: Any) -> Any:
    """What an operation is set to, such as the factor of a scaling or the epsilon of a norm, its name left out."""
    try:
        config = operation.get_config()
    except NotImplementedError:  # an operation that is called with its constants has no settings of its own
        return None
    return _plain({key: value for key, value in config.items() if key not in ("name", "trainable")})


def _placed(argument: Any, position: Mapping[int, int]) -> Any:
    """What a node was called with, each tensor by where it is made and each constant by its value."""
    return tf.nest.map_structure(lambda each: position.get(id(each), _plain(each)), argument)


def _plain(value: Any) -> Any:
    """A value whose `repr` says all of it: that of a large array leaves out its middle."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (np.ndarray, tf.Tensor)):
        return np.asarray(value).tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__
