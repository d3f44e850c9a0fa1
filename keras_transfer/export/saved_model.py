"""Writes a SavedModel that takes pixels or encoded pictures, with its contract among its assets."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_transfer.export import metadata
from keras_transfer.export.graph import Graph
from keras_transfer.export.metadata import Card
from keras_transfer.specs import Aspect

Decode = Callable[[Any, int, Aspect], Any]
"""`decode(encoded, side, aspect)`: a scalar string tensor to uint8 (side, side, 3), of TensorFlow operations."""


def write(graph: Graph, path: Path, card: Card, decode: Decode | None = None) -> None:
    """Write the folder `path` with the signatures `serving_default` and, where `decode` is given, `serve_bytes`.

    `serving_default`: `image`, uint8 (batch, side, side, 3); `serve_bytes`: `image_bytes`, strings (batch,) of JPEG,
    PNG, BMP or GIF files, JPEG and PNG turned as the camera noted (Exif) and PNG laid on white. Both give
    the contract's outputs by name, float32 (batch, …).
    decode: how training read pictures and made them square, so that serving does the same.
    """
    module = tf.Module()
    module.variables_of_model = graph.variables
    signatures = {"serving_default": graph.function}
    if decode is not None:
        signatures["serve_bytes"] = _serve_bytes(graph, card.contract.aspect, decode)
    with tempfile.TemporaryDirectory() as staging:
        module.assets = []
        for name, content in metadata.files(card).items():
            (Path(staging) / name).write_bytes(content)
            module.assets.append(tf.saved_model.Asset(str(Path(staging) / name)))
        tf.saved_model.save(module, str(path), signatures=signatures)


def write_frozen(graph: Graph, path: Path, *, batch: int) -> None:
    """Write a SavedModel of constants and one fixed batch: what the TFLite converter starts from.

    From variables the converter leaves READ_VARIABLE operators, which neither calibrate nor run in MediaPipe.
    """
    # The gradients of swish refer to tensors outside the frozen graph; nobody trains from this file.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(tf.Module(), str(path), signatures={"serving_default": graph.fixed(batch)}, options=options)
    gc.collect()  # of the functions that were saved, which hold eight times the weights, in cycles


def _serve_bytes(graph: Graph, aspect: Aspect, decode: Decode) -> Any:
    side = graph.shape[-2]

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")], autograph=False)
    def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        picture = tf.TensorSpec((side, side, 3), tf.uint8)
        images = tf.map_fn(lambda each: decode(each, side, aspect), image_bytes, fn_output_signature=picture)
        return graph.function(image=images)

    return serve_bytes
