"""The frozen part of a network as an inference function, on the fastest engine that agrees with Keras."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.errors import UsageError, unknown

TOLERANCE = 1e-4
"""Largest difference from Keras, relative to the largest feature (absolute where features are below 1)."""

Compute = Callable[[np.ndarray], np.ndarray]
"""uint8 (batch, height, width, 3) in, float32 features (batch, …) out."""


@dataclass(frozen=True)
class Prefix:
    """A frozen part, ready to compute features."""

    engine: str
    reason: str
    compute: Compute
    feature_shape: tuple[int, ...]
    digest: str
    """SHA-256 over the graph and the weights: equal digests give equal features."""


def build(model: keras.Model, *, check: np.ndarray, engine: str = "auto") -> Prefix:
    """Return `model` (picture to features) as a function on the engine asked for, proven on `check`.

    >>> build(model, check=pictures[:8]).engine  # doctest: +SKIP
    'litert'

    check: uint8 (n, height, width, 3), real pictures. An engine whose features differ from Keras' by more than
    `TOLERANCE`, or that cannot take the graph, is passed over and the reason kept; Keras itself always can.
    """
    if engine != "auto" and engine not in ENGINES:
        raise UsageError(unknown("engine", engine, ["auto", *ENGINES]))
    reference = np.asarray(model(check, training=False), np.float32)
    scale = max(1.0, float(np.abs(reference).max(initial=0.0)))
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    candidates = [engine] if engine != "auto" else ["keras"] if on_gpu else list(ENGINES)
    passed_over = []
    for name in [*candidates, "keras"]:
        try:
            compute = ENGINES[name](model)
            difference = float(np.abs(compute(check) - reference).max(initial=0.0)) / scale
        except Exception as error:  # converters raise what they like; a bfloat16 graph is one that none of them takes
            if name == "keras":
                raise
            first = (str(error).splitlines() or [type(error).__name__])[0]
            passed_over.append(f"{name} cannot: {first[:120]}")
            continue
        if difference <= TOLERANCE or name == "keras":
            reason = "; ".join([f"{name} agrees with Keras to {difference:.0e}", *passed_over])
            return Prefix(name, reason, compute, tuple(reference.shape[1:]), _digest(model))
        passed_over.append(f"{name} differs by {difference:.0e}")
    raise AssertionError("Keras agrees with itself")


def _litert(model: keras.Model) -> Compute:
    from ai_edge_litert.interpreter import Interpreter

    graph, image, features = _frozen_graph(model)
    converter = tf.compat.v1.lite.TFLiteConverter(graph.as_graph_def(), [image], [features])
    interpreter = Interpreter(model_content=converter.convert(), num_threads=os.cpu_count())
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    chunk = 16  # measured best of 1, 4, 16, 32: activations of a batch still fit the cache

    def compute(images: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(images), chunk):
            part = images[start : start + chunk]
            interpreter.resize_tensor_input(source, part.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(source, part)
            interpreter.invoke()
            parts.append(interpreter.get_tensor(target))
        return np.concatenate(parts)

    return compute


def _onnxruntime(model: keras.Model) -> Compute:
    import onnxruntime
    import tf2onnx

    signature = [tf.TensorSpec(model.input.shape, tf.uint8, name="image")]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=18)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _keras(model: keras.Model) -> Compute:
    signature = [tf.TensorSpec(model.input.shape, tf.uint8)]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    return lambda images: np.asarray(function(tf.constant(images)), np.float32)


ENGINES: dict[str, Callable[[keras.Model], Compute]] = {
    "litert": _litert,
    "onnxruntime": _onnxruntime,
    "keras": _keras,
}


def _frozen_graph(model: keras.Model) -> tuple[tf.Graph, Any, Any]:
    """The graph, its input and its output, with the weights as constants from the start.

    Tracing with variables and freezing them afterwards says the same in three times the time.
    """
    values = [(variable, variable.numpy()) for variable in model.variables]
    graph = tf.Graph()
    with graph.as_default():
        image = tf.compat.v1.placeholder(tf.uint8, model.input.shape, name="image")
        constants = [(variable, tf.constant(value)) for variable, value in values]
        with keras.StatelessScope(state_mapping=constants):
            return graph, image, model(image, training=False)


def _digest(model: keras.Model) -> str:
    # The configuration names layers, and names move from build to build: kinds and shapes say the same and do not.
    sha = hashlib.sha256(repr(model.input.shape).encode())
    for operation in model.operations:
        sha.update(f"{type(operation).__name__}{getattr(operation.output, 'shape', '')}".encode())
    for variable in model.weights:
        sha.update(variable.numpy().tobytes())
    return sha.hexdigest()
