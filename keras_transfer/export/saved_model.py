"""Writes a SavedModel that takes pixels or encoded pictures, with its contract among its assets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_transfer.export import metadata
from keras_transfer.export.graph import Graph
from keras_transfer.export.metadata import Card
from keras_transfer.specs import PROBABILITIES_OUTPUT, Aspect


def write(graph: Graph, path: Path, card: Card) -> None:
    """Write the folder `path` with the signatures `serving_default` and `serve_bytes`.

    `serving_default`: `image`, uint8 (batch, side, side, 3); `serve_bytes`: `image_bytes`, strings (batch,) of JPEG,
    PNG, BMP or GIF files. Both give `probabilities`, float32 (batch, classes).
    """
    module = tf.Module()
    module.variables_of_model = graph.variables
    staging = path.with_name(f"{path.name}.assets")
    staging.mkdir(parents=True)
    try:
        module.assets = []
        for name, content in metadata.files(card).items():
            (staging / name).write_bytes(content)
            module.assets.append(tf.saved_model.Asset(str(staging / name)))
        signatures = {
            "serving_default": graph.function,
            "serve_bytes": _serve_bytes(graph, card.contract.aspect),
        }
        tf.saved_model.save(module, str(path), signatures=signatures)
    finally:
        for each in staging.iterdir():
            each.unlink()
        staging.rmdir()


def write_frozen(graph: Graph, path: Path, *, batch: int) -> None:
    """Write a SavedModel of constants and one fixed batch: what the TFLite converter starts from.

    From variables the converter leaves READ_VARIABLE operators, which neither calibrate nor run in MediaPipe.
    """
    # The gradients of swish refer to tensors outside the frozen graph; nobody trains from this file.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(tf.Module(), str(path), signatures={"serving_default": graph.fixed(batch)}, options=options)


def _serve_bytes(graph: Graph, aspect: Aspect) -> Any:
    side = graph.image_size

    def picture(content: tf.Tensor) -> tf.Tensor:
        pixels = tf.image.decode_image(content, channels=3, expand_animations=False)
        pixels = tf.ensure_shape(pixels, (None, None, 3))
        return tf.cast(tf.clip_by_value(tf.round(_RESIZE[aspect](pixels, side)), 0, 255), tf.uint8)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = tf.TensorSpec((side, side, 3), tf.uint8)
        images = tf.map_fn(picture, image_bytes, fn_output_signature=spec)
        return {PROBABILITIES_OUTPUT: graph.function(image=images)[PROBABILITIES_OUTPUT]}

    return serve_bytes


def _stretch(pixels: tf.Tensor, side: int) -> tf.Tensor:
    return tf.image.resize(pixels, (side, side), antialias=True)


def _crop(pixels: tf.Tensor, side: int) -> tf.Tensor:
    shape = tf.shape(pixels)
    shorter = tf.minimum(shape[0], shape[1])
    top, left = (shape[0] - shorter) // 2, (shape[1] - shorter) // 2
    return _stretch(tf.image.crop_to_bounding_box(pixels, top, left, shorter, shorter), side)


def _letterbox(pixels: tf.Tensor, side: int) -> tf.Tensor:
    return tf.image.resize_with_pad(pixels, side, side, antialias=True)


_RESIZE = {"stretch": _stretch, "crop": _crop, "letterbox": _letterbox}
